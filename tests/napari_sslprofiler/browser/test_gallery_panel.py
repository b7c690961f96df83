"""The gallery in a real window."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QImage
from qtpy.QtTest import QTest

from napari_sslprofiler.browser.gallery_panel import GalleryPanel
from napari_sslprofiler.browser.gallery_view import GalleryView
from napari_sslprofiler.browser.state import BrowserState
from napari_sslprofiler.site_display import display_of

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def panel(screen_state: BrowserState, viewer: Viewer, shown: Any) -> GalleryPanel:
    made = GalleryPanel(screen_state, viewer)
    shown(made)
    return made


def point_of(view: GalleryView, item: int) -> QPoint:
    box = view._layout.box(item)
    return QPoint(box.x + box.width // 2, box.y + 20 - view.verticalScrollBar().value())


def click(view: GalleryView, item: int, keys: Any = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, keys, point_of(view, item))


def test_all_rows_then_the_selection(panel: GalleryPanel, screen_state: BrowserState, shown: Any) -> None:
    assert panel.view.rows.tolist() == list(range(12))
    screen_state.select([3, 7, 8])
    shown(panel)
    assert panel.view.rows.tolist() == [3, 7, 8]
    assert panel.count.toolTip() == "3 wells selected"
    panel.only_selected.setChecked(False)
    shown(panel)
    assert len(panel.view.rows) == 12
    screen_state.isolate([1, 3])
    shown(panel)
    assert panel.view.rows.tolist() == [1, 3]


def test_pictures_are_drawn(panel: GalleryPanel, shown: Any, qtbot: QtBot, pictures: Path) -> None:
    shown(panel)
    store = panel.thumbnails.store
    seen = panel.view.in_sight()
    qtbot.waitUntil(lambda: all(store.image(int(row)) is not None for row in seen), timeout=10000)
    image = panel.view.viewport().grab().toImage()
    image.save(str(pictures / "gallery.png"))
    at = point_of(panel.view, 0)
    colours = {image.pixelColor(at.x() + x, at.y() + y).rgb() for x in range(0, 40, 4) for y in range(0, 40, 4)}
    assert len(colours) > 10


def test_a_click_is_current_and_a_double_click_shows_it(
    panel: GalleryPanel, screen_state: BrowserState, viewer: Viewer, qtbot: QtBot
) -> None:
    click(panel.view, 4)
    assert screen_state.current == 4
    QTest.mouseDClick(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=point_of(panel.view, 2))
    assert screen_state.current == 2
    display = display_of(viewer)
    qtbot.waitUntil(lambda: len(viewer.layers) > 0 and not display.busy, timeout=10000)
    well = screen_state.metadata["Metadata_Well"].iloc[2]
    assert viewer.layers[0].metadata["well"] == well
    qtbot.wait(300)  # layers come one after the other
    screen_state.current = 5
    assert panel.view.current == 5


def test_picking_is_selecting(panel: GalleryPanel, screen_state: BrowserState, shown: Any) -> None:
    panel.only_selected.setChecked(False)
    shown(panel)
    click(panel.view, 1)
    click(panel.view, 3, SHIFT)
    assert screen_state.selected_rows().tolist() == [1, 2, 3]
    click(panel.view, 2, CTRL)
    assert screen_state.selected_rows().tolist() == [1, 3]
    viewport = panel.view.viewport()
    start, end = point_of(panel.view, 0) - QPoint(30, 0), point_of(panel.view, 1)
    QTest.mousePress(viewport, Qt.MouseButton.LeftButton, pos=start)
    QTest.mouseMove(viewport, (start + end) / 2)
    QTest.mouseMove(viewport, end)
    QTest.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=end)
    assert screen_state.selected_rows().tolist() == [0, 1]
    QTest.keyClick(panel.view, Qt.Key.Key_A, CTRL)
    assert screen_state.selection.all()
    QTest.keyClick(panel.view, Qt.Key.Key_Escape)
    assert not screen_state.selection.any()


def test_keys_move_the_current_row(panel: GalleryPanel, screen_state: BrowserState) -> None:
    click(panel.view, 0)
    QTest.keyClick(panel.view, Qt.Key.Key_Right)
    assert screen_state.current == 1
    QTest.keyClick(panel.view, Qt.Key.Key_End)
    assert screen_state.current == 11


def test_groups_and_order(panel: GalleryPanel, screen_state: BrowserState, shown: Any) -> None:
    panel.group.setCurrentIndex(panel.group.findData("Metadata_Plate"))
    panel.sort.setCurrentIndex(panel.sort.findData("Metadata_Well"))
    panel.descending.setChecked(True)
    shown(panel)
    frame = screen_state.metadata.iloc[panel.view.rows]
    assert frame["Metadata_Plate"].is_monotonic_increasing
    assert all(own["Metadata_Well"].is_monotonic_decreasing for _, own in frame.groupby("Metadata_Plate"))


def test_channels_are_chosen(panel: GalleryPanel, shown: Any, qtbot: QtBot) -> None:
    store = panel.thumbnails.store
    names = [channel.name for channel in panel.thumbnails.channels]
    assert "DNA" in names and "Brightfield" not in store.choice.channels
    qtbot.waitUntil(lambda: store.image(0) is not None, timeout=10000)
    before = store.image(0)
    panel.channels.show_alone("DNA")
    qtbot.waitUntil(lambda: store.image(0) is not None, timeout=10000)
    after = store.image(0)
    assert after is not None and after != before and after.isGrayscale()
    panel.channels.show_composite()
    qtbot.waitUntil(lambda: store.image(0) == before or store.image(0) is not None, timeout=10000)
    assert panel.channels.text().startswith("All stains")


def test_without_images_it_says_why(blank_state: Callable[..., BrowserState], viewer: Viewer, shown: Any) -> None:
    state = blank_state(pd.DataFrame({"Metadata_Plate": ["P", "P"], "Metadata_Well": ["A01", None]}))
    panel = GalleryPanel(state, viewer)
    shown(panel)
    assert panel.thumbnails.reason(0)[0] == "no images"
    assert "Where are the images?" in panel.thumbnails.reason(1)[1]
    assert panel.thumbnails.caption(1) == ("–", "P")


class Ready:
    """Pictures that are there at once: what is measured is the gallery."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self._images = [QImage(128, 128, QImage.Format.Format_RGB32) for _ in range(16)]
        for i, image in enumerate(self._images):
            image.fill(i * 1000003)

    def image(self, row: int) -> QImage | None:
        return self._images[row % 16]

    def want(self, who: str, rows: Any) -> None:
        self.asked.append(list(rows))


def test_ten_thousand_scroll_smoothly(qtbot: QtBot) -> None:
    source = Ready()
    view = GalleryView(source, lambda row: (f"compound {row}", f"plate  well {row}"), lambda row: ("", ""))
    qtbot.addWidget(view)
    view.resize(800, 800)
    view.show()
    view.set_items(np.arange(10_000))
    qtbot.waitUntil(lambda: view.isVisible() and view.viewport().width() > 700)
    bar, times = view.verticalScrollBar(), []
    canvas = QImage(view.viewport().size(), QImage.Format.Format_RGB32)
    for value in np.linspace(0, bar.maximum(), 60).astype(int):
        start = time.thread_time()
        bar.setValue(int(value))
        view.viewport().render(canvas)
        times.append(time.thread_time() - start)
    milliseconds = 1000 * float(np.median(times))
    print(f"\n{len(view.in_sight())} thumbnails in sight, {milliseconds:.1f} ms a frame (median of 60)")
    assert milliseconds < 50
    qtbot.waitUntil(lambda: len(source.asked) > 0 and view.in_sight()[0] in source.asked[-1])
    assert all(len(rows) < 400 for rows in source.asked)  # never all of them
