"""Views side by side: pictures that scale, the hatch over masked patches, and which pixel the pointer is on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QBrush,
    QColor,
    QFont,
    QFontMetricsF,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPolygonF,
    QTransform,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_sslprofiler import style

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GAP = 10.0
_LINE = 18.0  # of text above a picture
_BELOW = 34.0  # two lines of text below it


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture.

    Parameters
    ----------
    title, caption
        Above and below it.
    rgb_SS3
        uint8.
    colour
        Of the mark in its top left corner, as on the source site; None: no mark.
    mask
        Patches to hatch, bool, rows x columns.
    """

    title: str
    caption: str
    rgb_SS3: NDArray[np.uint8]
    colour: str | None = None
    mask: NDArray[np.bool_] | None = None


class ViewsCanvas(QWidget):
    """Panels in a row, or in the grid that makes them largest; a double click or its number enlarges one."""

    hovered = Signal(int, int, int)  # panel, row and column of the pixel; -1 each when the pointer is on none

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._panels: tuple[Panel, ...] = ()
        self._images: list[QImage] = []
        self._message = ""
        self._alone: int | None = None
        self.dimmed = False
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Views")
        self.setToolTip("Double click, or 1, 2 and 3: one view alone; Escape: all")

    @property
    def panels(self) -> tuple[Panel, ...]:
        """What is shown."""
        return self._panels

    def show_panels(self, panels: Sequence[Panel]) -> None:
        """Show these."""
        self._panels, self._message, self.dimmed = tuple(panels), "", False
        self._images = [_image(panel.rgb_SS3) for panel in panels]
        if self._alone is not None and self._alone >= len(self._panels):
            self._alone = None
        self.update()

    def show_message(self, message: str) -> None:
        """Show a sentence in place of pictures."""
        self._panels, self._images, self._message = (), [], message
        self.update()

    def dim(self) -> None:
        """Show that the pictures are no longer what was asked for."""
        self.dimmed = True
        self.update()

    def sizeHint(self) -> QSize:
        """Three pictures that can be made out."""
        return QSize(460, self.height_of_row(460))

    def height_of_row(self, width: int) -> int:
        """How high the pictures are in a row of some width, with their text; three where there are none yet."""
        count = len(self._panels) or 3
        return round((width - (count - 1) * _GAP) / count + _LINE + _BELOW)

    def minimumSizeHint(self) -> QSize:
        """Still something to see."""
        return QSize(280, 130)

    # --- Where things are --------------------------------------------------------------------------------------------

    def _shown(self) -> list[int]:
        return list(range(len(self._panels))) if self._alone is None else [self._alone]

    def picture_rects(self) -> dict[int, QRectF]:
        """Where each picture lies."""
        shown = self._shown()
        if not shown:
            return {}
        best, columns = 0.0, 1
        for number in range(1, len(shown) + 1):
            rows = math.ceil(len(shown) / number)
            wide = (self.width() - _GAP * (number - 1)) / number
            high = (self.height() - _GAP * (rows - 1)) / rows - _LINE - _BELOW
            if min(wide, high) > best:
                best, columns = min(wide, high), number
        rows = math.ceil(len(shown) / columns)
        width = columns * best + _GAP * (columns - 1)
        left = (self.width() - width) / 2
        top = max(0.0, (self.height() - rows * (best + _LINE + _BELOW) - _GAP * (rows - 1)) / 2)
        found = {}
        for place, number in enumerate(shown):
            row, column = divmod(place, columns)
            x = left + column * (best + _GAP)
            y = top + row * (best + _LINE + _BELOW + _GAP) + _LINE
            found[number] = QRectF(x, y, best, best)
        return found

    def _pixel(self, point: QPointF) -> tuple[int, int, int]:
        for number, rect in self.picture_rects().items():
            if rect.contains(point):
                side = len(self._panels[number].rgb_SS3)
                row = int((point.y() - rect.top()) / rect.height() * side)
                column = int((point.x() - rect.left()) / rect.width() * side)
                return number, min(row, side - 1), min(column, side - 1)
        return -1, -1, -1

    # --- Pointer and keys --------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell the pixel under the pointer."""
        self.hovered.emit(*self._pixel(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        """The pointer is on no pixel."""
        QToolTip.hideText()
        self.hovered.emit(-1, -1, -1)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Show one alone, or all again."""
        number = self._pixel(event.position())[0]
        self._show_alone(number if self._alone is None and number >= 0 else None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """1, 2 and 3 show one alone; Escape shows all."""
        if event.text().isdigit() and 1 <= int(event.text()) <= len(self._panels):
            self._show_alone(int(event.text()) - 1)
        elif event.key() == Qt.Key.Key_Escape and self._alone is not None:
            self._show_alone(None)
        else:
            super().keyPressEvent(event)

    def _show_alone(self, number: int | None) -> None:
        self._alone = number
        self.update()

    # --- Drawing -----------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHints(QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform)
        if self._message:
            painter.setPen(style.text(self))
            flags = int(Qt.AlignmentFlag.AlignCenter) | int(Qt.TextFlag.TextWordWrap)
            painter.drawText(QRectF(self.rect()).adjusted(20, 10, -20, -10), flags, self._message)
        painter.setOpacity(0.45 if self.dimmed else 1.0)
        for number, rect in self.picture_rects().items():
            self._paint_panel(painter, self._panels[number], self._images[number], rect)
        if self.hasFocus():
            painter.setOpacity(1.0)
            painter.setPen(QPen(style.faint(self), 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))
        painter.end()

    def _paint_panel(self, painter: QPainter, panel: Panel, image: QImage, rect: QRectF) -> None:
        bold = QFont(self.font())
        bold.setBold(True)
        painter.setPen(style.text(self))
        painter.setFont(bold)
        above = QRectF(rect.left(), rect.top() - _LINE, rect.width(), _LINE - 2)
        painter.drawText(above, int(Qt.AlignmentFlag.AlignLeft), _elided(panel.title, bold, above.width()))
        painter.setFont(self.font())
        below = QRectF(rect.left(), rect.bottom() + 2, rect.width(), _BELOW - 2)
        painter.drawText(below, int(Qt.AlignmentFlag.AlignLeft) | int(Qt.TextFlag.TextWordWrap), panel.caption)
        # Far enlarged, pixels are shown as they are: that is what the network sees.
        smooth = rect.width() < 2.0 * image.width()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
        painter.drawImage(rect, image)
        if panel.mask is not None and panel.mask.any():
            self._hatch(painter, panel.mask, rect)
        if panel.colour is not None:
            length = 0.18 * rect.width()
            mark = QPolygonF(
                [
                    rect.topLeft() + QPointF(1, length),
                    rect.topLeft() + QPointF(1, 1),
                    rect.topLeft() + QPointF(length, 1),
                ]
            )
            painter.setPen(QPen(QColor(panel.colour), 3))
            painter.drawPolyline(mark)

    def _hatch(self, painter: QPainter, mask: NDArray[np.bool_], rect: QRectF) -> None:
        """Hatch masked patches, and draw a line about them."""
        rows, columns = mask.shape
        area = QPainterPath()
        for row, column in np.argwhere(mask):
            area.addRect(QRectF(column, row, 1, 1))
        area = area.simplified()
        to_screen = QTransform(rect.width() / columns, 0, 0, rect.height() / rows, rect.left(), rect.top())
        on_screen = to_screen.map(area)
        painter.setPen(QPen(QColor(255, 255, 255, 110), 1))
        painter.setBrush(QBrush(QColor(255, 255, 255, 60), Qt.BrushStyle.BDiagPattern))
        painter.drawPath(on_screen)
        painter.setBrush(Qt.BrushStyle.NoBrush)


def _image(rgb_SS3: NDArray[np.uint8]) -> QImage:
    rgb_SS3 = np.ascontiguousarray(rgb_SS3)
    height, width, _ = rgb_SS3.shape
    # The copy owns its pixels: the array's may go.
    return QImage(rgb_SS3.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()


def _elided(words: str, font: QFont, width: float) -> str:
    return str(QFontMetricsF(font).elidedText(words, Qt.TextElideMode.ElideRight, width))
