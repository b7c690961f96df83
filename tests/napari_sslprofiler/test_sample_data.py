"""The samples: in a window they open the Plates widget, without one they give layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as imageio
import numpy as np
import pytest
from npe2 import PluginManifest

from napari_sslprofiler import sample_data
from napari_sslprofiler.sample_data import simulated_plates
from napari_sslprofiler.state import session_of
from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot


@pytest.fixture(autouse=True)
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep samples out of the user's cache folder."""
    monkeypatch.setattr(sample_data, "samples_folder", lambda: tmp_path / "samples")
    return tmp_path / "samples"


def test_without_a_window_the_simulated_sample_is_one_site_of_eight_channels() -> None:
    layers = simulated_plates()
    assert len(layers) == 8
    assert len({settings["name"] for _, settings, _ in layers}) == 8
    assert sum(settings["visible"] for _, settings, _ in layers) == 5
    assert len({(settings["metadata"]["well"], settings["metadata"]["site"]) for _, settings, _ in layers}) == 1
    for pixels_HW, settings, kind in layers:
        low, high = settings["contrast_limits"]
        assert kind == "image"
        assert pixels_HW.shape == (512, 512)
        assert pixels_HW.dtype == np.uint16
        # The limits leave a picture: most pixels lie between them, and not all in one place.
        assert np.mean((pixels_HW >= low) & (pixels_HW <= high)) > 0.95
        assert pixels_HW.std() > 0.02 * (high - low)


@pytest.mark.window
def test_the_simulated_sample_opens_as_plates(
    viewer: Viewer, manifest: PluginManifest, pictures: Path, samples: Path, qtbot: QtBot
) -> None:
    assert {sample.key for sample in manifest.contributions.sample_data or ()} == {"simulated_plates", "cpjump1_well"}
    viewer.open_sample(manifest.name, "simulated_plates")
    session = session_of(viewer)
    qtbot.waitUntil(lambda: len(viewer.layers) == 8 and bool(session.screen and session.screen.scale), timeout=120_000)
    assert session.screen is not None
    assert [len(plate.wells) for plate in session.screen.plates] == [48, 48]
    assert session.screen.metadata is not None
    assert (samples / "simulated" / "whole").is_file()

    canvas = viewer.screenshot(canvas_only=True, flash=False)
    imageio.imwrite(pictures / "sample-data.png", viewer.screenshot(canvas_only=False, flash=False))
    rgb = canvas[..., :3].astype(float)
    assert rgb.std() > 10, "the canvas is blank"
    # Colours, not shades of grey, and not washed out to white.
    assert np.ptp(rgb, axis=-1).max() > 60
    assert np.mean(rgb.min(-1) > 250) < 0.05


@pytest.mark.window
def test_without_a_network_the_real_sample_says_so(
    viewer: Viewer, manifest: PluginManifest, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    def no_network(report: object) -> Path:
        raise UserError("The Cell Painting Gallery cannot be reached (no network). Use another sample.")

    monkeypatch.setattr(sample_data, "_download", no_network)
    viewer.open_sample(manifest.name, "cpjump1_well")
    _, widget = viewer.window.add_plugin_dock_widget("napari-sslprofiler", "Plates")
    qtbot.waitUntil(lambda: "cannot be reached" in widget.message.text(), timeout=10_000)
    assert not viewer.layers  # the stand-in is gone
