"""What napari hands to the browser, and what it leaves to others; dropped in a real window."""

from __future__ import annotations

import gzip
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QRadioButton

from napari_sslprofiler.browser.reading import get_reader, open_browser_widget, read_table
from napari_sslprofiler.browser.saved import save_state
from napari_sslprofiler.browser.state import BrowserState, open_table
from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import write_wells

if TYPE_CHECKING:
    from napari import Viewer
    from npe2 import PluginManifest
    from pytestqt.qtbot import QtBot

PROFILES = "Metadata_Plate,Metadata_Well,Cells_AreaShape_Area,Nuclei_Texture\nP1,A01,1,2\nP1,A02,3,4\n"


def wells(folder: Path) -> Path:
    frame = pd.DataFrame({"Metadata_Plate": ["P1"] * 12, "Metadata_Well": [f"A{i + 1:02d}" for i in range(12)]})
    return write_wells(folder / "wells.parquet", frame, np.random.default_rng(0).normal(size=(12, 4)), {})


def test_tables_are_taken_and_other_things_are_not(tmp_path: Path) -> None:
    table = wells(tmp_path)
    state = BrowserState()
    state.table = open_table(table)
    saved = save_state(state, tmp_path / "mine")
    sites = tmp_path / "sites.parquet"
    sites.mkdir()
    assert get_reader(str(sites)) is None  # nothing in it
    (sites / "P1.parquet").write_bytes(table.read_bytes())
    (tmp_path / "p_normalized.csv").write_text(PROFILES)
    with gzip.open(tmp_path / "p_augmented.csv.gz", "wt") as file:
        file.write(PROFILES)
    (tmp_path / "x.h5ad").write_bytes(b"HDF")
    for path in (
        table,
        saved,
        sites,
        tmp_path / "p_normalized.csv",
        tmp_path / "p_augmented.csv.gz",
        tmp_path / "x.h5ad",
    ):
        assert get_reader(str(path)) is read_table, path
        assert get_reader([str(path)]) is read_table
    assert get_reader([str(table), str(saved)]) is None
    (tmp_path / "rubbish.parquet").write_bytes(b"no table")
    (tmp_path / "points.csv").write_text("index,axis-0,axis-1\n0,1,2\n")
    header = "Metadata_Plate,Metadata_Well,FileName_OrigDNA,PathName_OrigDNA\n"
    (tmp_path / "load_data_normalized.csv").write_text(header)
    (tmp_path / "latin.csv").write_bytes(b"Metadata_Plate,\xe9\xff,c\n")
    (tmp_path / "broken.csv.gz").write_bytes(b"\x1f\x8bno")
    for name in (
        "rubbish.parquet",
        "points.csv",
        "load_data_normalized.csv",
        "latin.csv",
        "broken.csv.gz",
        "gone.parquet",
    ):
        assert get_reader(str(tmp_path / name)) is None, name
    assert get_reader(str(tmp_path)) is None


def test_without_a_window_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sslprofiler browse"):
        read_table(str(wells(tmp_path)))


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("wells.parquet", True),
        ("BR00117010_normalized_feature_select_negcon.csv.gz", True),
        ("mine.sslbrowser.json", True),
        ("screen.h5ad", True),
        ("points.csv", False),
        ("load_data.csv", False),
        ("settings.json", False),
    ],
)
def test_napari_asks_only_for_names_that_tables_have(manifest: PluginManifest, name: str, taken: bool) -> None:
    readers = manifest.contributions.readers or []
    patterns = [p for r in readers if r.command.endswith("read_table") for p in r.filename_patterns]
    assert any(fnmatch(name, pattern) for pattern in patterns) is taken


def drop(viewer: Viewer, path: Path) -> None:
    """Drop a path on napari's canvas, and choose SSLProfiler where napari asks for a reader."""
    canvas = next(each for each in QApplication.allWidgets() if type(each).__name__ == "QtViewer" and each.isVisible())

    def choose() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is not None:
            for button in dialog.findChildren(QRadioButton):
                button.setChecked(button.text() == "SSLProfiler")
            dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok).click()

    asked = QTimer()
    asked.timeout.connect(choose)
    asked.start(50)
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    no_keys, left = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.LeftButton
    canvas.dropEvent(QDropEvent(QPointF(50, 50), Qt.DropAction.CopyAction, mime, left, no_keys))
    asked.stop()


@pytest.mark.window
def test_a_table_and_a_saved_browser_dropped_on_the_canvas_open(
    viewer: Viewer, own_folders: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    table = wells(tmp_path)
    state = BrowserState()
    state.table = open_table(table)
    state.select([2, 3])
    saved = save_state(state, tmp_path / "mine")
    (tmp_path / "p_normalized.csv").write_text(PROFILES)
    drop(viewer, saved)
    widget = open_browser_widget()
    qtbot.waitUntil(lambda: widget.state.table is not None, timeout=20_000)
    assert widget.state.table.path == table and widget.state.selection.nonzero()[0].tolist() == [2, 3]
    drop(viewer, tmp_path / "p_normalized.csv")
    qtbot.waitUntil(lambda: widget.state.table.path.name == "p_normalized.csv", timeout=20_000)
    assert open_browser_widget() is widget and len(viewer.layers) == 0
    widget.jobs.stop()
    qtbot.waitUntil(lambda: not (widget.map.busy or widget.jobs.busy), timeout=20_000)
