"""The table in a real window."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QGuiApplication, QImage
from qtpy.QtTest import QTest

from napari_sslprofiler.browser.state import BrowserState
from napari_sslprofiler.browser.table_panel import TablePanel
from napari_sslprofiler.browser.table_panel_view import TableModel, TableView

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window
CTRL, SHIFT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def panel(screen_state: BrowserState, viewer: Viewer, shown: Any) -> TablePanel:
    made = TablePanel(screen_state, viewer)
    shown(made)
    return made


def click(view: TableView, at: int, keys: Any = Qt.KeyboardModifier.NoModifier) -> None:
    y = view.rowViewportPosition(at) + 5
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, keys, QPoint(20, y))


def test_rows_are_sorted_by_a_click_on_a_title(panel: TablePanel, screen_state: BrowserState, shown: Any) -> None:
    assert panel.columns[:3] == ("Metadata_Compound", "Metadata_Plate", "Metadata_Well")
    header = panel.view.horizontalHeader()
    for expected in (("Metadata_Well", False), ("Metadata_Well", True), ("", False)):
        x = header.sectionViewportPosition(2) + 10
        QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(x, 8))
        shown(panel)
        assert panel.sort == expected
        wells = screen_state.metadata["Metadata_Well"].iloc[panel.model.rows]
        if expected[0]:
            assert wells.is_monotonic_decreasing if expected[1] else wells.is_monotonic_increasing
        else:
            assert panel.model.rows.tolist() == list(range(12))


def test_words_are_found_and_the_filter_is_kept(panel: TablePanel, screen_state: BrowserState, shown: Any) -> None:
    screen_state.isolate(range(8))
    panel.search.setText("dmso")
    shown(panel)
    expected = np.flatnonzero(screen_state.metadata["Metadata_Compound"] == "DMSO")
    assert panel.model.rows.tolist() == expected[expected < 8].tolist()
    assert "found" in panel.count.toolTip()


def test_selection_is_linked_both_ways(panel: TablePanel, screen_state: BrowserState, shown: Any) -> None:
    panel.only_selected.setChecked(False)
    shown(panel)
    click(panel.view, 2)
    assert screen_state.current == 2
    click(panel.view, 4, SHIFT)
    assert screen_state.selected_rows().tolist() == [2, 3, 4]
    click(panel.view, 3, CTRL)
    assert screen_state.selected_rows().tolist() == [2, 4]
    colour = panel.model.data(panel.model.index(4, 0), Qt.ItemDataRole.BackgroundRole)
    assert colour is not None and panel.model.data(panel.model.index(3, 0), Qt.ItemDataRole.BackgroundRole) is None
    screen_state.select([7])
    assert panel.model.data(panel.model.index(7, 0), Qt.ItemDataRole.BackgroundRole) is not None
    panel.only_selected.setChecked(True)
    shown(panel)
    assert panel.model.rows.tolist() == [7]
    screen_state.current = 7
    assert panel.model.current == 7
    QTest.keyClick(panel.view, Qt.Key.Key_Escape)
    assert not screen_state.selection.any()


def test_keys_move_the_current_row(panel: TablePanel, screen_state: BrowserState) -> None:
    click(panel.view, 0)
    QTest.keyClick(panel.view, Qt.Key.Key_Down)
    assert screen_state.current == 1
    QTest.keyClick(panel.view, Qt.Key.Key_End)
    assert screen_state.current == 11


def test_columns_come_and_go(panel: TablePanel, screen_state: BrowserState, shown: Any) -> None:
    panel.show_columns(("Metadata_Well",))
    shown(panel)
    screen_state.add_column("Metadata_Cluster", np.arange(12))
    shown(panel)
    assert panel.model.columns == ("Metadata_Well", "Metadata_Cluster")
    screen_state.drop_column("Metadata_Cluster")
    shown(panel)
    assert panel.model.columns == ("Metadata_Well",)


def test_rows_are_copied_as_text(panel: TablePanel, screen_state: BrowserState, shown: Any) -> None:
    panel.show_columns(("Metadata_Plate", "Metadata_Well"))
    screen_state.select([1, 2])
    shown(panel)
    panel.copy_button.click()
    lines = QGuiApplication.clipboard().text().splitlines()
    frame = screen_state.metadata.iloc[[1, 2]]
    expected = [f"{plate}\t{well}" for plate, well in zip(frame["Metadata_Plate"], frame["Metadata_Well"], strict=True)]
    assert lines == ["Plate\tWell", *expected]


def test_a_million_rows_scroll(qtbot: QtBot) -> None:
    count = 1_000_000
    values = {"a": pd.Series(np.arange(count)), "b": pd.Series(np.random.default_rng(0).random(count))}
    model = TableModel(values.__getitem__, lambda row: "#4e8fd9")
    view = TableView(model)
    qtbot.addWidget(view)
    view.resize(600, 700)
    view.show()
    qtbot.waitUntil(view.isVisible)
    model.selected = np.arange(count) % 2 == 0
    start = time.thread_time()
    model.show(np.arange(count)[::-1], ("a", "b"), ("", False))
    view.fit_columns()
    opened = time.thread_time() - start
    canvas = QImage(view.viewport().size(), QImage.Format.Format_RGB32)
    times = []
    for value in np.linspace(0, view.verticalScrollBar().maximum(), 20).astype(int):
        start = time.thread_time()
        view.verticalScrollBar().setValue(int(value))
        view.viewport().render(canvas)
        times.append(time.thread_time() - start)
    print(f"\na million rows: {1000 * opened:.0f} ms to show, {1000 * np.median(times):.1f} ms a frame")
    assert opened < 2.0 and np.median(times) < 0.1
