"""Short lists of things to tick."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem


def items(box: QListWidget) -> list[QListWidgetItem]:
    """All of a list."""
    return [box.item(row) for row in range(box.count())]


def check_item(words: str, chosen: bool) -> QListWidgetItem:
    """One that can be ticked."""
    item = QListWidgetItem(words)
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)
    return item


def checked(item: QListWidgetItem) -> bool:
    """Whether it is."""
    return bool(item.checkState() == Qt.CheckState.Checked)


def fit(box: QListWidget, rows: int) -> None:
    """Give a list the height of its rows."""
    box.setFixedHeight(rows * max(16, box.sizeHintForRow(0)) + 2 * box.frameWidth() + 4)
