"""File > Open Sample > SSLProfiler: simulated plates, and a real CPJUMP1 well."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.types import LayerData

    from napari_sslprofiler.background import Report

SIMULATED = ("--plates", "2", "--wells", "48", "--sites", "4", "--size", "128")


def simulated_plates() -> list[LayerData]:
    """Simulate two plates of 48 wells with metadata and open them: seconds of work, enough to train on.

    They are kept in the user's cache folder. Without a window: one small plate, and its first site.
    """
    from napari_sslprofiler.reading import first_site, open_plates_widget

    widget = open_plates_widget()
    if widget is not None:
        widget.open_made("Simulating plates", _simulate)
        return [_pending("simulating plates …")]
    from sslprofiler_core.plates import simulate_plates

    with tempfile.TemporaryDirectory(prefix="sslprofiler-") as folder:
        return first_site([simulate_plates(Path(folder), plates=1, wells=2, sites=1, size=512) / "images"])


def cpjump1_well() -> list[LayerData]:
    """Download one real well of CPJUMP1 (9 sites, 8 channels, about 160 MB) and open it.

    It is kept in the user's cache folder, so that the second time needs no network.
    """
    from napari_sslprofiler.reading import first_site, open_plates_widget

    widget = open_plates_widget()
    if widget is not None:
        widget.open_made("Downloading a CPJUMP1 well", _download)
        return [_pending("downloading a CPJUMP1 well …")]
    return first_site([_download(lambda done, total: None)])


def samples_folder() -> Path:
    """Where samples are kept: in the user's cache folder."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("sslprofiler", appauthor=False)) / "samples"


def _simulate(report: Report) -> Path:
    from napari_sslprofiler.child_process import run_child

    folder = samples_folder() / "simulated"
    whole = folder / "whole"  # written last: a simulation that was stopped is made again
    if not whole.is_file():
        run_child(["simulate", str(folder), *SIMULATED], report)
        whole.touch()
    return folder / "images"


def _download(report: Report) -> Path:
    from napari_sslprofiler.gallery_download import download_well

    return download_well(samples_folder() / "cpjump1", report)


def _pending(words: str) -> LayerData:
    """napari wants a layer at once: an empty one stands in until the first site is there."""
    from napari_sslprofiler.site_display import PENDING

    return np.zeros((8, 8), np.uint8), {"name": words, "metadata": {PENDING: True}, "visible": False}, "image"
