"""Paints a gallery's items: pictures, frames, captions, and what stands where there is no picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qtpy.QtCore import QPoint, QRect, QSize, Qt
from qtpy.QtGui import QColor, QFont, QImage, QPaintDevice, QPainter, QPen
from qtpy.QtWidgets import QWidget

from napari_sslprofiler import style

from .gallery_layout import Group

ACCENT = "#4aa3ff"  # what is selected, in both themes
_WRAPPED = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
_SMALL = 64  # pixels of a side below which words do not fit


@contextmanager
def painting(device: QPaintDevice) -> Iterator[QPainter]:
    """A painter that ends. Not its own context manager: PySide 6.12's gives back one reference to None too many."""
    painter = QPainter(device)
    try:
        yield painter
    finally:
        painter.end()


class ItemPainter:
    """Paints one view's items, in its theme and font."""

    def __init__(self, widget: QWidget, painter: QPainter, side: int) -> None:
        """``side`` is that of a picture."""
        self._painter, self._side = painter, side
        self._font, self._metrics = widget.font(), widget.fontMetrics()
        self._front, self._dark = style.text(widget), style.is_dark(widget)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)

    def words(self, box: QRect, text: str) -> None:
        """A sentence in the middle of an empty gallery."""
        self._painter.setPen(self._faint(190))
        self._painter.drawText(box.adjusted(20, 20, -20, -20), _WRAPPED, text)

    def heading(self, box: QRect, group: Group) -> None:
        """A group's title and how many it has."""
        bold = QFont(self._font)
        bold.setBold(True)
        self._painter.setFont(bold)
        self._painter.setPen(self._front)
        count = f"  {group.stop - group.start:,}"
        room = box.width() - self._metrics.horizontalAdvance(count) - 12
        title = self._metrics.elidedText(group.title, Qt.TextElideMode.ElideRight, room)
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        self._painter.drawText(box, flags, title)
        used = self._painter.boundingRect(box, flags, title)
        self._painter.setFont(self._font)
        self._painter.setPen(self._faint(150))
        self._painter.drawText(box.adjusted(used.width(), 0, 0, 0), flags, count)

    def picture(self, box: QRect, image: QImage) -> None:
        """A thumbnail, whole, in its own shape."""
        self._painter.drawImage(fitted(image.size(), box), image)

    def missing(self, box: QRect, words: str) -> None:
        """A quiet place: empty while a picture is on its way, with a few words where there will be none."""
        self._painter.fillRect(box, QColor(255, 255, 255, 14) if self._dark else QColor(0, 0, 0, 12))
        if not words:
            return
        self._painter.setBrush(Qt.BrushStyle.NoBrush)
        self._painter.setPen(QPen(self._faint(70), 1.0, Qt.PenStyle.DotLine))
        self._painter.drawRect(box.adjusted(0, 0, -1, -1))
        if self._side >= _SMALL:
            self._painter.setPen(self._faint(160))
            self._painter.drawText(box.adjusted(4, 4, -4, -4), _WRAPPED, words)

    def badge(self, box: QRect, words: str, colour: str) -> None:
        """A word over the picture's upper left corner."""
        if self._side < _SMALL:
            return
        place = QRect(0, 0, self._metrics.horizontalAdvance(words) + 8, self._metrics.height() + 2)
        place.moveTopLeft(box.topLeft() + QPoint(4, 4))
        self._painter.setPen(Qt.PenStyle.NoPen)
        self._painter.setBrush(QColor(0, 0, 0, 175))
        self._painter.drawRoundedRect(place, 3, 3)
        self._painter.setPen(QColor(colour))
        self._painter.drawText(place, Qt.AlignmentFlag.AlignCenter, words)

    def frames(self, box: QRect, *, marked: bool, current: bool) -> None:
        """Blue about what is selected, white inside it about the one on show."""
        self._painter.setBrush(Qt.BrushStyle.NoBrush)
        if marked:
            self._painter.setPen(QPen(QColor(ACCENT), 3.0))
            self._painter.drawRect(box.adjusted(1, 1, -2, -2))
        if current:
            self._painter.setPen(QPen(QColor("#ffffff"), 2.0))
            self._painter.drawRect(box.adjusted(4, 4, -5, -5))

    def caption(self, box: QRect, first: str, second: str) -> None:
        """One line in the text's colour and, where there is room, one fainter."""
        line = self._metrics.height()
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop
        words = self._metrics.elidedText(first, Qt.TextElideMode.ElideRight, box.width())
        self._painter.setPen(self._front)
        self._painter.drawText(QRect(box.x(), box.y(), box.width(), line), flags, words)
        if box.height() > line + 4:
            words = self._metrics.elidedText(second, Qt.TextElideMode.ElideLeft, box.width())
            self._painter.setPen(self._faint(165))
            self._painter.drawText(QRect(box.x(), box.y() + line, box.width(), line), flags, words)

    def band(self, box: QRect) -> None:
        """The rectangle that is being drawn."""
        self._painter.setPen(QPen(self._front, 1.0, Qt.PenStyle.DashLine))
        self._painter.setBrush(QColor(120, 160, 220, 40))
        self._painter.drawRect(box)

    def _faint(self, alpha: int) -> QColor:
        colour = QColor(self._front)
        colour.setAlpha(alpha)
        return colour


def fitted(size: QSize, box: QRect) -> QRect:
    """The largest rectangle of a picture's shape inside a box, in its middle."""
    scaled = size.scaled(box.size(), Qt.AspectRatioMode.KeepAspectRatio)
    left = box.left() + (box.width() - scaled.width()) // 2
    return QRect(left, box.top() + (box.height() - scaled.height()) // 2, scaled.width(), scaled.height())
