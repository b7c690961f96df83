"""The plate map's clicks, rectangles and keys."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QApplication, QToolTip

from napari_sslprofiler.plates.plate_map import PlateMap, plate_format

WELLS = {"A01": "#ff0000", "A02": "#00ff00", "C05": "#0000ff", "H12": "#ffff00"}

pytestmark = pytest.mark.window


@pytest.fixture
def plate_map(qtbot: QtBot) -> PlateMap:
    made = PlateMap()
    qtbot.addWidget(made)
    made.set_wells(WELLS, lambda well: f"this is {well}")
    made.resize(400, made.heightForWidth(400))
    made.show()
    return made


def _centre(plate_map: PlateMap, row: int, column: int) -> QPoint:
    return plate_map.well_rect(row, column).center().toPoint()


def test_the_smallest_standard_plate_is_chosen() -> None:
    assert plate_format(frozenset(WELLS)) == (8, 12)
    assert plate_format(frozenset({"P24"})) == (16, 24)
    assert plate_format(frozenset({"AF48"})) == (32, 48)
    assert plate_format(frozenset()) == (8, 12)


def test_a_click_tells_the_well_and_an_empty_place_nothing(plate_map: PlateMap, qtbot: QtBot) -> None:
    clicked: list[str] = []
    plate_map.clicked.connect(clicked.append)
    qtbot.mouseClick(plate_map, Qt.MouseButton.LeftButton, pos=_centre(plate_map, 3, 5))
    qtbot.mouseClick(plate_map, Qt.MouseButton.LeftButton, pos=_centre(plate_map, 4, 5))
    assert clicked == ["C05"] and plate_map.current == "C05"


def test_a_wells_words_are_asked_for_when_the_pointer_rests_on_it(plate_map: PlateMap, qtbot: QtBot) -> None:
    def rest_on(place: QPoint) -> None:
        QApplication.sendEvent(plate_map, QHelpEvent(QEvent.Type.ToolTip, place, plate_map.mapToGlobal(place)))

    rest_on(_centre(plate_map, 1, 2))
    assert QToolTip.text() == "this is A02"
    rest_on(QPoint(1, 1))  # beside the wells
    qtbot.waitUntil(lambda: not QToolTip.isVisible())


def test_rectangles_select_add_and_remove(plate_map: PlateMap, qtbot: QtBot) -> None:
    heard: list[frozenset[str]] = []
    plate_map.selection_changed.connect(heard.append)

    def drag(start: tuple[int, int], end: tuple[int, int], keys: Qt.KeyboardModifier) -> None:
        qtbot.mousePress(plate_map, Qt.MouseButton.LeftButton, keys, _centre(plate_map, *start))
        qtbot.mouseMove(plate_map, _centre(plate_map, *end))
        qtbot.mouseRelease(plate_map, Qt.MouseButton.LeftButton, keys, _centre(plate_map, *end))

    drag((1, 1), (1, 3), Qt.KeyboardModifier.NoModifier)
    assert plate_map.selected == {"A01", "A02"}
    drag((3, 4), (3, 6), Qt.KeyboardModifier.ControlModifier)
    assert plate_map.selected == {"A01", "A02", "C05"}
    drag((1, 2), (2, 3), Qt.KeyboardModifier.ShiftModifier)
    assert plate_map.selected == {"A01", "C05"}
    assert len(heard) == 3
    plate_map.set_wells({"A01": "#ffffff"})
    assert plate_map.selected == {"A01"}


def test_arrow_keys_go_to_the_next_well_that_is_there(plate_map: PlateMap, qtbot: QtBot) -> None:
    clicked: list[str] = []
    plate_map.clicked.connect(clicked.append)
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Left):
        qtbot.keyClick(plate_map, key)
    assert clicked == ["A01", "A02", "C05", "A02"]  # the nearest in that direction


def test_it_draws_its_wells_in_their_colours(plate_map: PlateMap) -> None:
    image = plate_map.grab().toImage()
    found = image.pixelColor(_centre(plate_map, 1, 2))
    assert (found.red(), found.green(), found.blue()) == (0, 255, 0)
