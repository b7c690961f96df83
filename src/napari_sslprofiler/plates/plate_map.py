"""A plate drawn as rows x columns of wells: click, drag a rectangle, or move with the arrow keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qtpy.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_sslprofiler import style
from sslprofiler_core.plates import well_name, well_position

# Rows and columns of the standard plates (ANSI/SLAS 4): 6 to 1536 wells.
_FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))
_ARROWS = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}


def plate_format(wells: Mapping[str, object] | frozenset[str]) -> tuple[int, int]:
    """Rows and columns of the smallest standard plate that has some wells; 96 for none."""
    places = [place for well in wells if (place := well_position(well))]
    rows = max((row for row, _ in places), default=8)
    columns = max((column for _, column in places), default=12)
    fitting = (shape for shape in _FORMATS if shape[0] >= rows and shape[1] >= columns)
    return next(fitting, _FORMATS[-1])


class PlateMap(QWidget):
    """Wells as squares in their colours.

    Signals
    -------
    clicked
        A well's name: a click without dragging, Enter or Space.
    activated
        A well's name: a double click.
    selection_changed
        frozenset of names. A drag selects a rectangle; with Ctrl it adds, with Shift it removes.
    hovered
        The name under the pointer, "" outside the wells.
    """

    clicked = Signal(str)
    activated = Signal(str)
    selection_changed = Signal(object)
    hovered = Signal(str)

    def __init__(self, parent: QWidget | None = None, *, labels: bool = True, selecting: bool = True) -> None:
        """``labels`` draws row letters and column numbers; ``selecting`` allows rectangles."""
        super().__init__(parent)
        self._labels, self._selecting = labels, selecting
        self._shape = (8, 12)
        self._colours: dict[str, QColor] = {}
        self._words_of: Callable[[str], str] = str
        self._marks: frozenset[str] = frozenset()
        self._selected: frozenset[str] = frozenset()
        self._current = ""
        self._hover = ""
        self._press: QPoint | None = None
        self._drag: QRect | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName("Plate map")

    # --- What is shown ---------------------------------------------------------------------------------------------

    def set_wells(
        self,
        colours: Mapping[str, QColor | str],
        words_of: Callable[[str], str] = str,
        shape: tuple[int, int] | None = None,
        marks: frozenset[str] | set[str] = frozenset(),
    ) -> None:
        """Show wells: name -> colour; the plate's other positions stay empty.

        ``words_of`` makes a well's tooltip when the pointer rests on it (by default its name); ``shape`` is rows and
        columns (by default the smallest standard plate that has them); ``marks`` are wells drawn with a corner, such as
        those with gaps. Selected wells that are no longer there are no longer selected.
        """
        self._colours = {name: QColor(colour) for name, colour in colours.items()}
        self._words_of = words_of
        self._shape = shape or plate_format(self._colours)
        self._marks = frozenset(marks)
        self.selected = self._selected & self._colours.keys()
        if self._current not in self._colours:
            self._current = ""
        self.updateGeometry()
        self.update()

    @property
    def selected(self) -> frozenset[str]:
        """The selected wells; assigning others tells."""
        return self._selected

    @selected.setter
    def selected(self, wells: frozenset[str] | set[str]) -> None:
        wells = frozenset(wells) & self._colours.keys()
        if wells != self._selected:
            self._selected = wells
            self.update()
            self.selection_changed.emit(wells)

    @property
    def current(self) -> str:
        """The well on show, drawn with a frame; "" for none. Assigning tells nobody."""
        return self._current

    @current.setter
    def current(self, well: str) -> None:
        self._current = well if well in self._colours else ""
        self.update()

    # --- Where it is -----------------------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """Wells of a comfortable size."""
        columns = self._shape[1]
        return QSize(24 + 14 * columns, self.heightForWidth(24 + 14 * columns))

    def minimumSizeHint(self) -> QSize:
        """Wells that can still be told apart."""
        rows, columns = self._shape
        return QSize(20 + 5 * columns, 16 + 5 * rows)

    def hasHeightForWidth(self) -> bool:
        """Wells are square."""
        return True

    def heightForWidth(self, width: int) -> int:
        """The height of square wells at a width."""
        rows, columns = self._shape
        left, top = self._offsets()
        return round((width - left - 2) / columns * rows + top + 2)

    def _offsets(self) -> tuple[int, int]:
        return (22, 16) if self._labels else (1, 1)

    def _pitch(self) -> float:
        rows, columns = self._shape
        left, top = self._offsets()
        return max(2.0, min((self.width() - left - 2) / columns, (self.height() - top - 2) / rows))

    def well_rect(self, row: int, column: int) -> QRectF:
        """The square of a well, rows and columns counted from 1."""
        left, top = self._offsets()
        pitch = self._pitch()
        gap = 1.0 if pitch > 6 else 0.5
        return QRectF(left + (column - 1) * pitch, top + (row - 1) * pitch, pitch - gap, pitch - gap)

    def _well_at(self, point: QPointF | QPoint) -> str:
        left, top = self._offsets()
        pitch = self._pitch()
        row, column = int((point.y() - top) // pitch) + 1, int((point.x() - left) // pitch) + 1
        inside = 1 <= row <= self._shape[0] and 1 <= column <= self._shape[1]
        return well_name(row, column) if inside else ""

    # --- Drawing ---------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        front, faint = style.text(self), style.faint(self)
        if self._labels:
            self._paint_labels(painter, front)
        painter.setPen(Qt.PenStyle.NoPen)
        empty = QColor(faint)
        empty.setAlpha(70)
        for row in range(1, self._shape[0] + 1):
            for column in range(1, self._shape[1] + 1):
                name = well_name(row, column)
                rect = self.well_rect(row, column)
                colour = self._colours.get(name)
                painter.setBrush(colour or empty)
                radius = min(2.0, rect.width() / 4)
                painter.drawRoundedRect(rect if colour else rect.adjusted(1, 1, -1, -1), radius, radius)
                if name in self._marks:
                    self._paint_mark(painter, rect)
        self._paint_frames(painter, front)
        painter.end()

    def _paint_labels(self, painter: QPainter, front: QColor) -> None:
        font = QFont(self.font())
        font.setPixelSize(round(max(7, min(11, self._pitch() * 0.85))))
        painter.setFont(font)
        painter.setPen(front)
        left, top = self._offsets()
        rows, columns = self._shape
        every = 1 if self._pitch() >= 13 else 2 if self._pitch() >= 8 else 4
        for column in range(1, columns + 1):
            if (column - 1) % every == 0:
                rect = self.well_rect(1, column)
                box = QRectF(rect.center().x() - 12, 0, 24, top - 2)
                painter.drawText(box, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom, str(column))
        every = 1 if self._pitch() >= 8 else 2
        for row in range(1, rows + 1):
            if (row - 1) % every == 0:
                rect = self.well_rect(row, 1)
                box = QRectF(0, rect.center().y() - 8, left - 5, 16)
                letters = well_name(row, 1)[:-2]
                painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, letters)

    def _paint_mark(self, painter: QPainter, rect: QRectF) -> None:
        side = max(3.0, rect.width() * 0.45)
        corner = rect.topRight()
        painter.setBrush(QColor(style.WARNING))
        painter.drawPolygon([corner, QPointF(corner.x() - side, corner.y()), QPointF(corner.x(), corner.y() + side)])

    def _paint_frames(self, painter: QPainter, front: QColor) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for name, width in [*((well, 1.4) for well in self._selected), (self._current, 2.2)]:
            place = well_position(name) if name else None
            if place:
                painter.setPen(QPen(front, width))
                painter.drawRoundedRect(self.well_rect(*place).adjusted(0.2, 0.2, -0.2, -0.2), 2, 2)
        if self._hover in self._colours and (place := well_position(self._hover)):
            painter.setPen(QPen(front, 1.0, Qt.PenStyle.DotLine))
            painter.drawRect(self.well_rect(*place))
        if self._drag is not None:
            painter.setPen(QPen(front, 1.0, Qt.PenStyle.DashLine))
            painter.drawRect(self._drag)

    # --- What the person does --------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a click or a rectangle."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._press = event.position().toPoint()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Grow the rectangle, or tell what is under the pointer."""
        point = event.position().toPoint()
        if self._press is not None and self._selecting and (point - self._press).manhattanLength() > 4:
            self._drag = QRect(self._press, point).normalized()
            self.update()
            return
        well = self._well_at(point)
        if well != self._hover:
            self._hover = well
            self.update()
            self.hovered.emit(well if well in self._colours else "")

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End a click or a rectangle."""
        if self._press is None or event.button() != Qt.MouseButton.LeftButton:
            return
        dragged, self._drag, pressed, self._press = self._drag, None, self._press, None
        if dragged is not None:
            self._select(self._wells_in(dragged), event.modifiers())
        else:
            self._click(self._well_at(pressed), event.modifiers())
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Tell that a well is wanted."""
        well = self._well_at(event.position())
        if well in self._colours:
            self.activated.emit(well)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrow keys move the frame to the next well that is there; Enter and Space click it."""
        step = _ARROWS.get(Qt.Key(event.key()))
        if step is not None:
            self._move(*step)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and self._current:
            self.clicked.emit(self._current)
        elif event.key() == Qt.Key.Key_Escape:
            self.selected = frozenset()
        else:
            super().keyPressEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer."""
        if self._hover:
            self._hover = ""
            self.update()
            self.hovered.emit("")

    def event(self, event: QEvent) -> bool:
        """Show a well's tooltip."""
        if event.type() == QEvent.Type.ToolTip:
            well = self._well_at(event.pos())
            QToolTip.showText(event.globalPos(), self._words_of(well) if well else "", self)
            return True
        return super().event(event)

    def _wells_in(self, rectangle: QRect) -> frozenset[str]:
        area = QRectF(rectangle)
        return frozenset(
            name for name in self._colours if (place := well_position(name)) and self.well_rect(*place).intersects(area)
        )

    def _select(self, wells: frozenset[str], keys: Qt.KeyboardModifier) -> None:
        if keys & Qt.KeyboardModifier.ControlModifier:
            self.selected = self._selected | wells
        elif keys & Qt.KeyboardModifier.ShiftModifier:
            self.selected = self._selected - wells
        else:
            self.selected = wells

    def _click(self, well: str, keys: Qt.KeyboardModifier) -> None:
        if well not in self._colours:
            if self._selecting:
                self.selected = frozenset()
            return
        if self._selecting and keys & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier):
            self._select(frozenset({well}), keys)
            return
        self._current = well
        self.clicked.emit(well)

    def _move(self, down: int, right: int) -> None:
        """Go to the nearest well in a direction, one in the same row or column before others."""
        places = {name: place for name in self._colours if (place := well_position(name))}
        here = places.get(self._current)
        ahead: dict[str, tuple[int, int]] = {}
        for name, (row, column) in places.items():
            if here is None:
                ahead[name] = (row, column)
                continue
            along = (row - here[0]) * down + (column - here[1]) * right
            aside = abs((row - here[0]) * right) + abs((column - here[1]) * down)
            if along > 0:
                ahead[name] = (along + 3 * aside, along)
        if ahead:
            self._current = min(ahead, key=lambda name: ahead[name])
            self.update()
            self.clicked.emit(self._current)
