"""Marks on a slider, where the defaults are."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPolygonF
from qtpy.QtWidgets import QStyle, QWidget

from napari_sslprofiler import style

_SIZE = 4.0


class Ticks(QWidget):
    """A clear sheet over a slider with small triangles along its lower edge."""

    def __init__(self, slider: QWidget) -> None:
        super().__init__(slider)
        self._slider = slider
        self._parts: tuple[float, ...] = ()
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        slider.installEventFilter(self)
        self.setGeometry(slider.rect())

    def show_at(self, parts: Iterable[float]) -> None:
        """Show marks at these parts of the slider's length, 0 to 1; those outside are left out."""
        self._parts = tuple(part for part in parts if 0.0 <= part <= 1.0)
        self.update()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stay as large as the slider."""
        if watched is self._slider and event.type() == QEvent.Type.Resize:
            self.setGeometry(self._slider.rect())
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw."""
        handle = self._slider.style().pixelMetric(QStyle.PixelMetric.PM_SliderLength, None, self._slider)
        bottom, span = float(self.height()), self.width() - handle
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(style.text(self))
        for part in self._parts:
            x = handle / 2 + part * span
            painter.drawPolygon(
                QPolygonF([QPointF(x, bottom - _SIZE), QPointF(x + _SIZE, bottom), QPointF(x - _SIZE, bottom)])
            )
        painter.end()


def mixed(one: QColor, other: QColor, part: float) -> QColor:
    """A colour on the way from one to another."""
    pairs = zip(one.getRgb()[:3], other.getRgb()[:3], strict=True)
    return QColor(*[round((1.0 - part) * a + part * b) for a, b in pairs])
