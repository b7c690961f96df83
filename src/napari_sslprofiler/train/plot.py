"""A small line plot: axes with units, a legend, values under the pointer; in napari's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_sslprofiler import style

_TICK = 4.0
_PAD = 6.0


@dataclass(frozen=True, eq=False)
class Series:
    """One line: NaN breaks it. ``marks`` draws each point; ``dashed`` is for what one compares with."""

    name: str
    x_N: NDArray[np.float64]
    y_N: NDArray[np.float64]
    colour: str
    dashed: bool = False
    marks: bool = False


class LinePlot(QWidget):
    """Lines over a common x axis.

    Parameters
    ----------
    x_label, y_label
        Of the axes, with units.
    empty
        What is said while there is nothing to draw.
    from_zero
        Whether the y axis starts at 0.
    """

    def __init__(self, x_label: str, y_label: str, empty: str, from_zero: bool = False) -> None:
        super().__init__()
        self._x_label, self._y_label, self._empty, self._from_zero = x_label, y_label, empty, from_zero
        self._series: tuple[Series, ...] = ()
        self._end = 0.0
        self._hover: QPointF | None = None
        self._frame = QRectF()
        self._range = (0.0, 1.0, 0.0, 1.0)
        self.setMouseTracking(True)
        self.setMinimumSize(220, 150)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(f"Plot of {y_label} over {x_label}")

    def sizeHint(self) -> QSize:
        """Wide enough for a dock."""
        return QSize(360, 220)

    @property
    def series(self) -> tuple[Series, ...]:
        """What is drawn."""
        return self._series

    def set_series(self, series: Sequence[Series], end: float = 0.0) -> None:
        """Draw other lines; the x axis reaches to ``end`` at least."""
        self._series, self._end = tuple(series), end
        self.setAccessibleDescription(
            "; ".join(f"{line.name} {_format(float(line.y_N[-1]))}" for line in self._series if len(line.y_N))
        )
        self.update()

    # --- Drawing ---------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw all."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        text, faint = style.text(self), style.faint(self)
        drawn = [line for line in self._series if np.isfinite(line.y_N).any()]
        if not drawn:
            painter.setPen(text)
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(QRectF(self.rect()).adjusted(12, 12, -12, -12), int(flags), self._empty)
            painter.end()
            return
        metrics = QFontMetricsF(font)
        top = self._draw_legend(painter, metrics, drawn, text)
        self._range = self._find_range(drawn)
        _, _, low, high = self._range
        y_ticks = _ticks(low, high, max(2, int((self.height() - top) / 40)))
        gutter = max(metrics.horizontalAdvance(_format(tick)) for tick in y_ticks) + metrics.height() + 2 * _PAD
        bottom = 2 * metrics.height() + _PAD
        self._frame = QRectF(gutter, top, self.width() - gutter - 10, self.height() - top - bottom)
        if self._frame.width() < 20 or self._frame.height() < 20:
            painter.end()
            return
        self._draw_axes(painter, metrics, text, faint, y_ticks)
        painter.setClipRect(self._frame.adjusted(-2, -2, 2, 2))
        for line in reversed(drawn):
            self._draw_line(painter, line)
        painter.setClipping(False)
        if self._hover is not None and self._frame.contains(self._hover):
            self._draw_hover(painter, metrics, drawn, text, faint)
        painter.end()

    def _draw_legend(self, painter: QPainter, metrics: QFontMetricsF, drawn: list[Series], text: QColor) -> float:
        """Names in rows that wrap; returns where the frame may begin."""
        x, y = _PAD, _PAD + metrics.height() / 2
        for line in drawn:
            width = 18 + metrics.horizontalAdvance(line.name) + 12
            if x + width > self.width() and x > _PAD:
                x, y = _PAD, y + metrics.height() + 2
            painter.setPen(_pen(line, 2.0))
            painter.drawLine(QPointF(x, y), QPointF(x + 14, y))
            painter.setPen(text)
            painter.drawText(QPointF(x + 18, y + metrics.ascent() / 2 - 1), line.name)
            x += width
        return y + metrics.height() / 2 + _PAD

    def _find_range(self, drawn: list[Series]) -> tuple[float, float, float, float]:
        first = min(float(line.x_N[0]) for line in drawn)
        last = max(self._end, *(float(line.x_N[-1]) for line in drawn), first + 1.0)
        values = np.concatenate([line.y_N[np.isfinite(line.y_N)] for line in drawn])
        low, high = (0.0 if self._from_zero else float(values.min())), float(values.max())
        if not high > low:
            low, high = low - 0.5 * (not self._from_zero), high + 0.5
        margin = 0.04 * (high - low)
        return (min(first, 0.0), last, low if self._from_zero else low - margin, high + margin)

    def _draw_axes(
        self, painter: QPainter, metrics: QFontMetricsF, text: QColor, faint: QColor, y_ticks: list[float]
    ) -> None:
        frame, height = self._frame, metrics.height()
        for tick in y_ticks:
            y = self._at(0.0, tick).y()
            painter.setPen(QPen(faint, 1.0, Qt.PenStyle.DotLine))
            painter.drawLine(QPointF(frame.left(), y), QPointF(frame.right(), y))
            painter.setPen(text)
            label = _format(tick)
            painter.drawText(
                QPointF(frame.left() - _TICK - metrics.horizontalAdvance(label), y + metrics.ascent() / 2 - 1), label
            )
        left_x, right_x, _, _ = self._range
        for tick in _ticks(left_x, right_x, max(2, int(frame.width() / 80))):
            x = self._at(tick, 0.0).x()
            painter.setPen(faint)
            painter.drawLine(QPointF(x, frame.bottom()), QPointF(x, frame.bottom() + _TICK))
            painter.setPen(text)
            label = _format(tick)
            width = metrics.horizontalAdvance(label)
            x = min(max(x - width / 2, 0.0), self.width() - width)
            painter.drawText(QPointF(x, frame.bottom() + _TICK + metrics.ascent()), label)
        painter.setPen(faint)
        painter.drawLine(frame.bottomLeft(), frame.bottomRight())
        painter.drawLine(frame.bottomLeft(), frame.topLeft())
        painter.setPen(text)
        middle = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom
        painter.drawText(
            QRectF(frame.left(), self.height() - height - 1, frame.width(), height), int(middle), self._x_label
        )
        painter.save()
        painter.translate(_PAD + metrics.ascent() - 2, frame.center().y())
        painter.rotate(-90)
        painter.drawText(QPointF(-metrics.horizontalAdvance(self._y_label) / 2, 0), self._y_label)
        painter.restore()

    def _draw_line(self, painter: QPainter, line: Series) -> None:
        finite = np.isfinite(line.y_N)
        breaks = np.flatnonzero(np.diff(finite.astype(np.int8))) + 1
        painter.setPen(_pen(line, 1.6))
        for part in np.split(np.arange(len(finite)), breaks):
            if not finite[part[0]]:
                continue
            x_N, y_N = self._columns(line.x_N[part], line.y_N[part])
            painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in zip(x_N.tolist(), y_N.tolist(), strict=True)]))
        if line.marks:
            painter.setBrush(QColor(line.colour))
            for x, y in zip(line.x_N[finite].tolist(), line.y_N[finite].tolist(), strict=True):
                painter.drawEllipse(self._at(x, y), 2.5, 2.5)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def _columns(self, x_N: NDArray[np.float64], y_N: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Pixels of a line; of many points in one column of pixels, the lowest and the highest."""
        left_x, right_x, low, high = self._range
        x = self._frame.left() + (x_N - left_x) / (right_x - left_x) * self._frame.width()
        y = self._frame.bottom() - (y_N - low) / (high - low) * self._frame.height()
        column = np.floor(x)
        starts = np.flatnonzero(np.r_[True, np.diff(column) > 0])
        if len(x) < 4 * len(starts):
            return x, y
        both = np.stack([np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)], 1)
        both[1::2] = both[1::2, ::-1]  # up in one column, down in the next
        return np.repeat(column[starts], 2), both.ravel()

    def _draw_hover(
        self, painter: QPainter, metrics: QFontMetricsF, drawn: list[Series], text: QColor, faint: QColor
    ) -> None:
        assert self._hover is not None
        left_x, right_x, _, _ = self._range
        wanted = left_x + (self._hover.x() - self._frame.left()) / self._frame.width() * (right_x - left_x)
        lines = [line for line in drawn if not line.dashed]
        nearest = min(
            (float(line.x_N[np.abs(line.x_N - wanted).argmin()]) for line in lines), key=lambda x: abs(x - wanted)
        )
        rows = [(f"{self._x_label} {_format(nearest)}", "")]
        for line in lines:
            value = float(line.y_N[np.abs(line.x_N - nearest).argmin()])
            if math.isfinite(value):
                rows.append((f"{line.name}  {_format(value, 4)}", line.colour))
        x = self._at(nearest, 0.0).x()
        painter.setPen(QPen(faint, 1.0))
        painter.drawLine(QPointF(x, self._frame.top()), QPointF(x, self._frame.bottom()))
        width = max(metrics.horizontalAdvance(row) for row, _ in rows) + 22
        box = QRectF(x + 8, self._frame.top() + 2, width, len(rows) * metrics.height() + 8)
        if box.right() > self.width() - 2:
            box.moveRight(x - 8)
        back = style.background(self)
        back.setAlpha(235)
        painter.setBrush(back)
        painter.drawRoundedRect(box, 3, 3)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for number, (row, colour) in enumerate(rows):
            y = box.top() + 4 + number * metrics.height() + metrics.ascent()
            if colour:
                painter.fillRect(QRectF(box.left() + 5, y - metrics.ascent() / 2 - 1, 7, 3), QColor(colour))
            painter.setPen(text)
            painter.drawText(QPointF(box.left() + 16, y), row)

    def _at(self, x: float, y: float) -> QPointF:
        left_x, right_x, low, high = self._range
        return QPointF(
            self._frame.left() + (x - left_x) / (right_x - left_x) * self._frame.width(),
            self._frame.bottom() - (y - low) / (high - low) * self._frame.height(),
        )

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show the values under the pointer."""
        self._hover = event.position()
        self.update()

    def leaveEvent(self, event: Any) -> None:
        """Stop showing them."""
        self._hover = None
        self.update()


def _pen(line: Series, width: float) -> QPen:
    pen = QPen(QColor(line.colour), width)
    if line.dashed:
        pen.setDashPattern([3.0, 3.0])
    return pen


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers within a range, at most so many."""
    raw = (high - low) / max(most, 1)
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(scale * factor for factor in (1.0, 2.0, 5.0, 10.0) if scale * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    found = [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
    return found or [low]


def _format(value: float, digits: int = 6) -> str:
    if not math.isfinite(value):
        return "none"
    if abs(value) >= 1000 and value == round(value):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"
