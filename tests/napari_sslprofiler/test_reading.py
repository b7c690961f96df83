"""What napari's reader takes, and what it does with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_sslprofiler.reading import get_reader, read_plates
from napari_sslprofiler.state import session_of

if TYPE_CHECKING:
    from napari import Viewer
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
    since = time.perf_counter()
    assert get_reader(str(tmp_path)) is None
    assert time.perf_counter() - since < 0.5


def test_without_a_window_the_first_site_is_read(simulated: Path) -> None:
    layers = read_plates(str(simulated / "images"))
    assert len(layers) == 8 and all(kind == "image" for _, _, kind in layers)


@pytest.mark.window
def test_dropped_plates_open_in_the_plates_widget(viewer: Viewer, simulated: Path, qtbot: QtBot) -> None:
    viewer.open(str(simulated / "images"), plugin="napari-sslprofiler")
    qtbot.waitUntil(lambda: len(viewer.layers) == 8, timeout=20_000)
    screen = session_of(viewer).screen
    assert screen is not None and len(screen.plates) == 2
