"""The sites of a well where they lie in it: click one, or move with the arrow keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_sslprofiler import style

if TYPE_CHECKING:
    from sslprofiler_core.plates import Site

_CELL = 22
_STEPS = {Qt.Key.Key_Left: -1, Qt.Key.Key_Up: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Down: 1}


def site_places(sites: Sequence[Site]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Row and column of each site in its well, and the grid's shape.

    By stage position where all have one, else row by row in the order of their numbers.
    """
    if sites and all(site.position_um is not None for site in sites):
        xs = _steps([site.position_um[0] for site in sites if site.position_um])
        ys = _steps([-site.position_um[1] for site in sites if site.position_um])
        places = list(zip(ys, xs, strict=True))
        if len(set(places)) == len(sites) and max(max(xs), max(ys)) < 8:
            return places, (max(ys) + 1, max(xs) + 1)
    columns = max(1, math.ceil(math.sqrt(len(sites))))
    if len(sites) > 36:
        columns = 12
    places = [divmod(i, columns) for i in range(len(sites))]
    return places, (max(1, math.ceil(len(sites) / columns)), columns)


def _steps(values: Sequence[float]) -> list[int]:
    """Number positions along an axis; those closer than a tenth of the spread are one."""
    tolerance = 0.1 * (max(values) - min(values))
    levels: list[float] = []
    for value in sorted(values):
        if not levels or value - levels[-1] > tolerance:
            levels.append(value)
    return [min(range(len(levels)), key=lambda i: abs(levels[i] - value)) for value in values]


class SitePicker(QWidget):
    """Sites as numbered squares; ``picked`` gives the site's place in the sequence shown."""

    picked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sites: tuple[Site, ...] = ()
        self._places: list[tuple[int, int]] = []
        self._shape = (1, 1)
        self._current = -1
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Sites of the well")

    def show_sites(self, sites: Sequence[Site], current: int = -1) -> None:
        """Show a well's sites, one of them marked."""
        self._sites, self._current = tuple(sites), current
        self._places, self._shape = site_places(self._sites)
        known = all(site.position_um is not None for site in sites)
        self.setToolTip("Sites where they lie in the well" if known else "Sites by number; positions are not known")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """A comfortable square a site."""
        return QSize(self._shape[1] * _CELL + 2, self._shape[0] * _CELL + 2)

    def minimumSizeHint(self) -> QSize:
        """All sites."""
        return self.sizeHint()

    def _rect(self, number: int) -> QRectF:
        row, column = self._places[number]
        return QRectF(1 + column * _CELL, 1 + row * _CELL, _CELL - 2, _CELL - 2)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        front, faint = style.text(self), style.faint(self)
        font = QFont(self.font())
        font.setPixelSize(10)
        painter.setFont(font)
        for number, site in enumerate(self._sites):
            rect = self._rect(number)
            chosen = number == self._current
            painter.setBrush(QColor(style.CATEGORIES[0]) if chosen else faint)
            painter.setPen(QPen(front, 1.6) if chosen else Qt.PenStyle.NoPen)
            painter.drawRoundedRect(rect, 3, 3)
            painter.setPen(front)
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, str(site.site))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Pick the site under the pointer."""
        point = QPointF(event.position())
        for number in range(len(self._sites)):
            if self._rect(number).contains(point):
                self._pick(number)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Pick the next or the previous site."""
        step = _STEPS.get(Qt.Key(event.key()))
        if step is None or not self._sites:
            super().keyPressEvent(event)
            return
        self._pick(max(0, min(len(self._sites) - 1, self._current + step)))

    def _pick(self, number: int) -> None:
        self._current = number
        self.update()
        self.picked.emit(number)
