"""What lies over the map: rings, the lasso, words. Painted apart from the points, so that a moving pointer costs none
of their drawing; takes the mouse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from .viewport import Viewport

ACCENT = "#ff9d2e"


@dataclass
class Marks:
    """Rows that are marked: places in data, (2,), or None."""

    hovered: NDArray[np.float32] | None = None
    current: NDArray[np.float32] | None = None
    neighbours: Sequence[NDArray[np.float32]] = field(default_factory=tuple)
    radius: float = 5.0


class Overlay(QWidget):
    """Transparent, as large as the map."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground)
        self.view = Viewport()
        self.marks = Marks()
        self.lasso: list[tuple[float, float]] = []  # pixels
        self.rectangle = False
        self.lasso_colour = QColor(ACCENT)
        self.ink = QColor("white")
        self.note = ""
        self.counts = ""
        self.message = ""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint marks, the lasso and words."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_marks(painter)
        if len(self.lasso) > 1:
            self._paint_lasso(painter)
        self._paint_words(painter)
        painter.end()

    def _paint_marks(self, painter: QPainter) -> None:
        marks = self.marks
        painter.setBrush(Qt.BrushStyle.NoBrush)
        current = self._pixel(marks.current)
        halo = QColor("black") if self.ink.lightnessF() > 0.5 else QColor("white")
        if current is not None and marks.neighbours:
            line = QColor(self.ink)
            line.setAlpha(110)
            painter.setPen(QPen(line, 1.0))
            for place in marks.neighbours:
                other = self._pixel(place)
                if other is not None:
                    painter.drawLine(current, other)
                    painter.drawEllipse(other, marks.radius + 2.5, marks.radius + 2.5)
        for point, colour, width in (
            (current, QColor(ACCENT), 2.5),
            (self._pixel(marks.hovered), self.ink, 1.8),
        ):
            if point is None:
                continue
            ring = marks.radius + 3.5
            halo.setAlpha(150)
            painter.setPen(QPen(halo, width + 2.0))
            painter.drawEllipse(point, ring, ring)
            painter.setPen(QPen(colour, width))
            painter.drawEllipse(point, ring, ring)

    def _pixel(self, place: NDArray[np.float32] | None) -> QPointF | None:
        if place is None or not np.isfinite(place).all():
            return None
        x, y = self.view.to_pixels(np.asarray(place)[None])[0]
        if not (-50 < x < self.width() + 50 and -50 < y < self.height() + 50):
            # A line may end outside; a ring there would only cost.
            x, y = float(np.clip(x, -4000, 8000)), float(np.clip(y, -4000, 8000))
        return QPointF(float(x), float(y))

    def _paint_lasso(self, painter: QPainter) -> None:
        fill = QColor(self.lasso_colour)
        fill.setAlpha(40)
        painter.setPen(QPen(self.lasso_colour, 1.5, Qt.PenStyle.DashLine if self.rectangle else Qt.PenStyle.SolidLine))
        painter.setBrush(fill)
        if self.rectangle:
            painter.drawRect(QRectF(QPointF(*self.lasso[0]), QPointF(*self.lasso[-1])).normalized())
        else:
            painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in self.lasso]))

    def _paint_words(self, painter: QPainter) -> None:
        faint = QColor(self.ink)
        faint.setAlpha(150)
        painter.setPen(faint)
        font = QFont(self.font())
        font.setPointSizeF(max(7.5, font.pointSizeF() - 1.5))
        painter.setFont(font)
        area = self.rect().adjusted(10, 8, -10, -7)
        bottom = Qt.AlignmentFlag.AlignBottom
        painter.drawText(area, bottom | Qt.AlignmentFlag.AlignRight, self.counts)
        room = area.width() - painter.fontMetrics().horizontalAdvance(self.counts) - 16
        note = painter.fontMetrics().elidedText(self.note, Qt.TextElideMode.ElideRight, max(room, 0))
        painter.drawText(area, bottom | Qt.AlignmentFlag.AlignLeft, note)
        if self.message:
            painter.setFont(self.font())
            middle = self.rect().adjusted(60, 20, -60, -20)  # clear of the tools
            flags = int(Qt.AlignmentFlag.AlignCenter.value) | int(Qt.TextFlag.TextWordWrap.value)
            painter.drawText(middle, flags, self.message)
