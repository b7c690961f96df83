"""A table of a million rows: values are looked up when painted, and what is selected is a mask, not a list of cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractTableModel, QEvent, QModelIndex, QPersistentModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QBrush, QColor, QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from .columns import title_of
from .gallery_order import text_of
from .gallery_view import how_of

if TYPE_CHECKING:
    _Index: TypeAlias = QModelIndex | QPersistentModelIndex

SELECTED = QColor(74, 163, 255, 80)
CURRENT = QColor(255, 212, 121, 70)


class TableModel(QAbstractTableModel):
    """Some rows of a table, in an order, by some of its columns."""

    def __init__(self, values: Callable[[str], Any], colour: Callable[[int], str]) -> None:
        """``values`` gives a column as it is; ``colour`` a row's colour on the map."""
        super().__init__()
        self._values, self._colour = values, colour
        self.rows: NDArray[np.int64] = np.empty(0, np.int64)
        self.columns: tuple[str, ...] = ()
        self.selected: NDArray[np.bool_] = np.empty(0, bool)
        self.tinted = True  # not where all rows on show are selected
        self.current = -1
        self._sort = ("", False)
        self._held: dict[str, Any] = {}  # columns as arrays: a data frame takes longer to find one than to read a cell

    def show(self, rows: NDArray[np.int64], columns: tuple[str, ...], sort: tuple[str, bool]) -> None:
        """Show other rows or columns."""
        same = columns == self.columns and len(rows) == len(self.rows) and len(rows) > 0
        if not same:
            self.beginResetModel()
        self.rows, self.columns, self._sort = rows, columns, sort
        self._held.clear()
        if same:
            self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(columns) - 1))
        else:
            self.endResetModel()

    def cell(self, row: int, column: int) -> str:
        """A cell's text; ``row`` counts what is shown."""
        return text_of(self._column(column)[int(self.rows[row])])

    def _column(self, column: int) -> Any:
        name = self.columns[column]
        if name not in self._held:
            values = self._values(name)
            self._held[name] = getattr(values, "array", values)
        return self._held[name]

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        """How many rows are shown."""
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        """How many columns are shown."""
        return 0 if parent.isValid() else len(self.columns)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """A cell's text, and its background when its row is selected or current."""
        if role == Qt.ItemDataRole.DisplayRole or role == Qt.ItemDataRole.ToolTipRole:
            return self.cell(index.row(), index.column())
        row = int(self.rows[index.row()])
        if role == Qt.ItemDataRole.BackgroundRole:
            if row == self.current:
                return QBrush(CURRENT)
            if self.tinted and row < len(self.selected) and self.selected[row]:
                return QBrush(SELECTED)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            values = self._column(index.column())
            number = getattr(values, "dtype", None) is not None and values.dtype.kind in "fiu"
            side = Qt.AlignmentFlag.AlignRight if number else Qt.AlignmentFlag.AlignLeft
            return side | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Titles with an arrow on the sorted one; a spot in the map's colour and the row's number."""
        if orientation == Qt.Orientation.Horizontal and section < len(self.columns):
            name = self.columns[section]
            if role == Qt.ItemDataRole.DisplayRole:
                arrow = "  ▾" if self._sort[1] else "  ▴"
                return title_of(name) + (arrow if self._sort[0] == name else "")
            if role == Qt.ItemDataRole.ToolTipRole:
                return f"{name}: click to sort"
        if orientation == Qt.Orientation.Vertical and section < len(self.rows):
            if role == Qt.ItemDataRole.DisplayRole:
                return "●"
            if role == Qt.ItemDataRole.ForegroundRole:
                return QBrush(QColor(self._colour(int(self.rows[section]))))
            if role == Qt.ItemDataRole.ToolTipRole:
                return f"row {int(self.rows[section]) + 1:,} of the table"
        return None


class TableView(QTableView):
    """Shows a `TableModel`.

    Signals
    -------
    clicked_row, activated_row
        A row of the table: a click or an arrow key, a double click or Enter.
    picked
        (rows, how) as the gallery's.
    hovered
        The row under the pointer, -1 for none.
    """

    clicked_row = Signal(int)
    activated_row = Signal(int)
    picked = Signal(object, str)
    hovered = Signal(int)

    def __init__(self, model: TableModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table = model
        self.setModel(model)
        # A selection of Qt's would be a list of ranges: of half a million, when every second row is selected.
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setAccessibleName("Table of rows")
        across, down = self.horizontalHeader(), self.verticalHeader()
        across.setSectionsClickable(True)
        across.setHighlightSections(False)
        across.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        down.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        down.setDefaultSectionSize(self.fontMetrics().height() + 6)
        down.setMinimumWidth(22)
        down.setHighlightSections(False)
        down.setSectionsClickable(False)
        down.setDefaultAlignment(Qt.AlignmentFlag.AlignCenter)
        down.setStyleSheet("QHeaderView::section { border: none; padding: 0; background: transparent; }")
        self._anchor = -1
        self._pressed = -1
        self._under = -1

    def sizeHint(self) -> QSize:
        """Some columns, some rows."""
        return QSize(420, 220)

    def lay_out(self) -> None:
        """Lay out now what the model has changed; Qt would after the next frame."""
        for view in (self.horizontalHeader(), self.verticalHeader(), self):
            view.doItemsLayout()
            view.viewport().update()

    def fit_columns(self) -> None:
        """Widths after the first rows' values, within reason."""
        metrics = self.fontMetrics()
        for column in range(self._table.columnCount()):
            title = str(self._table.headerData(column, Qt.Orientation.Horizontal))
            words = [title + "  ▾", *(self._table.cell(row, column) for row in range(min(40, len(self._table.rows))))]
            width = max(metrics.horizontalAdvance(word) for word in words) + 18
            self.setColumnWidth(column, int(np.clip(width, 46, 240)))

    def show_row(self, row: int) -> None:
        """Mark the current row, and bring it into sight if it is here."""
        self._table.current = row
        found = np.flatnonzero(self._table.rows == row)
        if found.size:
            self.scrollTo(self._table.index(int(found[0]), 0))
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a click or a run of rows."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._pressed = self.rowAt(event.position().toPoint().y())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell what is under the pointer."""
        at = self.rowAt(event.position().toPoint().y())
        row = int(self._table.rows[at]) if at >= 0 else -1
        if row != self._under:
            self._under = row
            self.hovered.emit(row)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """A click; with Ctrl a toggle, with Shift a run; a drag over rows picks them."""
        at = self.rowAt(event.position().toPoint().y())
        pressed, self._pressed = self._pressed, -1
        if event.button() != Qt.MouseButton.LeftButton or pressed < 0:
            return
        at = at if at >= 0 else len(self._table.rows) - 1
        keys, rows = event.modifiers(), self._table.rows
        if at != pressed:
            low, high = sorted((pressed, at))
            self.picked.emit(rows[low : high + 1], how_of(keys))
        elif keys & Qt.KeyboardModifier.ShiftModifier and self._anchor >= 0:
            low, high = sorted((min(self._anchor, len(rows) - 1), at))
            self.picked.emit(rows[low : high + 1], "add")
        elif keys & Qt.KeyboardModifier.ControlModifier:
            row = int(rows[at])
            marked = row < len(self._table.selected) and bool(self._table.selected[row])
            self._anchor = at
            self.picked.emit(rows[at : at + 1], "remove" if marked else "add")
        else:
            self._anchor = at
            self.clicked_row.emit(int(rows[at]))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """A row is wanted."""
        at = self.rowAt(event.position().toPoint().y())
        if at >= 0:
            self.activated_row.emit(int(self._table.rows[at]))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer."""
        if self._under != -1:
            self._under = -1
            self.hovered.emit(-1)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows move the current row; Enter shows it; Ctrl+A picks all, Escape none."""
        rows = self._table.rows
        page = max(1, self.viewport().height() // max(1, self.verticalHeader().defaultSectionSize()) - 1)
        steps = {
            Qt.Key.Key_Up: -1,
            Qt.Key.Key_Down: 1,
            Qt.Key.Key_PageUp: -page,
            Qt.Key.Key_PageDown: page,
            Qt.Key.Key_Home: -len(rows),
            Qt.Key.Key_End: len(rows),
        }
        key = Qt.Key(event.key())
        if key in steps and len(rows):
            found = np.flatnonzero(rows == self._table.current)
            at = int(np.clip(found[0] + steps[key], 0, len(rows) - 1)) if found.size else 0
            self._anchor = at
            self.show_row(int(rows[at]))
            self.clicked_row.emit(int(rows[at]))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._table.current >= 0:
            self.activated_row.emit(self._table.current)
        elif key == Qt.Key.Key_Escape:
            self.picked.emit(np.empty(0, np.int64), "replace")
        elif key == Qt.Key.Key_A and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.picked.emit(rows, "replace")
        else:
            super().keyPressEvent(event)
