"""From rows to sites, and which plates of a name they are of."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_sslprofiler.browser.image_link import ImageLink
from napari_sslprofiler.browser.state import BrowserState
from napari_sslprofiler.site_display import display_of
from napari_sslprofiler.state import Screen, session_of
from sslprofiler_core.plates import open_plates

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot


@pytest.fixture
def others(simulated: Path, tmp_path: Path) -> Screen:
    """Plates of another experiment that have the same names."""
    shutil.copytree(simulated / "images", tmp_path / "others")
    return Screen(tuple(open_plates([tmp_path / "others"])), (tmp_path / "others",))


@pytest.mark.window
def test_rows_lead_to_their_own_images_while_plates_of_the_same_names_are_open(
    screen_state: BrowserState, others: Screen, viewer: Viewer, simulated: Path, qtbot: QtBot
) -> None:
    session, table = session_of(viewer), screen_state.table
    session.screen = others
    screen_state.table = None
    link = ImageLink(screen_state, viewer)
    screen_state.table = table
    qtbot.waitUntil(lambda: not link.busy, timeout=10000)
    screen_state.current = 5
    qtbot.waitUntil(lambda: session.shown is not None and not display_of(viewer).busy, timeout=10000)
    assert session.shown is not None and session.shown.paths[0].is_relative_to(simulated)
    session.screen = Screen(others.plates, others.paths)
    qtbot.waitUntil(lambda: not link.busy and not display_of(viewer).busy, timeout=10000)
    assert session.shown.paths[0].is_relative_to(simulated)

    display_of(viewer).show(others.plates[0], others.plates[0].sites[0])
    assert screen_state.current == 5 and session.shown is others.plates[0].sites[0]


def test_plates_that_somebody_points_to_are_taken_from_anywhere(screen_state: BrowserState, others: Screen) -> None:
    images = screen_state.images
    assert images is not None and images.adopt(others.plates, elsewhere=False) == 0
    assert images.adopt(others.plates) == 2 and images.folders[others.plates[0].name] == others.plates[0].root
    found = images.sites(0)
    assert found is not None and found[1][0] in others.plates[0].sites


def test_where_plates_are_is_told_while_one_is_being_opened(
    screen_state: BrowserState, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, gate, begun = screen_state.images, threading.Event(), threading.Event()
    assert images is not None

    def slow(paths: list[Path]) -> list[object]:
        begun.set()
        gate.wait(10)
        return []

    monkeypatch.setattr("sslprofiler_core.plates.open_plates", slow)
    threading.Thread(target=images.sites, args=(0,)).start()
    assert begun.wait(5)
    asker = threading.Thread(target=lambda: images.known and images.folders)
    asker.start()
    asker.join(2)
    waited = asker.is_alive()
    gate.set()
    assert not waited
