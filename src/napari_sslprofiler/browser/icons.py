"""Small icons, drawn in the text's colour so that they suit each theme."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

_SIDE = 64  # drawn large, shown small
_WIDTH = 4.5


def _pan(painter: QPainter) -> None:
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        tip = QPointF(32 + 22 * dx, 32 + 22 * dy)
        painter.drawLine(QPointF(32, 32), tip)
        side = QPointF(-dy, dx) * 7
        back = QPointF(dx, dy) * 8
        painter.drawPolyline(QPolygonF([tip - back + side, tip, tip - back - side]))


def _lasso(painter: QPainter) -> None:
    path = QPainterPath(QPointF(26, 44))
    path.cubicTo(2, 40, 6, 12, 34, 12)
    path.cubicTo(62, 12, 62, 42, 34, 44)
    path.cubicTo(22, 45, 16, 46, 20, 54)
    painter.drawPath(path)


def _rectangle(painter: QPainter) -> None:
    pen = painter.pen()
    pen.setDashPattern([2.2, 1.6])
    painter.setPen(pen)
    painter.drawRect(QRectF(11, 15, 42, 34))


def _home(painter: QPainter) -> None:
    for x, y, dx, dy in ((12, 12, 1, 1), (52, 12, -1, 1), (12, 52, 1, -1), (52, 52, -1, -1)):
        painter.drawPolyline(QPolygonF([QPointF(x + 12 * dx, y), QPointF(x, y), QPointF(x, y + 12 * dy)]))
    painter.setBrush(painter.pen().color())
    for x, y in ((28, 36), (38, 30), (32, 24)):
        painter.drawEllipse(QPointF(x, y), 2.5, 2.5)


def _centre(painter: QPainter) -> None:
    painter.drawEllipse(QPointF(32, 32), 14, 14)
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        painter.drawLine(QPointF(32 + 8 * dx, 32 + 8 * dy), QPointF(32 + 24 * dx, 32 + 24 * dy))


def _density(painter: QPainter) -> None:
    colour = painter.pen().color()
    painter.setPen(Qt.PenStyle.NoPen)
    for radius, alpha in ((24, 60), (16, 110), (8, 255)):
        shade = QColor(colour)
        shade.setAlpha(alpha)
        painter.setBrush(shade)
        painter.drawEllipse(QPointF(32, 32), radius, radius * 0.85)


_DRAWN: dict[str, Callable[[QPainter], None]] = {
    "pan": _pan,
    "lasso": _lasso,
    "rectangle": _rectangle,
    "home": _home,
    "centre": _centre,
    "density": _density,
}


def icon(name: str, colour: QColor) -> QIcon:
    """An icon by name: pan, lasso, rectangle, home, centre, density."""
    pixmap = QPixmap(_SIDE, _SIDE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(colour, _WIDTH)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    _DRAWN[name](painter)
    painter.end()
    return QIcon(pixmap)
