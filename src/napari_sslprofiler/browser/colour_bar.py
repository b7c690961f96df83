"""The legend of numbers: a ramp with its histogram, whose two handles bound what is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QLinearGradient, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QWidget

from napari_sslprofiler import style

from .palette import hex_of, ramp

_BINS = 48
_EDGE = 12.0  # room for handles beside the ramp
_RAMP_HEIGHT = 10.0
_BARS_HEIGHT = 44.0


class ColourBar(QWidget):
    """A ramp from low to high.

    Signals
    -------
    limited
        (low, high) that are to be shown, or None for all: a handle was moved, or a double click.
    """

    limited = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high = 0.0, 1.0
        self._bars = np.zeros(_BINS)
        self._limits: tuple[float, float] | None = None
        self._held: int | None = None
        self.setMinimumHeight(round(_BARS_HEIGHT + _RAMP_HEIGHT + 30))
        self.setMouseTracking(True)
        self.setToolTip("Drag the handles to show a range; double click for all")
        self.setAccessibleName("Range of values")

    def set_values(
        self, values: NDArray[Any], low: float, high: float, limits: tuple[float, float] | None = None
    ) -> None:
        """Show the spread of values, and the limits in force."""
        self._low, self._high = low, high
        known = values[np.isfinite(values)]
        bars = np.histogram(np.clip(known, low, high), _BINS, (low, high))[0] if known.size else np.zeros(_BINS)
        self._bars = np.sqrt(bars / max(bars.max(), 1))  # rare values are to be seen too
        self._limits = limits
        self.update()

    def sizeHint(self) -> QSize:
        """Wide and low."""
        return QSize(180, round(_BARS_HEIGHT + _RAMP_HEIGHT + 30))

    def _x_of(self, value: float) -> float:
        part = (value - self._low) / (self._high - self._low)
        return _EDGE + float(np.clip(part, 0.0, 1.0)) * (self.width() - 2 * _EDGE)

    def _value_at(self, x: float) -> float:
        part = float(np.clip((x - _EDGE) / max(self.width() - 2 * _EDGE, 1.0), 0.0, 1.0))
        return self._low + part * (self._high - self._low)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint bars, ramp, handles and numbers."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = style.text(self)
        width = self.width() - 2 * _EDGE
        colours = ramp(_BINS)
        low, high = self._limits or (self._low, self._high)
        painter.setPen(Qt.PenStyle.NoPen)
        for place, share in enumerate(self._bars):
            value = self._low + (place + 0.5) / _BINS * (self._high - self._low)
            colour = QColor(hex_of(colours[place]))
            if not low <= value <= high:
                colour = style.faint(self)
            painter.setBrush(colour)
            tall = float(share) * (_BARS_HEIGHT - 4)
            painter.drawRect(QRectF(_EDGE + place * width / _BINS, _BARS_HEIGHT - tall, width / _BINS - 0.6, tall))
        gradient = QLinearGradient(QPointF(_EDGE, 0), QPointF(_EDGE + width, 0))
        for place, shade in enumerate(colours):
            gradient.setColorAt(place / (_BINS - 1), QColor(hex_of(shade)))
        painter.setBrush(gradient)
        painter.drawRoundedRect(QRectF(_EDGE, _BARS_HEIGHT + 2, width, _RAMP_HEIGHT), 3, 3)
        painter.setPen(QPen(text, 1.2))
        painter.setBrush(style.background(self))
        for value in (low, high):
            painter.drawEllipse(QPointF(self._x_of(value), _BARS_HEIGHT + 2 + _RAMP_HEIGHT / 2), 5.5, 5.5)
        font = QFont(self.font())
        font.setPointSizeF(max(7.5, font.pointSizeF() - 1.0))
        painter.setFont(font)
        area = QRectF(4, _BARS_HEIGHT + _RAMP_HEIGHT + 8, self.width() - 8, 18)
        painter.drawText(area, Qt.AlignmentFlag.AlignLeft, f"{low:.4g}")
        painter.drawText(area, Qt.AlignmentFlag.AlignRight, f"{high:.4g}")
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take the nearer handle."""
        low, high = self._limits or (self._low, self._high)
        x = event.position().x()
        self._held = 0 if abs(x - self._x_of(low)) <= abs(x - self._x_of(high)) else 1
        self._drag(x)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Move the handle that is held."""
        if self._held is not None:
            self._drag(event.position().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tell."""
        if self._held is not None:
            self._held = None
            limits = self._limits
            if limits is not None and limits[0] <= self._low and limits[1] >= self._high:
                limits = None  # the ends stand for all, runaway values included
            elif limits is not None:
                below = -np.inf if limits[0] <= self._low else limits[0]
                above = np.inf if limits[1] >= self._high else limits[1]
                limits = (float(below), float(above))
            self.limited.emit(limits)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Show all."""
        self._held, self._limits = None, None
        self.update()
        self.limited.emit(None)

    def _drag(self, x: float) -> None:
        limits = list(self._limits or (self._low, self._high))
        assert self._held is not None
        limits[self._held] = self._value_at(x)
        if limits[0] > limits[1]:
            limits[1 - self._held] = limits[self._held]
        self._limits = (limits[0], limits[1])
        self.update()
