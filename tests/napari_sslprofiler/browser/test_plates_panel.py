"""Plates in a real window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QToolTip

from napari_sslprofiler.browser.colouring import colour_column, colour_plain
from napari_sslprofiler.browser.columns import read_column
from napari_sslprofiler.browser.palette import hex_of
from napari_sslprofiler.browser.plates_panel import CONTROLS, PlatesPanel
from napari_sslprofiler.browser.plates_panel_key import ColourKey
from napari_sslprofiler.browser.state import BrowserState

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window


def centre(panel: PlatesPanel, well: str) -> QPoint:
    assert panel.grid is not None
    row, column = divmod(panel.grid.place_of(well), panel.grid.shape[1])
    return panel.map.well_rect(row + 1, column + 1).center().toPoint()


@pytest.fixture
def panel(screen_state: BrowserState, viewer: Viewer, shown: Any) -> PlatesPanel:
    made = PlatesPanel(screen_state, viewer)
    shown(made)
    made.resize(700, 420)
    shown(made)
    return made


def wells_of(state: BrowserState, plate: str) -> list[str]:
    frame = state.metadata
    return frame.loc[frame["Metadata_Plate"] == plate, "Metadata_Well"].tolist()


def test_wells_have_the_maps_colours(panel: PlatesPanel, screen_state: BrowserState, shown: Any, qtbot: QtBot) -> None:
    assert panel.grid is not None and panel.plate_box.count() == 2
    first = panel.grid.plates[0]
    frame = screen_state.metadata
    for column in ("Metadata_Compound", "Metadata_Well"):
        screen_state.colour_by(column)
        shown(panel)
        for row in np.flatnonzero(frame["Metadata_Plate"] == first):
            colour = panel.map._colours[frame["Metadata_Well"].iloc[row]].name()
            assert colour == hex_of(screen_state.colouring.palette[screen_state.colouring.codes[row]])
    well = frame["Metadata_Well"].iloc[0]
    place = centre(panel, well)
    QApplication.sendEvent(panel.map, QHelpEvent(QEvent.Type.ToolTip, place, panel.map.mapToGlobal(place)))
    assert QToolTip.text().splitlines()[:2] == [well, f"Compound {frame['Metadata_Compound'].iloc[0]}"]
    nowhere = centre(panel, "P24")
    QApplication.sendEvent(panel.map, QHelpEvent(QEvent.Type.ToolTip, nowhere, panel.map.mapToGlobal(nowhere)))
    qtbot.waitUntil(lambda: not QToolTip.isVisible())
    screen_state.isolate([0])
    shown(panel)
    assert set(panel.map._colours) == {well}


def test_a_click_is_current_and_compared_across_plates(panel: PlatesPanel, screen_state: BrowserState) -> None:
    assert panel.grid is not None
    well = wells_of(screen_state, panel.grid.plates[0])[2]
    QTest.mouseClick(panel.map, Qt.MouseButton.LeftButton, pos=centre(panel, well))
    assert screen_state.current is not None
    assert screen_state.metadata["Metadata_Well"].iloc[screen_state.current] == well
    assert panel.strip.place == panel.grid.place_of(well)
    # On the strip, the second plate's well becomes the current one, and its plate the large one.
    box = panel.strip._well_box(panel.strip._wells_box(1), panel.grid.place_of(well))
    QTest.mouseClick(panel.strip.viewport(), Qt.MouseButton.LeftButton, pos=box.center())
    assert panel.plate == 1
    current = screen_state.metadata.iloc[screen_state.current]
    assert (current["Metadata_Plate"], current["Metadata_Well"]) == (panel.grid.plates[1], well)


def drag_all(panel: PlatesPanel, keys: Any = Qt.KeyboardModifier.NoModifier) -> None:
    start, end = QPoint(3, 3), QPoint(panel.map.width() - 3, panel.map.height() - 3)
    QTest.mousePress(panel.map, Qt.MouseButton.LeftButton, keys, start)
    QTest.mouseMove(panel.map, (start + end) / 2)
    QTest.mouseMove(panel.map, end)
    QTest.mouseRelease(panel.map, Qt.MouseButton.LeftButton, keys, end)


def test_a_drag_selects_and_the_selection_comes_back(
    panel: PlatesPanel, screen_state: BrowserState, shown: Any
) -> None:
    assert panel.grid is not None
    drag_all(panel)
    plates = screen_state.metadata["Metadata_Plate"].to_numpy()
    assert screen_state.selection.tolist() == (plates == panel.grid.plates[0]).tolist()
    screen_state.select([0, 1])
    frame = screen_state.metadata
    own = frame.iloc[[0, 1]]
    here = own.loc[own["Metadata_Plate"] == panel.grid.plates[0], "Metadata_Well"]
    assert panel.map.selected == frozenset(here)
    assert screen_state.selected_rows().tolist() == [0, 1]  # showing it changes nothing
    panel.everywhere.setChecked(True)
    drag_all(panel)
    assert screen_state.selection.all()
    panel.plate_box.setCurrentIndex(1)
    shown(panel)
    assert screen_state.selection.all()
    assert panel.map.selected == frozenset(wells_of(screen_state, panel.grid.plates[1]))


def test_distance_to_the_controls(panel: PlatesPanel, screen_state: BrowserState, shown: Any) -> None:
    table = screen_state.table
    assert table is not None and not table.features.loaded
    panel.controls_button.click()
    shown(panel)
    assert screen_state.colouring.column == CONTROLS
    values = np.asarray(screen_state.values(CONTROLS))
    unit = table.features() / np.linalg.norm(table.features(), axis=1, keepdims=True)
    frame = table.metadata
    for plate in frame["Metadata_Plate"].unique():
        own = (frame["Metadata_Plate"] == plate).to_numpy()
        controls = own & (frame["Metadata_Compound"] == "DMSO").to_numpy()
        mean = unit[controls].mean(0)
        np.testing.assert_allclose(values[own], 1 - unit[own] @ mean / np.linalg.norm(mean), atol=1e-5)


def test_the_key_says_what_numbers_mean(qtbot: QtBot) -> None:
    key = ColourKey()
    qtbot.addWidget(key)
    key.show_colouring(colour_column(read_column(CONTROLS, np.arange(40) / 20)))
    assert key.words() == "Distance to the plate's controls, cosine distance: 0.00975 to 1.94"
    key.show_colouring(colour_column(read_column("Metadata_Compound", ["a", "b"])))
    assert key.words() == "Compound"
    key.show_colouring(colour_plain(3))
    assert key.words() == ""


def test_tables_without_wells_say_so(blank_state: Callable[..., BrowserState], viewer: Viewer, shown: Any) -> None:
    state = blank_state(pd.DataFrame({"Metadata_Plate": ["P", "P"], "Metadata_Well": [None, None]}))
    panel = PlatesPanel(state, viewer)
    shown(panel)
    assert "no column of wells" in panel.note.text()
    other = blank_state(pd.DataFrame({"Metadata_Plate": ["P"] * 4, "Metadata_Well": ["A01", "A01", "x", None]}))
    state.table = other.table
    shown(panel)
    assert panel.grid is not None and panel.grid.lost == 2 and list(panel.map._colours) == ["A01"]
