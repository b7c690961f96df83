"""A scrolling wall of thumbnails: only what is in sight is asked for and painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPoint, QRect, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QImage, QKeyEvent, QMouseEvent, QPaintEvent, QResizeEvent
from qtpy.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from .gallery_layout import GalleryLayout, Group
from .gallery_paint import ItemPainter, painting

SIZES = (48, 320)  # pixels of a thumbnail's side, smallest and largest


class Pictures(Protocol):
    """What the view asks for pictures: `ThumbnailStore`."""

    def image(self, row: int) -> QImage | None:
        """The picture, if it is here."""

    def want(self, who: str, rows: Sequence[int]) -> None:
        """Ask for rows."""


class GalleryView(QAbstractScrollArea):
    """Items are rows of the table, in the order given.

    Signals
    -------
    clicked, activated
        A row: a click, a double click or Enter.
    picked
        (rows, how): rows chosen with a rectangle, Shift or Ctrl; how is "replace", "add" or "remove".
    hovered
        The row under the pointer, -1 for none.
    """

    clicked = Signal(int)
    activated = Signal(int)
    picked = Signal(object, str)
    hovered = Signal(int)

    def __init__(
        self,
        pictures: Pictures,
        caption: Callable[[int], tuple[str, str]],
        reason: Callable[[int], tuple[str, str]],
        *,
        who: str = "gallery",
        parent: QWidget | None = None,
    ) -> None:
        """``caption`` gives a row's two lines; ``reason`` a few words, and a sentence, on why it has no picture."""
        super().__init__(parent)
        self._pictures, self._caption, self._reason, self._who = pictures, caption, reason, who
        self._rows: NDArray[np.int64] = np.empty(0, np.int64)
        self._groups: tuple[Group, ...] = ()
        self._side = self._drawn = 112  # as wished, and as drawn
        self._marked: frozenset[int] | NDArray[np.bool_] = frozenset()
        self._badge: Callable[[int], tuple[str, str] | None] = lambda row: None
        self.current = -1
        self.empty_words = "Nothing to show."
        self._press: QPoint | None = None
        self._band: QRect | None = None
        self._anchor = -1
        self._under = -1
        self._layout = GalleryLayout(0, 100, (112, 140))
        self._asking = QTimer(self)
        self._asking.setSingleShot(True)
        self._asking.setInterval(20)  # while the bar is dragged quickly, what flies by is not asked for
        self._asking.timeout.connect(self._ask)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.viewport().setMouseTracking(True)
        self.setAccessibleName("Gallery of thumbnails")
        self.verticalScrollBar().valueChanged.connect(lambda: self._asking.start())

    # --- What is shown ---------------------------------------------------------------------------------------------

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows on show, in order."""
        return self._rows

    def set_items(self, rows: NDArray[np.int64], groups: Sequence[Group] = (), *, keep_place: bool = False) -> None:
        """Show other rows; from the top, or from where it stands."""
        self._rows, self._groups = np.asarray(rows, np.int64), tuple(groups)
        self._anchor = self._under = -1
        self._relayout()
        if not keep_place:
            self.verticalScrollBar().setValue(0)
        self._ask()

    @property
    def side(self) -> int:
        """Pixels of a thumbnail's side."""
        return self._side

    @side.setter
    def side(self, side: int) -> None:
        middle = self._first_in_sight()
        self._side = int(np.clip(side, *SIZES))
        self._relayout()
        if middle is not None:
            self.verticalScrollBar().setValue(self._layout.box(middle).y - self._layout.gap)
        self._ask()

    def set_marked(self, rows: frozenset[int] | NDArray[np.bool_]) -> None:
        """Which rows are drawn as selected: a set, or a mask over the table."""
        self._marked = rows
        self.viewport().update()

    def set_badge(self, badge: Callable[[int], tuple[str, str] | None]) -> None:
        """A word and a colour over a row's picture, such as its distance."""
        self._badge = badge
        self.viewport().update()

    def show_row(self, row: int) -> None:
        """Make a row the current one, and bring it into sight if it is here."""
        self.current = row
        found = np.flatnonzero(self._rows == row)
        if found.size:
            box = self._layout.box(int(found[0]))
            bar, height = self.verticalScrollBar(), self.viewport().height()
            if not bar.value() <= box.y <= bar.value() + height - box.height:
                bar.setValue(box.y - (height - box.height) // 2)
        self.viewport().update()

    def in_sight(self) -> NDArray[np.int64]:
        """The rows in sight."""
        top = self.verticalScrollBar().value()
        items = self._layout.items_between(top, top + self.viewport().height())
        return self._rows[items.start : items.stop]

    def refresh(self) -> None:
        """Pictures have come, or are to be asked for again."""
        self.viewport().update()

    def ask(self) -> None:
        """Ask for what is in sight."""
        self._asking.start()

    def _is_marked(self, row: int) -> bool:
        if isinstance(self._marked, frozenset):
            return row in self._marked
        return bool(self._marked[row]) if row < len(self._marked) else False

    def _caption_height(self) -> int:
        if self._side < 72:
            return 0
        return 2 * self.fontMetrics().height() + 3 if self._side >= 88 else self.fontMetrics().height() + 2

    def _relayout(self) -> None:
        width, gap = self.viewport().width(), self._layout.gap
        columns = max(1, (width - gap) // (self._side + gap))
        # Pictures grow to fill the width, unless they are too few for one line.
        filled = (width - gap) // columns - gap
        self._drawn = filled if len(self._rows) >= columns > 1 else min(self._side, max(filled, 24))
        cell = (self._drawn, self._drawn + self._caption_height())
        heading = self.fontMetrics().height() + 12
        self._layout = GalleryLayout(len(self._rows), width, cell, gap=gap, groups=self._groups, heading=heading)
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, self._layout.height - self.viewport().height()))
        bar.setPageStep(self.viewport().height())
        bar.setSingleStep(max(20, self._layout.step_y // 3))
        self.viewport().update()

    def _first_in_sight(self) -> int | None:
        top = self.verticalScrollBar().value()
        items = self._layout.items_between(top + self._layout.gap, top + self.viewport().height())
        return items.start if len(items) else None

    def _ask(self) -> None:
        """What is in sight first, then a screen below, then half a screen above."""
        if not self.isVisible():
            return
        top, height = self.verticalScrollBar().value(), self.viewport().height()
        seen = self._layout.items_between(top, top + height)
        ahead = self._layout.items_between(top + height, top + 2 * height)
        behind = self._layout.items_between(max(0, top - height // 2), top)
        order = [*seen, *(i for i in ahead if i >= seen.stop), *(i for i in behind if i < seen.start)]
        self._pictures.want(self._who, [int(self._rows[i]) for i in order])

    # --- Qt --------------------------------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """Three thumbnails wide, two high."""
        return QSize(3 * (self._side + 8) + 24, 2 * (self._side + 40))

    def minimumSizeHint(self) -> QSize:
        """One thumbnail."""
        return QSize(120, 100)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Other columns; what was at the top stays there."""
        first = self._first_in_sight()
        self._relayout()
        if first is not None and self.verticalScrollBar().value():
            self.verticalScrollBar().setValue(self._layout.box(first).y - self._layout.gap)
        self._asking.start()

    def showEvent(self, event: QEvent) -> None:
        """What could not be seen was not asked for."""
        self._asking.start()

    def changeEvent(self, event: QEvent) -> None:
        """Another font moves everything."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._relayout()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what is in sight."""
        area, top = event.rect(), self.verticalScrollBar().value()
        with painting(self.viewport()) as painter:
            pen = ItemPainter(self, painter, self._drawn)
            if not len(self._rows):
                pen.words(self.viewport().rect(), self.empty_words)
                return
            for group, y in self._layout.headings_between(area.top() + top, area.bottom() + top):
                box = QRect(self._layout.gap, y - top, self.viewport().width() - 2 * self._layout.gap, 0)
                box.setHeight(self._layout.heading - 4)
                pen.heading(box, group)
            for item in self._layout.items_between(area.top() + top, area.bottom() + top):
                self._paint_item(pen, item, top)
            if self._band is not None:
                pen.band(self._band.translated(0, -top))

    def _paint_item(self, pen: ItemPainter, item: int, top: int) -> None:
        row, box = int(self._rows[item]), self._layout.box(item)
        picture = QRect(box.x, box.y - top, box.width, self._drawn)
        image = self._pictures.image(row)
        if image is not None:
            pen.picture(picture, image)
        else:
            pen.missing(picture, self._reason(row)[0])
        badge = self._badge(row)
        if badge is not None:
            pen.badge(picture, *badge)
        pen.frames(picture, marked=self._is_marked(row), current=row == self.current)
        below = QRect(box.x, picture.bottom() + 3, box.width, self._caption_height())
        if self._caption_height():
            pen.caption(below, *self._caption(row))

    # --- What the person does --------------------------------------------------------------------------------------

    def _item_at(self, point: QPoint) -> int | None:
        return self._layout.item_at(point.x(), point.y() + self.verticalScrollBar().value())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a click or a rectangle."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._press = event.position().toPoint() + QPoint(0, self.verticalScrollBar().value())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Grow the rectangle, or tell what is under the pointer."""
        point = event.position().toPoint()
        here = point + QPoint(0, self.verticalScrollBar().value())
        if self._press is not None and (self._band is not None or (here - self._press).manhattanLength() > 6):
            self._band = QRect(self._press, here).normalized()
            self._scroll_at_edge(point.y())
            self.viewport().update()
            return
        item = self._item_at(point)
        row = int(self._rows[item]) if item is not None else -1
        if row != self._under:
            self._under = row
            self.hovered.emit(row)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a click or a rectangle."""
        if self._press is None or event.button() != Qt.MouseButton.LeftButton:
            return
        pressed, self._press = self._press, None
        band, self._band = self._band, None
        keys = event.modifiers()
        if band is not None:
            items = self._layout.items_in(band.left(), band.top(), band.right(), band.bottom())
            self.picked.emit(self._rows[items], how_of(keys))
        else:
            self._click(self._layout.item_at(pressed.x(), pressed.y()), keys)
        self.viewport().update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """A row is wanted."""
        item = self._item_at(event.position().toPoint())
        if item is not None and event.button() == Qt.MouseButton.LeftButton:
            self.activated.emit(int(self._rows[item]))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer."""
        if self._under != -1:
            self._under = -1
            self.hovered.emit(-1)

    def viewportEvent(self, event: QEvent) -> bool:
        """Tell a row's whole caption, and why it has no picture."""
        if event.type() == QEvent.Type.ToolTip:
            item = self._item_at(event.pos())
            words = ""
            if item is not None:
                row = int(self._rows[item])
                words = "\n".join(w for w in (*self._caption(row), self._reason(row)[1]) if w)
            QToolTip.showText(event.globalPos(), words, self)
            return True
        return super().viewportEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows, Home and End move the current row; Enter shows it; Ctrl+A picks all, Escape none."""
        steps = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -self._layout.columns,
            Qt.Key.Key_Down: self._layout.columns,
            Qt.Key.Key_Home: -len(self._rows),
            Qt.Key.Key_End: len(self._rows),
        }
        key = Qt.Key(event.key())
        if key in steps and len(self._rows):
            found = np.flatnonzero(self._rows == self.current)
            at = int(np.clip(found[0] + steps[key], 0, len(self._rows) - 1)) if found.size else 0
            self.show_row(int(self._rows[at]))
            self._anchor = at
            self.clicked.emit(self.current)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.current >= 0:
            self.activated.emit(self.current)
        elif key == Qt.Key.Key_Escape:
            self.picked.emit(np.empty(0, np.int64), "replace")
        elif key == Qt.Key.Key_A and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.picked.emit(self._rows, "replace")
        else:
            super().keyPressEvent(event)

    def _click(self, item: int | None, keys: Qt.KeyboardModifier) -> None:
        if item is None:
            return
        row = int(self._rows[item])
        if keys & Qt.KeyboardModifier.ShiftModifier and self._anchor >= 0:
            low, high = sorted((self._anchor, item))
            self.picked.emit(self._rows[low : high + 1], "add")
            return
        self._anchor = item
        if keys & Qt.KeyboardModifier.ControlModifier:
            self.picked.emit(self._rows[item : item + 1], "remove" if self._is_marked(row) else "add")
            return
        self.current = row
        self.clicked.emit(row)

    def _scroll_at_edge(self, y: int) -> None:
        bar = self.verticalScrollBar()
        if y < 0:
            bar.setValue(bar.value() - bar.singleStep() // 2)
        elif y > self.viewport().height():
            bar.setValue(bar.value() + bar.singleStep() // 2)


def how_of(keys: Qt.KeyboardModifier) -> str:
    """What a rectangle does: with Ctrl it adds, with Shift it removes, otherwise it replaces."""
    if keys & Qt.KeyboardModifier.ControlModifier:
        return "add"
    return "remove" if keys & Qt.KeyboardModifier.ShiftModifier else "replace"
