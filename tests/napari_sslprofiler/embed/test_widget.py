"""The Embed widget in a real window, with a real run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_sslprofiler.embed.widget import EmbedWidget
from napari_sslprofiler.state import Screen, session_of
from sslprofiler_core.plates import open_plates
from sslprofiler_core.profiling import read_wells

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window


@pytest.fixture
def widget(viewer: Viewer, simulated: Path) -> EmbedWidget:
    _, widget = viewer.window.add_plugin_dock_widget("napari-sslprofiler", "Embed and profile")
    assert isinstance(widget, EmbedWidget)
    return widget


def _open(viewer: Viewer, simulated: Path) -> None:
    plates = tuple(open_plates([simulated / "images"]))
    session_of(viewer).screen = Screen(plates, (simulated / "images",), metadata_path=simulated / "metadata")


def test_plates_through_a_run_to_wells(
    widget: EmbedWidget, viewer: Viewer, simulated: Path, trained: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    assert "Open plates first" in widget.verdict.text() and not widget.start_button.isEnabled()
    _open(viewer, simulated)
    assert "at least one run" in widget.verdict.text()
    widget.add_run(trained)
    assert widget.out.text() == str(trained.parent / "profiles")
    widget.out.setText(str(tmp_path / "out"))
    assert "Channels match. 48 sites" in widget.verdict.text()
    found: list[Path] = []
    widget.finished.connect(found.append)
    widget.start()
    assert not widget.start_button.isEnabled() and widget.cancel_button.isEnabled()
    qtbot.waitUntil(lambda: widget.browse_button.isVisible(), timeout=90_000)
    assert found == [tmp_path / "out" / "wells.parquet"] == [session_of(viewer).table]
    assert len(read_wells(found[0]).metadata) == 12
    assert "Metadata_Compound" in read_wells(found[0]).metadata
    assert widget.start_button.isEnabled() and not widget.cancel_button.isEnabled()


def test_runs_keep_their_ticks_and_the_newest_of_a_group_is_taken(
    widget: EmbedWidget, viewer: Viewer, trained: Path, tmp_path: Path
) -> None:
    first, second, third = (shutil.copytree(trained, tmp_path / name) for name in ("first", "second", "third"))
    session_of(viewer).runs = (second, first)
    assert widget._chosen(widget.runs) == [second]
    widget.runs.item(0).setCheckState(Qt.CheckState.Unchecked)
    session_of(viewer).runs = (first, second)
    assert not widget._chosen(widget.runs)
    widget.add_run(third)
    assert widget._chosen(widget.runs) == [third]
    widget.add_run(first)
    assert set(widget._chosen(widget.runs)) == {first, third}


def test_mnemonics_are_marked_and_not_spelled(widget: EmbedWidget) -> None:
    assert all(label.buddy() for label in widget.findChildren(QLabel) if "&" in label.text())


def test_cancel_stops_the_child_and_says_that_it_can_go_on(
    widget: EmbedWidget, viewer: Viewer, simulated: Path, trained: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    _open(viewer, simulated)
    widget.add_run(trained)
    widget.out.setText(str(tmp_path / "out"))
    widget.start()
    qtbot.wait(300)
    widget.cancel()
    qtbot.waitUntil(lambda: "Cancelled" in widget.status.text(), timeout=30_000)
    assert widget.start_button.isEnabled()


def test_a_run_that_vanishes_is_said_and_the_window_lives(
    widget: EmbedWidget, viewer: Viewer, simulated: Path, trained: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    _open(viewer, simulated)
    widget.add_run(run)
    widget.out.setText(str(tmp_path / "out"))
    shutil.rmtree(run)
    widget.start()
    qtbot.waitUntil(widget.start_button.isEnabled, timeout=150_000)
    assert str(run) in widget.status.text()
    assert widget.start_button.isEnabled()
