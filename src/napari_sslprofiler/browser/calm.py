"""A widget whose inner layout is its own affair."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QSize
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QWidget


class Calm(QWidget):
    """Holds one widget, which fills it.

    In Qt's layouts a label with other words has the whole window laid out and painted again, up to napari's docks. Here
    that ends, unless what is held needs more room than before.
    """

    def __init__(self, content: QWidget | None = None) -> None:
        super().__init__()
        self.content: QWidget | None = None
        self._told = QSize()  # what those around know
        if content is not None:
            self.hold(content)

    def hold(self, content: QWidget) -> None:
        """Hold a widget, for good."""
        self.content = content
        content.setParent(self)
        content.setGeometry(self.rect())
        self.setSizePolicy(content.sizePolicy())
        content.show()
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        """Of what is held."""
        return self.content.sizeHint() if self.content is not None else super().sizeHint()

    def minimumSizeHint(self) -> QSize:
        """Of what is held; what has been set counts more than what it thinks itself, as in Qt's layouts."""
        if self.content is None:
            return super().minimumSizeHint()
        hint, given = self.content.minimumSizeHint(), self.content.minimumSize()
        self._told = QSize(given.width() or hint.width(), given.height() or hint.height())
        return QSize(self._told)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fill all of it."""
        if self.content is not None:
            self.content.setGeometry(self.rect())

    def event(self, event: QEvent) -> bool:
        """Tell those around only of another smallest size."""
        if event.type() == QEvent.Type.LayoutRequest:
            own, told = self.minimumSize(), self._told
            fixed = own.width() > 0 and own.height() > 0
            if not fixed and self.minimumSizeHint() != told:
                self.updateGeometry()
            return True
        return bool(super().event(event))
