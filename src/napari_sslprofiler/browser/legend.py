"""The map's legend: a line a category, which hides and shows it; or the ramp of numbers."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QModelIndex, QPoint, QPointF, QRect, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_sslprofiler import style

from .colour_bar import ColourBar
from .colouring import Colouring, LegendEntry
from .columns import natural_key, title_of
from .palette import MATCH
from .state import BrowserState

_ENTRY = Qt.ItemDataRole.UserRole
_FOUND = 30  # categories that a search lists


class _Lines(QStyledItemDelegate):
    """Paints a line: a dot, the category, how many rows it has."""

    text = QColor("white")

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        entry: LegendEntry = index.data(_ENTRY)
        text = self.text
        faint = QColor(text)
        faint.setAlpha(130)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area: QRect = option.rect
        middle = QPointF(area.left() + 10, area.center().y() + 0.5)
        colour = QColor(entry.colour)
        painter.setPen(QPen(faint if entry.hidden else colour, 1.5))
        painter.setBrush(Qt.BrushStyle.NoBrush if entry.hidden else colour)
        painter.drawEllipse(middle, 4.5, 4.5)
        count = f"{entry.count:,}"
        metrics = painter.fontMetrics()
        room = metrics.horizontalAdvance(count) + 6
        painter.setPen(faint)
        painter.drawText(area.adjusted(0, 0, -4, 0), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, count)
        painter.setPen(faint if entry.hidden else text)
        words = area.adjusted(22, 0, -room - 4, 0)
        name = metrics.elidedText(entry.text, Qt.TextElideMode.ElideRight, words.width())
        painter.drawText(words, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, name)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(100, option.fontMetrics.height() + 5)


class _List(QListWidget):
    """A list that looks up its theme's colour once, not for each line."""

    def paintEvent(self, event: QPaintEvent) -> None:
        delegate = self.itemDelegate()
        if isinstance(delegate, _Lines):
            delegate.text = style.text(self)
        super().paintEvent(event)


class Legend(QWidget):
    """Legend of a browser's state. A click on a line hides or shows it, Ctrl shows it alone, a right click selects."""

    def __init__(self, state: BrowserState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.title = style.heading("")
        self.title.setWordWrap(True)
        self.lines = _List()
        self.lines.setItemDelegate(_Lines(self.lines))
        self.lines.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.lines.setUniformItemSizes(True)
        self.lines.setFrameShape(QListWidget.Shape.NoFrame)
        self.lines.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.lines.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.lines.setToolTip("Click: hide or show.  Ctrl+click: show alone.  Right click: select")
        self.lines.setAccessibleName("Legend")
        self.lines.setStyleSheet("QListWidget { background: transparent; border: none; }")
        self.bar = ColourBar()
        self.switch = QToolButton()
        self.switch.setAutoRaise(True)
        self.switch.setToolTip("These are few numbers: show them as categories, or as numbers on a scale")
        self.switch.clicked.connect(self._turn)
        self.filtered = QLabel()
        self.filtered.setWordWrap(True)
        self.show_all = QPushButton("Show all")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 4, 6)
        layout.setSpacing(4)
        layout.addWidget(self.title)
        layout.addWidget(self.switch, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.bar)
        layout.addWidget(self.lines, 1)
        layout.addWidget(self.filtered)
        layout.addWidget(self.show_all)
        self.setMinimumWidth(130)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.lines.itemClicked.connect(self._clicked)
        self.lines.customContextMenuRequested.connect(self._menu)
        self.bar.limited.connect(self._limit)
        self.show_all.clicked.connect(state.show_all)
        state.events.colouring.connect(self._refresh)
        state.events.filter.connect(self._tell_filter)
        state.events.matches.connect(self._refresh)
        state.events.table.connect(self._refresh)
        self._refresh()

    def entries(self) -> list[LegendEntry]:
        """The lines as shown."""
        return [self.lines.item(i).data(_ENTRY) for i in range(self.lines.count())]

    def _refresh(self, *_: object) -> None:
        colouring = self._state.colouring
        title = title_of(colouring.column) or ("Search" if colouring.kind == "search" else "")
        self.title.setText(f"<b>{title}</b>")
        self.title.setVisible(bool(title))
        numeric = colouring.kind == "numeric"
        self.switch.setVisible(bool(colouring.column) and self._state.column(colouring.column).either)
        self.switch.setText("show as categories" if numeric else "show as numbers")
        self.bar.setVisible(numeric)
        if numeric:
            values = self._state.column(colouring.column).values
            assert values is not None
            limits = self._state.ranges.get(colouring.column)
            self.bar.set_values(values, colouring.low, colouring.high, limits)
        self.lines.clear()
        for entry in (*colouring.entries, *self._found(colouring)):
            item = QListWidgetItem()
            item.setData(_ENTRY, entry)
            item.setToolTip(f"{entry.text}: {entry.count:,}")
            self.lines.addItem(item)
        self._tell_filter()
        # Laid out here, it is painted with the map; Qt would lay it out afterwards, in a frame of its own.
        self.layout().activate()
        self.lines.doItemsLayout()

    def _found(self, colouring: Colouring) -> list[LegendEntry]:
        """Categories that a search finds among those that have no colour of their own."""
        others = [entry for entry in colouring.entries if len(entry.names) > 1]
        if not self._state.search or not others:
            return []
        wanted = self._state.search.casefold()
        column = self._state.column(colouring.column)
        counts = dict(zip(column.names, column.counts, strict=True))
        names = sorted((n for n in others[0].names if n and wanted in n.casefold()), key=natural_key)[:_FOUND]
        hidden = self._state.hidden.get(colouring.column, frozenset())
        return [LegendEntry(name, (name,), -1, MATCH, int(counts[name]), name in hidden) for name in names]

    def _tell_filter(self, *_: object) -> None:
        words = self._state.filter_words()
        self.filtered.setText("\n".join(words))
        self.filtered.setVisible(bool(words))
        self.show_all.setVisible(bool(words))

    def _turn(self) -> None:
        colouring = self._state.colouring
        self._state.read_as(colouring.column, "categorical" if colouring.kind == "numeric" else "numeric")

    def _limit(self, limits: tuple[float, float] | None) -> None:
        self._state.set_range(self._state.colouring.column, limits)

    def _clicked(self, item: QListWidgetItem) -> None:
        entry: LegendEntry = item.data(_ENTRY)
        if not entry.names:
            return
        if QApplication.keyboardModifiers() & Qt.KeyboardModifier.ControlModifier:
            self._state.only_entry(entry)
        else:
            self._state.toggle_entry(entry)

    def _menu(self, place: QPoint) -> None:
        item = self.lines.itemAt(place)
        if item is None:
            return
        self.menu_of(item.data(_ENTRY)).exec(self.lines.mapToGlobal(place))

    def menu_of(self, entry: LegendEntry) -> QMenu:
        """What can be done with a line."""
        menu = QMenu(self)
        menu.addAction(f"Select {entry.count:,} rows", partial(self._select, entry, False))
        menu.addAction("Add to the selection", partial(self._select, entry, True))
        if entry.names:
            menu.addSeparator()
            menu.addAction("Show" if entry.hidden else "Hide", partial(self._state.toggle_entry, entry))
            menu.addAction("Show alone, or all", partial(self._state.only_entry, entry))
        return menu

    def _select(self, entry: LegendEntry, add: bool) -> None:
        colouring = self._state.colouring
        if entry.code >= 0:
            rows = colouring.codes == entry.code
        else:
            column = self._state.column(colouring.column)
            rows = column.codes == column.names.index(str(entry.names[0]))
        self._state.select(rows, "add" if add else "replace")
