"""How to read a plate map's colours: swatches of categories, or a ramp of numbers."""

from __future__ import annotations

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFontMetrics, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_sslprofiler import style

_LINE = 17
_SWATCH = 10


class Legend(QWidget):
    """Entries flow from left to right; their number decides the height, up to a few lines."""

    def __init__(self, parent: QWidget | None = None, most_lines: int = 4) -> None:
        super().__init__(parent)
        self._entries: tuple[tuple[str, str], ...] = ()
        self._limits: tuple[float, float] | None = None
        self._most = most_lines
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def show_entries(self, entries: tuple[tuple[str, str], ...], limits: tuple[float, float] | None = None) -> None:
        """Show categories as (words, colour), or the limits of a ramp."""
        self._entries, self._limits = entries, limits
        self.setToolTip("\n".join(words for words, _ in entries))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """As high as the entries need at the present width."""
        return QSize(200, self.heightForWidth(max(200, self.width())))

    def hasHeightForWidth(self) -> bool:
        """Entries wrap."""
        return True

    def heightForWidth(self, width: int) -> int:
        """The height that the entries need."""
        if self._limits is not None:
            return 2 * _LINE
        return _LINE * max(1, min(self._most, len(self._lines(width))))

    def _lines(self, width: int) -> list[list[tuple[str, str]]]:
        metrics = QFontMetrics(self.font())
        lines: list[list[tuple[str, str]]] = [[]]
        used = 0
        for words, colour in self._entries:
            text = metrics.elidedText(words, Qt.TextElideMode.ElideRight, 150)
            needed = _SWATCH + 5 + metrics.horizontalAdvance(text) + 12
            if lines[-1] and used + needed > width:
                lines.append([])
                used = 0
            lines[-1].append((text, colour))
            used += needed
        return lines

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        front = style.text(self)
        if self._limits is not None:
            self._paint_ramp(painter, front, self._limits)
        else:
            self._paint_entries(painter, front)
        painter.end()

    def _paint_ramp(self, painter: QPainter, front: QColor, limits: tuple[float, float]) -> None:
        bar = QRectF(0, 2, min(self.width(), 240), 10)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for i in range(9):
            gradient.setColorAt(i / 8, QColor(*style.sequential([i / 8])[0].tolist()))
        painter.fillRect(bar, gradient)
        painter.setPen(front)
        below = QRectF(bar.left(), bar.bottom() + 1, bar.width(), _LINE)
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, f"{limits[0]:g}")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{limits[1]:g}")

    def _paint_entries(self, painter: QPainter, front: QColor) -> None:
        metrics = QFontMetrics(self.font())
        lines = self._lines(self.width())
        for row, line in enumerate(lines[: self._most]):
            x = 0.0
            last = row == self._most - 1 and len(lines) > self._most
            for words, colour in line[:-1] if last else line:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(colour))
                painter.drawRoundedRect(QRectF(x, row * _LINE + 3, _SWATCH, _SWATCH), 2, 2)
                painter.setPen(front)
                width = metrics.horizontalAdvance(words)
                box = QRectF(x + _SWATCH + 5, row * _LINE, width + 2, _LINE)
                painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, words)
                x += _SWATCH + 5 + width + 12
            if last:
                more = sum(map(len, lines[self._most :])) + 1
                painter.drawText(QRectF(x, row * _LINE, 120, _LINE), Qt.AlignmentFlag.AlignVCenter, f"+ {more} more")
