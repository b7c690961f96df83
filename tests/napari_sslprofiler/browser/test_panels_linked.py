"""The whole browser: lasso to gallery to export, plate map to map and back, a neighbour beside its query."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QEvent, QObject, QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget

from napari_sslprofiler.browser.columns import natural_key
from napari_sslprofiler.browser.gallery_panel import GalleryPanel
from napari_sslprofiler.browser.neighbours_panel import NeighboursPanel
from napari_sslprofiler.browser.plates_panel import PlatesPanel
from napari_sslprofiler.browser.state import BrowserState
from napari_sslprofiler.browser.table_panel import TablePanel
from napari_sslprofiler.browser.widget import BrowserWidget
from sslprofiler_core.exploring.derived import AXES, derived_path, fingerprint
from sslprofiler_core.profiling import read_wells
from sslprofiler_core.profiling.parquet import write_parquet

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window


@pytest.fixture
def browser(screen_state: BrowserState, viewer: Viewer, qtbot: QtBot) -> BrowserWidget:
    assert screen_state.table is not None
    path = screen_state.table.path
    places = pd.DataFrame(np.random.default_rng(3).normal(size=(12, 2)).astype(np.float32), columns=list(AXES))
    info = {"kind": "map", "version": 1, "centred": False, "seed": 0, "made_from": fingerprint(path), "note": "UMAP."}
    write_parquet(derived_path(path, "map"), places, {}, info)
    widget = BrowserWidget(viewer)
    viewer.window.resize(1280, 800)
    viewer.window.add_dock_widget(widget, name="Browse", area="right")
    widget.open(path)
    qtbot.waitUntil(lambda: widget.state.positions is not None and not widget.images.busy, timeout=20000)
    return widget


def test_one_selection_everywhere(browser: BrowserWidget, tmp_path: Path, qtbot: QtBot, pictures: Path) -> None:
    state = browser.state
    gallery = browser.panel("Gallery")
    assert isinstance(gallery, GalleryPanel)
    qtbot.waitUntil(lambda: len(gallery.view.rows) == 12, timeout=10000)
    # Lasso on the map, shown in the gallery.
    assert state.positions is not None
    pixels = browser.map.view.to_pixels(state.positions)
    middle = float(np.median(pixels[:, 0]))
    browser.map.select_within([(0, 0), (middle, 0), (middle, 4000), (0, 4000)], False, "replace")
    chosen = np.flatnonzero(pixels[:, 0] <= middle)
    assert state.selected_rows().tolist() == chosen.tolist()
    qtbot.waitUntil(lambda: gallery.view.rows.tolist() == chosen.tolist(), timeout=10000)
    store = gallery.thumbnails.store
    qtbot.waitUntil(lambda: all(store.image(int(row)) is not None for row in gallery.view.in_sight()), timeout=10000)
    browser.grab().save(str(pictures / "browser_gallery.png"))
    # Exported, and read back.
    gallery.take_away.export(tmp_path / "chosen.parquet", features=True)
    qtbot.waitUntil(lambda: (tmp_path / "chosen.parquet").exists() and not gallery.take_away.busy, timeout=10000)
    exported = read_wells(tmp_path / "chosen.parquet")
    assert state.table is not None
    np.testing.assert_array_equal(exported.profiles, state.table.features()[chosen])
    # The plate map shows it, and its own selection reaches map, gallery and table.
    plates = browser.panel("Plates")
    assert isinstance(plates, PlatesPanel)
    qtbot.waitUntil(lambda: plates.grid is not None and not plates.busy, timeout=10000)
    frame = state.metadata
    assert plates.grid is not None
    here = frame.iloc[chosen]
    plate = plates.grid.plates[plates.plate]
    assert plates.map.selected == frozenset(here.loc[here["Metadata_Plate"] == plate, "Metadata_Well"])
    well = frame.loc[frame["Metadata_Plate"] == plate, "Metadata_Well"].iloc[0]
    plates.map.selected = frozenset({well})
    rows = np.flatnonzero((frame["Metadata_Plate"] == plate) & (frame["Metadata_Well"] == well))
    assert state.selected_rows().tolist() == rows.tolist()
    table = browser.panel("Table")
    assert isinstance(table, TablePanel)
    qtbot.waitUntil(lambda: table.model.rows.tolist() == rows.tolist(), timeout=10000)
    assert isinstance(browser.panel("Gallery"), GalleryPanel)
    qtbot.waitUntil(lambda: gallery.view.rows.tolist() == rows.tolist(), timeout=10000)


def test_a_point_leads_to_neighbours_and_their_images(browser: BrowserWidget, viewer: Viewer, qtbot: QtBot) -> None:
    state = browser.state
    panel = browser.panel("Neighbours")
    assert isinstance(panel, NeighboursPanel)
    state.current = 4
    qtbot.waitUntil(lambda: panel.answer is not None and panel.answer.question.rows[0] == 4, timeout=20000)
    qtbot.waitUntil(lambda: len(viewer.layers) >= 8 and not browser.images.busy, timeout=20000)
    assert panel.answer is not None and state.neighbours.tolist() == panel.answer.rows.tolist()
    box = panel.view._layout.box(2)
    QTest.mouseClick(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(box.x + 9, box.y + 9))
    qtbot.waitUntil(lambda: any(layer.translate[-1] > 0 for layer in viewer.layers), timeout=20000)
    beside = [layer for layer in viewer.layers if layer.translate[-1] > 0]
    assert beside[0].metadata["well"] == state.metadata["Metadata_Well"].iloc[int(panel.answer.rows[1])]
    assert state.current == 4
    assert browser.state.thumbnail_for is not None  # what the card at the pointer shows
    qtbot.waitUntil(lambda: browser.state.thumbnail_for(4) is not None, timeout=10000)
    qtbot.wait(500)


def test_small_tables_answer_at_once_and_in_one_frame(browser: BrowserWidget, qtbot: QtBot) -> None:
    state, window = browser.state, browser.window()
    frames = Frames(window)

    def drawn_after(act: Callable[[], object]) -> int:
        qtbot.wait(150)
        frames.count = 0
        act()
        qtbot.wait(150)
        return frames.count

    plates = browser.panel("Plates")
    assert isinstance(plates, PlatesPanel)
    state.colour_by("Metadata_Plate")
    qtbot.waitUntil(lambda: plates.grid is not None and not plates.busy, timeout=10000)
    before = plates.map.grab().toImage()
    state.colour_by("Metadata_Well")
    assert plates.map.grab().toImage() != before  # no event loop has run
    assert drawn_after(lambda: state.colour_by("Metadata_Plate")) <= 2
    assert drawn_after(lambda: state.select([1, 2])) == 1
    neighbours = browser.panel("Neighbours")
    assert isinstance(neighbours, NeighboursPanel)
    browser.images.decline()
    state.current = 0
    qtbot.waitUntil(lambda: neighbours.answer is not None and not neighbours.busy, timeout=20000)
    state.current = 5
    assert neighbours.answer is not None and neighbours.answer.question.rows.tolist() == [5]
    assert neighbours.view.rows[0] == 5 and state.neighbours.tolist() == neighbours.answer.rows.tolist()
    table = browser.panel("Table")
    assert isinstance(table, TablePanel)
    state.clear_selection()
    qtbot.waitUntil(lambda: len(table.model.rows) == 12 and not table.busy, timeout=10000)
    table.view.horizontalHeader().sectionClicked.emit(0)
    first = table.model.columns[0]
    assert [table.model.cell(i, 0) for i in range(12)] == sorted(map(str, state.values(first)), key=natural_key)
    assert drawn_after(lambda: table.view.horizontalHeader().sectionClicked.emit(0)) == 1


class Frames(QObject):
    """Counts how often a window is painted."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.count = 0
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        self.count += event.type() == QEvent.Type.UpdateRequest
        return False
