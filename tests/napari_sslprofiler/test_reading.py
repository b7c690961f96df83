"""What napari's reader takes, and what it does with it."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QRadioButton, QWidget

from napari_sslprofiler.reading import get_reader, read_plates
from napari_sslprofiler.state import session_of
from sslprofiler_core.plates import convert_plates, open_plates

if TYPE_CHECKING:
    from napari import Viewer
    from npe2 import PluginManifest
    from pytestqt.qtbot import QtBot


def test_plates_are_taken_and_other_things_are_not(simulated: Path, tmp_path: Path) -> None:
    plate = sorted((simulated / "images").iterdir())[0]
    assert get_reader(str(simulated / "images")) is not None
    assert get_reader([str(plate)]) is not None
    (tmp_path / "points.csv").write_text("index,axis-0,axis-1\n0,1,2\n")
    (tmp_path / "holiday.jpg").write_bytes(b"\xff\xd8")
    assert get_reader(str(tmp_path / "points.csv")) is None
    assert get_reader(str(tmp_path)) is None
    assert get_reader(str(tmp_path / "nowhere")) is None


def test_a_large_strange_folder_is_refused_at_once(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"file{number:05}.txt").touch()
    since = time.thread_time()
    assert get_reader(str(tmp_path)) is None
    assert time.thread_time() - since < 0.5


def test_without_a_window_the_first_site_is_read(simulated: Path) -> None:
    layers = read_plates(str(simulated / "images"))
    assert len(layers) == 8 and all(kind == "image" for _, _, kind in layers)


def load_data_table(images: Path, path: Path) -> Path:
    """A LoadData table of a folder of plates."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        for number, plate in enumerate(open_plates([images])):
            names = [f"{what}_Orig{each.name}" for each in plate.channels for what in ("FileName", "PathName")]
            if number == 0:
                table.writerow(["Metadata_Plate", "Metadata_Well", "Metadata_Site", *names])
            for site in plate.sites:
                planes = [part for each in site.sources for part in (each.path.name, each.path.parent)]
                table.writerow([site.plate, site.well, site.site, *planes])
    return path


def store(images: Path, path: Path) -> Path:
    """An OME-Zarr store of a folder of plates."""
    convert_plates([images], path)
    return path


def drop(viewer: Viewer, path: Path) -> list[str]:
    """Drop a path on napari's canvas, choose SSLProfiler where napari asks for a reader; what it offered."""
    canvas = next(each for each in QApplication.allWidgets() if type(each).__name__ == "QtViewer" and each.isVisible())
    offered: list[str] = []

    def choose() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            return
        for button in dialog.findChildren(QRadioButton):
            offered.append(button.text())
            button.setChecked(button.text() == "SSLProfiler")
        box = dialog.findChild(QDialogButtonBox)
        assert box is not None
        box.button(QDialogButtonBox.StandardButton.Ok).click()

    asked = QTimer()
    asked.timeout.connect(choose)
    asked.start(50)
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(50, 50),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    assert isinstance(canvas, QWidget)
    canvas.dropEvent(event)
    asked.stop()
    return offered


@pytest.mark.window
@pytest.mark.parametrize(
    "made",
    [
        lambda images, folder: images,
        lambda images, folder: load_data_table(images, folder / "load_data.csv"),
        lambda images, folder: store(images, folder / "store.zarr"),
    ],
    ids=["folder", "LoadData table", "OME-Zarr store"],
)
def test_dropped_plates_open_in_the_plates_widget(
    viewer: Viewer, simulated: Path, tmp_path: Path, qtbot: QtBot, made: Callable[[Path, Path], Path]
) -> None:
    path = made(simulated / "images", tmp_path)
    offered = drop(viewer, path)
    assert "SSLProfiler" in offered
    qtbot.waitUntil(lambda: len(viewer.layers) == 8, timeout=20_000)
    screen = session_of(viewer).screen
    assert screen is not None and screen.paths == (path,)
    assert len(screen.plates) == 2


def test_other_tables_are_left_to_others(manifest: PluginManifest) -> None:
    patterns = [pattern for reader in manifest.contributions.readers or [] for pattern in reader.filename_patterns]
    assert any(fnmatch("load_data_with_illum.csv", pattern) for pattern in patterns)
    assert not any(fnmatch("points.csv", pattern) for pattern in patterns)
