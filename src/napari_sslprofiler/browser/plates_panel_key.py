"""What the plates' colours say: the column, and for numbers the ramp with its ends."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_sslprofiler import style

from .colouring import Colouring
from .columns import title_of
from .gallery_paint import painting
from .palette import hex_of, ramp

_RAMP = 90
# What computed columns are measured in.
UNITS = {
    "Metadata_ControlDistance": "cosine distance",
    "Metadata_QueryDistance": "cosine distance",
    "Metadata_NearestDistance": "cosine distance",
    "Metadata_LabelAgreement": "fraction",
}


class ColourKey(QWidget):
    """One line: the column's name and, for numbers, low, ramp, high and the unit."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._colouring: Colouring | None = None
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_colouring(self, colouring: Colouring) -> None:
        """Explain another colouring."""
        self._colouring = colouring
        self.setToolTip(self.words())
        self.update()

    def words(self) -> str:
        """What the colours say, without the colours."""
        colouring = self._colouring
        if colouring is None or colouring.kind in ("none", "search"):
            return ""
        title = title_of(colouring.column)
        if colouring.kind != "numeric":
            return title
        unit = UNITS.get(colouring.column, "")
        title = f"{title}, {unit}" if unit and unit not in title.lower() else title
        return f"{title}: {colouring.low:.3g} to {colouring.high:.3g}"

    def sizeHint(self) -> QSize:
        """A line of text."""
        return QSize(160, self.fontMetrics().height() + 4)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint words and ramp."""
        colouring = self._colouring
        if colouring is None:
            return
        with painting(self) as painter:
            painter.setPen(style.text(self))
            flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
            title, _, _ = self.words().partition(": ") if colouring.kind == "numeric" else (self.words(), "", "")
            metrics, room = self.fontMetrics(), self.width()
            if colouring.kind != "numeric":
                painter.drawText(self.rect(), flags, metrics.elidedText(title, Qt.TextElideMode.ElideRight, room))
                return
            low, high = f"{colouring.low:.3g}", f"{colouring.high:.3g}"
            ends = metrics.horizontalAdvance(low) + metrics.horizontalAdvance(high) + _RAMP + 24
            title = metrics.elidedText(title, Qt.TextElideMode.ElideRight, max(0, room - ends))
            painter.drawText(self.rect(), flags, title)
            x = float(metrics.horizontalAdvance(title) + 12)
            painter.drawText(QRectF(x, 0, 200, self.height()), flags, low)
            x += metrics.horizontalAdvance(low) + 5
            gradient = QLinearGradient(QPointF(x, 0), QPointF(x + _RAMP, 0))
            colours = ramp(9)
            for i, colour in enumerate(colours):
                gradient.setColorAt(i / (len(colours) - 1), QColor(hex_of(colour)))
            painter.fillRect(QRectF(x, self.height() / 2 - 5, _RAMP, 10), gradient)
            painter.drawText(QRectF(x + _RAMP + 5, 0, 200, self.height()), flags, high)
