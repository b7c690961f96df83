"""The store of thumbnails: order, dropping, bounds, contrast. A Qt application, no window."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_sslprofiler.browser.thumbnails import ThumbnailStore
from napari_sslprofiler.browser.thumbnails_read import Choice
from napari_sslprofiler.browser.thumbnails_sites import Missing, Pictured
from sslprofiler_core.plates import Plate, open_plates

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


@pytest.fixture
def plate(simulated: Path) -> Plate:
    return open_plates([simulated / "images"])[0]


def finder(plate: Plate) -> Callable[[int], Pictured | Missing]:
    return lambda row: Pictured(plate, (plate.sites[row % len(plate.sites)],))


def settle(store: ThumbnailStore, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not store.busy, timeout=10000)


def test_pictures_come_and_are_kept(plate: Plate, qtbot: QtBot) -> None:
    store = ThumbnailStore(finder(plate))
    store.choice = Choice((plate.channels[0].name,))
    came: set[int] = set()
    store.arrived.connect(came.update)
    assert store.image(3) is None
    store.want("gallery", range(5))
    settle(store, qtbot)
    assert came == set(range(5))
    image = store.image(3)
    assert image is not None and image.width() == 64
    came.clear()
    store.want("gallery", range(5))
    settle(store, qtbot)
    assert came == set()


def test_what_scrolled_away_is_not_made_and_the_pointer_comes_first(plate: Plate, qtbot: QtBot) -> None:
    made: list[int] = []
    gate, started = threading.Event(), threading.Event()

    def find(row: int) -> Pictured | Missing:
        made.append(row)
        started.set()
        gate.wait(10)
        return Missing("no", "no")

    store = ThumbnailStore(find, threads=1)
    store.want("gallery", range(100))
    assert started.wait(5)
    store.want("gallery", [200, 201])  # scrolled on
    assert store.thumbnail_for(300) is None  # the pointer
    gate.set()
    settle(store, qtbot)
    assert made == [0, 300, 200, 201]


def test_missing_rows_say_why_and_are_not_asked_again(qtbot: QtBot) -> None:
    asked: list[int] = []

    def find(row: int) -> Missing:
        asked.append(row)
        return Missing("gone", "It is gone.")

    store = ThumbnailStore(find)
    store.want("gallery", [1])
    settle(store, qtbot)
    store.want("gallery", [1])
    settle(store, qtbot)
    missing = store.missing(1)
    assert asked == [1] and missing is not None and missing.reason == "It is gone."


def test_a_file_that_cannot_be_read_is_named(plate: Plate, tmp_path: Path, qtbot: QtBot) -> None:
    from dataclasses import replace

    broken = tmp_path / "broken.tiff"
    broken.write_bytes(b"no image")
    site = replace(plate.sites[0], paths=(broken,) * len(plate.channels))
    store = ThumbnailStore(lambda row: Pictured(plate, (site,)))
    store.choice = Choice((plate.channels[0].name,))
    store.want("gallery", [0])
    settle(store, qtbot)
    missing = store.missing(0)
    assert missing is not None and "broken.tiff" in missing.reason


def test_memory_is_bounded(plate: Plate, qtbot: QtBot) -> None:
    store = ThumbnailStore(finder(plate), memory=5 * 64 * 64 * 4)
    store.choice = Choice((plate.channels[0].name,))
    for start in range(0, 20, 5):
        store.want("gallery", range(start, start + 5))
        settle(store, qtbot)
    assert [row for row in range(20) if store.image(row) is not None] == [15, 16, 17, 18, 19]


def test_another_contrast_makes_its_plates_pictures_anew(plate: Plate, qtbot: QtBot) -> None:
    store = ThumbnailStore(finder(plate))
    unmeasured: list[str] = []
    store.unmeasured.connect(lambda p: unmeasured.append(p.name))
    store.choice = Choice((plate.channels[0].name,))
    store.want("gallery", [0, 1, 2])
    settle(store, qtbot)
    qtbot.waitUntil(lambda: bool(unmeasured))
    assert unmeasured == [plate.name]  # said once
    before = store.image(0)
    with qtbot.waitSignal(store.changed):
        store.set_contrast({plate.name: {channel.name: (0.0, 60000.0) for channel in plate.channels}})
    assert store.image(0) is None
    store.want("gallery", [0])
    settle(store, qtbot)
    after = store.image(0)
    assert after is not None and before is not None and after != before
    store.set_contrast({"another": {"DNA": (0.0, 1.0)}})
    assert store.image(0) == after


def test_another_choice_forgets_all(plate: Plate, qtbot: QtBot) -> None:
    store = ThumbnailStore(finder(plate))
    store.choice = Choice((plate.channels[0].name,))
    store.want("gallery", [0])
    settle(store, qtbot)
    first = store.image(0)
    with qtbot.waitSignal(store.changed):
        store.choice = Choice(tuple(channel.name for channel in plate.channels[:3]))
    assert store.image(0) is None
    store.want("gallery", [0])
    settle(store, qtbot)
    assert store.image(0) != first
    store.close()


def test_held_it_makes_none_and_goes_on_afterwards(plate: Plate, qtbot: QtBot) -> None:
    made: list[int] = []

    def find(row: int) -> Pictured | Missing:
        made.append(row)
        return Missing("no", "no")

    store = ThumbnailStore(find)
    store.hold()
    store.want("gallery", range(4))
    assert store.busy
    qtbot.wait(50)
    assert made == []
    store.release()
    settle(store, qtbot)
    assert sorted(made) == [0, 1, 2, 3]
