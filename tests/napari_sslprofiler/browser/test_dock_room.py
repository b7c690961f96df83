"""A dock gets the room that its widget asks for, once, and no more than the window has."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QDockWidget, QLabel, QMainWindow, QVBoxLayout, QWidget

from napari_sslprofiler.browser.dock_room import DockRoom, widen_dock

LEFT, RIGHT, BELOW = (
    Qt.DockWidgetArea.LeftDockWidgetArea,
    Qt.DockWidgetArea.RightDockWidgetArea,
    Qt.DockWidgetArea.BottomDockWidgetArea,
)


class Wide(QWidget):
    """Asks for more than it needs."""

    def sizeHint(self) -> QSize:
        return QSize(500, 300)


@pytest.fixture
def window(qtbot: QtBot) -> QMainWindow:
    window = QMainWindow()
    qtbot.addWidget(window)
    window.setCentralWidget(QLabel("canvas"))
    window.resize(1400, 600)
    window.show()
    return window


def dock(window: QMainWindow, area: Qt.DockWidgetArea, widget: QWidget, inside: bool = False) -> QDockWidget:
    """As napari docks it: in a widget of its own, now and then."""
    holder = QDockWidget("dock", window)
    outer = QWidget()
    QVBoxLayout(outer).addWidget(widget)
    holder.setWidget(outer if inside else widget)
    window.addDockWidget(area, holder)
    return holder


@pytest.mark.parametrize("area", [LEFT, RIGHT])
@pytest.mark.parametrize("inside", [True, False])
def test_a_tab_beside_a_narrow_one_is_widened_when_shown_and_then_left_alone(
    window: QMainWindow, qtbot: QtBot, area: Qt.DockWidgetArea, inside: bool
) -> None:
    narrow = dock(window, area, QLabel("narrow"))
    window.resizeDocks([narrow], [150], Qt.Orientation.Horizontal)
    widget = Wide()
    DockRoom(widget)
    holder = dock(window, area, widget, inside)
    window.tabifyDockWidget(narrow, holder)
    qtbot.wait(50)
    holder.raise_()
    qtbot.waitUntil(lambda: holder.width() >= 500)
    window.resizeDocks([holder], [200], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: holder.width() < 300)
    for shown in (narrow, holder):
        shown.raise_()
        qtbot.wait(50)
    assert holder.width() < 300


def test_the_canvas_keeps_the_larger_part_and_others_stay_as_they_are(window: QMainWindow, qtbot: QtBot) -> None:
    window.resize(800, 600)
    widget, below = Wide(), Wide()
    holder, under = dock(window, RIGHT, widget), dock(window, BELOW, below)
    window.resizeDocks([holder], [100], Qt.Orientation.Horizontal)
    qtbot.wait(50)
    before = under.width()
    widen_dock(widget)
    widen_dock(below)
    qtbot.waitUntil(lambda: abs(holder.width() - 336) < 3)
    assert under.width() == before
    window.resizeDocks([holder], [450], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: holder.width() > 400)
    wide = holder.width()
    widen_dock(widget)
    qtbot.wait(50)
    assert holder.width() == wide
    holder.setFloating(True)
    holder.resize(200, 200)
    widen_dock(widget)
    qtbot.wait(50)
    assert holder.width() == 200
    widen_dock(QWidget())
