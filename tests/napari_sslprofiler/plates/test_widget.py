"""The Plates widget in a real window."""

from __future__ import annotations

import shlex
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt

from napari_sslprofiler.background import Report
from napari_sslprofiler.plates.widget import PlatesWidget
from napari_sslprofiler.state import session_of
from sslprofiler_core.cli import build_parser

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window


def _open(viewer: Viewer) -> PlatesWidget:
    _, widget = viewer.window.add_plugin_dock_widget("napari-sslprofiler", "Plates")
    assert isinstance(widget, PlatesWidget)
    return widget


def test_from_its_menu_to_a_site_and_on_to_the_next(viewer: Viewer, simulated: Path, qtbot: QtBot) -> None:
    widget = _open(viewer)
    widget.open([simulated / "images"])
    session = session_of(viewer)
    qtbot.waitUntil(lambda: len(viewer.layers) == 8 and bool(session.screen and session.screen.scale), timeout=20000)
    first = session.shown
    assert first is not None and first.well == widget.map.current
    qtbot.keyClick(widget.map, Qt.Key.Key_Down)
    qtbot.waitUntil(lambda: viewer.layers[0].metadata["well"] != first.well, timeout=10000)
    qtbot.keyClick(widget.picker, Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: viewer.layers[0].metadata["site"] == 2, timeout=10000)
    assert len(viewer.layers) == 8
    widget.plate_box.setCurrentIndex(1)
    qtbot.waitUntil(lambda: viewer.layers[0].metadata["plate"] == widget.plate_box.currentText(), timeout=10000)
    for number in range(widget.colour_box.count()):
        widget.colour_box.setCurrentIndex(number)

    shown = session.shown
    assert shown is not None and shown.site == 2
    viewer.window.remove_dock_widget(widget)
    widget = _open(viewer)
    assert session.shown is shown and widget.map.current == shown.well

    words = shlex.split(widget.command())
    parsed = build_parser().parse_args(words[1:])
    assert parsed.plates == [simulated / "images"] and parsed.metadata == simulated / "metadata"


def test_a_folder_without_plates_leaves_what_is_open(
    viewer: Viewer, simulated: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    widget = _open(viewer)
    widget.open([simulated / "images"])
    qtbot.waitUntil(lambda: len(viewer.layers) == 8, timeout=20000)
    before = session_of(viewer).screen
    widget.open([tmp_path])
    qtbot.waitUntil(lambda: str(tmp_path) in widget.message.text() and not widget.cancel_button.isVisible())
    after = session_of(viewer).screen
    assert before is not None and after is not None and before.plates == after.plates


def test_opening_others_meanwhile_is_not_ended_by_what_was_opened_before(
    viewer: Viewer, simulated: Path, qtbot: QtBot
) -> None:
    widget, begun, gate = _open(viewer), threading.Event(), threading.Event()

    def made(report: Report) -> Path:
        begun.set()
        gate.wait(10)
        return simulated / "images"

    def stopped(report: Report) -> Path:
        while True:
            report(0, 0)

    widget.open_made("Making plates", stopped)
    widget.open_made("Making others", made)
    assert begun.wait(5)
    qtbot.wait(500)
    assert widget.cancel_button.isVisible() and "Making others" in widget.message.text()
    widget.cancel_button.click()
    gate.set()
    qtbot.waitUntil(lambda: widget.message.text() == "Cancelled." and not widget.cancel_button.isVisible())


def test_gaps_are_listed(viewer: Viewer, simulated: Path, tmp_path: Path, qtbot: QtBot) -> None:
    shutil.copytree(simulated / "images", tmp_path / "images")
    gone = sorted((tmp_path / "images").glob("*/*.tiff"))[0]
    gone.unlink()
    widget = _open(viewer)
    widget.open([tmp_path / "images"])
    qtbot.waitUntil(lambda: widget.gaps.button.text() == "1 gap", timeout=20000)
    widget.gaps.button.setChecked(True)
    assert gone.name in widget.gaps.files.text() and widget.gaps.files.isVisible()
