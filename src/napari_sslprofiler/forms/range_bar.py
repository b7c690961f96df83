"""A slider with two handles. For the mouse: the number boxes beside it have the keyboard."""

from __future__ import annotations

from collections.abc import Iterable

from psygnal import Signal
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QMouseEvent, QPainter, QPaintEvent, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_sslprofiler import style

from .ticks import mixed

_RADIUS = 8.0  # of a handle, as large as napari's
_MARK = 4.0


class RangeBar(QWidget):
    """Two handles over [0, 1]: which of them moved, and where to."""

    moved = Signal(int, float)  # 0 or 1, part of the length

    def __init__(self) -> None:
        super().__init__()
        self._parts = [0.0, 1.0]
        self._marks: tuple[float, ...] = ()
        self._held: int | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    @property
    def parts(self) -> tuple[float, float]:
        """Where the handles are."""
        return self._parts[0], self._parts[1]

    def show_parts(self, parts: Iterable[float]) -> None:
        """Put the handles; those beyond the ends stand at the ends."""
        self._parts = [min(1.0, max(0.0, part)) for part in parts]
        self.update()

    def show_marks(self, parts: Iterable[float]) -> None:
        """Mark the defaults along the lower edge; those beyond the ends are left out."""
        self._marks = tuple(part for part in parts if 0.0 <= part <= 1.0)
        self.update()

    def sizeHint(self) -> QSize:
        """As high as napari's sliders."""
        return QSize(90, 22)

    def minimumSizeHint(self) -> QSize:
        """Room for both handles."""
        return QSize(50, 22)

    def _x(self, part: float) -> float:
        return _RADIUS + part * (self.width() - 2 * _RADIUS)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take the nearer handle; of two in one place, the one that can go there."""
        x = event.position().x()
        away = [abs(x - self._x(part)) for part in self._parts]
        if away[0] == away[1]:
            self._held = 0 if x < self._x(self._parts[0]) else 1
        else:
            self._held = 0 if away[0] < away[1] else 1
        self.mouseMoveEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move the handle that is held, as far as the other."""
        if self._held is None:
            return
        part = (event.position().x() - _RADIUS) / max(1.0, self.width() - 2 * _RADIUS)
        low, high = (0.0, self._parts[1]) if self._held == 0 else (self._parts[0], 1.0)
        part = min(high, max(low, part))
        if part != self._parts[self._held]:
            self._parts[self._held] = part
            self.update()
            self.moved.emit(self._held, part)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Let go."""
        self._held = None

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw groove, range, handles and marks."""
        groove, filled, front = style.background(self), style.faint(self), style.text(self)
        groove = mixed(groove, front, 0.14)
        middle = self.height() / 2
        left, right = (self._x(part) for part in self._parts)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(groove)
        painter.drawRect(QRectF(0, middle - 3, self.width(), 6))
        painter.setBrush(filled)
        painter.drawRect(QRectF(left, middle - 3, right - left, 6))
        for x in (left, right):
            painter.drawEllipse(QPointF(x, middle), _RADIUS, _RADIUS)
        painter.setBrush(front)
        for mark in self._marks:
            x, low = self._x(mark), float(self.height())
            painter.drawPolygon(QPolygonF([QPointF(x, low - _MARK), QPointF(x + _MARK, low), QPointF(x - _MARK, low)]))
        painter.end()
