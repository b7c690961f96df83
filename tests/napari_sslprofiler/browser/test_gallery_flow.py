"""Bars that begin another line where there is no room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QLabel, QLineEdit, QPushButton, QSizePolicy

from napari_sslprofiler.browser.gallery_flow import FlowBar

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_lines_follow_the_width(qtbot: QtBot) -> None:
    widgets = [QPushButton("first"), QCheckBox("second"), QLabel("third"), QPushButton("fourth")]
    bar = FlowBar(*widgets)
    qtbot.addWidget(bar)
    bar.resize(900, 30)
    bar.show()
    assert len({w.geometry().center().y() for w in widgets}) <= 2  # one line, centred
    one = bar.heightForWidth(900)
    assert bar.heightForWidth(100) > 2 * one
    bar.resize(100, 300)
    qtbot.wait(20)
    for widget in widgets:
        assert widget.geometry().right() <= 100
    boxes = [w.geometry() for w in widgets]
    assert not any(a.intersects(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_hidden_ones_take_no_room_and_expanding_ones_what_is_left(qtbot: QtBot) -> None:
    search, button, gone = QLineEdit(), QPushButton("columns"), QPushButton("gone")
    search.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    bar = FlowBar(search, gone, button, gap=6)
    gone.hide()
    qtbot.addWidget(bar)
    bar.resize(600, 40)
    bar.show()
    qtbot.waitUntil(lambda: button.geometry().right() >= 595)
    assert search.width() == 600 - 6 - button.width()
    gone.show()
    qtbot.waitUntil(lambda: search.width() < 600 - 12 - button.width())
