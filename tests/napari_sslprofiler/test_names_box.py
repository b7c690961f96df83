"""The list of names: what is shown where there is no room."""

from __future__ import annotations

from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QHelpEvent

from napari_sslprofiler.names_box import NamesBox

NAMES = [f"2026-11-23 HepG2 replicate batch-0007 confocal plate {i:05d}" for i in range(3)]


def test_both_ends_of_a_long_name_are_shown_and_the_list_is_wide(qtbot: QtBot) -> None:
    box = NamesBox("Plate")
    qtbot.addWidget(box)
    box.addItems(NAMES)
    box.resize(170, box.sizeHint().height())
    box.show()
    box.setCurrentIndex(2)
    start, _, end = box.shown().partition("…")
    assert start and end and NAMES[2].startswith(start) and NAMES[2].endswith(end) and end.endswith("00002")
    assert not box.grab().isNull()
    box.resize(900, box.height())
    assert box.shown() == NAMES[2]
    box.resize(170, box.height())
    box.showPopup()
    widest = max(box.fontMetrics().horizontalAdvance(name) for name in NAMES)
    assert box.view().width() >= min(widest, box.screen().availableGeometry().width() * 2 // 3)
    box.hidePopup()


def test_the_tooltip_is_the_name_or_what_its_entry_says(qtbot: QtBot) -> None:
    box = NamesBox("Runs")
    qtbot.addWidget(box)
    box.addItems(NAMES)
    box.setItemData(1, "/screens/7/runs/b", Qt.ItemDataRole.ToolTipRole)
    box.blockSignals(True)  # as while it is filled
    for row, words in enumerate((NAMES[0], "/screens/7/runs/b")):
        box.setCurrentIndex(row)
        box.event(QHelpEvent(QEvent.Type.ToolTip, QPoint(1, 1), QPoint(1, 1)))
        assert box.toolTip() == words
