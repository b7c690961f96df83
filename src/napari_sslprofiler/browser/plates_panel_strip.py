"""A strip of small plates: one well position compared across all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPoint, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from qtpy.QtWidgets import QAbstractScrollArea, QFrame, QToolTip, QWidget

from napari_sslprofiler import style

from .gallery_layout import GalleryLayout
from .gallery_paint import ACCENT, painting

_NARROW = 96  # pixels of a small plate's width, at least


class PlateStrip(QAbstractScrollArea):
    """Small plates in lines, as many as fit; only those in sight are painted.

    Signals
    -------
    clicked
        (plate, place): a well of a small plate; place is -1 beside the wells.
    hovered
        (plate, place) under the pointer, -1 for none.
    """

    clicked = Signal(int, int)
    hovered = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names: tuple[str, ...] = ()
        self._shape = (16, 24)
        self._pictures: list[QImage] = []
        self._selected: NDArray[np.bool_] = np.zeros((0, 0), bool)
        self.current = -1  # the plate that is shown large
        self.place = -1  # the position that is compared
        self._layout = GalleryLayout(0, 100, (96, 80))
        self._under = (-1, -1)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setMouseTracking(True)
        self.setAccessibleName("All plates")

    def set_plates(self, names: tuple[str, ...], colours_PRC3: NDArray[np.uint8], there_PRC: NDArray[np.bool_]) -> None:
        """Show plates: the colours of their wells, and which wells are there."""
        self._names, self._shape = names, (colours_PRC3.shape[1], colours_PRC3.shape[2])
        alpha = np.where(there_PRC, 255, 0).astype(np.uint8)[..., None]
        whole = np.ascontiguousarray(np.concatenate([colours_PRC3, alpha], axis=3))
        rows, columns = self._shape
        form = QImage.Format.Format_RGBA8888
        self._pictures = [QImage(plate.tobytes(), columns, rows, 4 * columns, form).copy() for plate in whole]
        self._relayout()

    def set_selected(self, selected_PW: NDArray[np.bool_]) -> None:
        """Which wells are selected, (P, R * C)."""
        self._selected = selected_PW
        self.viewport().update()

    def set_current(self, plate: int, place: int) -> None:
        """Frame a plate, and one position on all."""
        if plate != self.current and 0 <= plate < len(self._names):
            box = self._layout.box(plate)
            bar = self.verticalScrollBar()
            if not bar.value() <= box.y <= bar.value() + self.viewport().height() - box.height:
                bar.setValue(box.y - self._layout.gap)
        self.current, self.place = plate, place
        self.viewport().update()

    def sizeHint(self) -> QSize:
        """One plate wide, two high."""
        return QSize(_NARROW + 30, 2 * (self._cell_height(_NARROW) + 8))

    def minimumSizeHint(self) -> QSize:
        """One plate."""
        return QSize(_NARROW + 20, self._cell_height(_NARROW) + 12)

    def _cell_height(self, width: int) -> int:
        return round(width * self._shape[0] / self._shape[1]) + self.fontMetrics().height() + 2

    def _relayout(self) -> None:
        width = self.viewport().width()
        gap = self._layout.gap
        columns = max(1, (width - gap) // (_NARROW + gap))
        filled = min((width - gap) // columns - gap, 2 * _NARROW)
        self._layout = GalleryLayout(len(self._names), width, (filled, self._cell_height(filled)), gap=gap)
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, self._layout.height - self.viewport().height()))
        bar.setPageStep(self.viewport().height())
        bar.setSingleStep(self._layout.step_y // 2)
        self.viewport().update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Other lines."""
        self._relayout()

    def _wells_box(self, plate: int) -> QRect:
        box = self._layout.box(plate)
        head = self.fontMetrics().height() + 2
        return QRect(box.x, box.y - self.verticalScrollBar().value() + head, box.width, box.height - head)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what is in sight."""
        top = self.verticalScrollBar().value()
        with painting(self.viewport()) as painter:
            front = style.text(self)
            for plate in self._layout.items_between(top, top + self.viewport().height()):
                self._paint_plate(painter, plate, front)

    def _paint_plate(self, painter: QPainter, plate: int, front: QColor) -> None:
        box = self._wells_box(plate)
        faint = QColor(front)
        faint.setAlpha(255 if plate == self.current else 160)
        painter.setPen(faint)
        words = self.fontMetrics().elidedText(self._names[plate], Qt.TextElideMode.ElideMiddle, box.width())
        painter.drawText(box.x(), box.y() - 4, words)
        back = QColor(front)
        back.setAlpha(14)
        painter.fillRect(box, back)
        painter.drawImage(box, self._pictures[plate])
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if plate < len(self._selected):
            painter.setPen(QPen(front, 1.0))
            for place in np.flatnonzero(self._selected[plate]):
                painter.drawRect(self._well_box(box, int(place)))
        if self.place >= 0:
            painter.setPen(QPen(QColor("#000000"), 3.0))
            painter.drawRect(self._well_box(box, self.place).adjusted(-1, -1, 1, 1))
            painter.setPen(QPen(QColor("#ffffff"), 1.5))
            painter.drawRect(self._well_box(box, self.place).adjusted(-1, -1, 1, 1))
        if plate == self.current:
            painter.setPen(QPen(QColor(ACCENT), 2.0))
            painter.drawRect(box.adjusted(-2, -2, 1, 1))

    def _well_box(self, box: QRect, place: int) -> QRect:
        row, column = divmod(place, self._shape[1])
        left = box.x() + round(column * box.width() / self._shape[1])
        right = box.x() + round((column + 1) * box.width() / self._shape[1])
        top = box.y() + round(row * box.height() / self._shape[0])
        bottom = box.y() + round((row + 1) * box.height() / self._shape[0])
        return QRect(left, top, right - left - 1, bottom - top - 1)

    def _at(self, point: QPoint) -> tuple[int, int]:
        plate = self._layout.item_at(point.x(), point.y() + self.verticalScrollBar().value())
        if plate is None:
            return -1, -1
        box = self._wells_box(plate)
        row = int((point.y() - box.y()) * self._shape[0] / max(box.height(), 1))
        column = int((point.x() - box.x()) * self._shape[1] / max(box.width(), 1))
        inside = point.y() >= box.y() and 0 <= row < self._shape[0] and 0 <= column < self._shape[1]
        return plate, row * self._shape[1] + column if inside else -1

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A well, or a plate."""
        plate, place = self._at(event.position().toPoint())
        if plate >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit(plate, place)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell what is under the pointer."""
        under = self._at(event.position().toPoint())
        if under != self._under:
            self._under = under
            self.hovered.emit(*under)

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is under the pointer."""
        if self._under != (-1, -1):
            self._under = (-1, -1)
            self.hovered.emit(-1, -1)

    def viewportEvent(self, event: QEvent) -> bool:
        """Tell a plate's whole name, and the well."""
        if event.type() == QEvent.Type.ToolTip:
            plate, place = self._at(event.pos())
            words = ""
            if plate >= 0:
                row, column = divmod(place, self._shape[1])
                words = self._names[plate]
                if place >= 0:
                    from sslprofiler_core.plates import well_name

                    words += f"  {well_name(row + 1, column + 1)}"
            QToolTip.showText(event.globalPos(), words, self)
            return True
        return super().viewportEvent(event)
