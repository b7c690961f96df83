"""Views and settings share the preview: beside each other where there is room, else one above the other."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QSplitter, QWidget

from napari_sslprofiler.lifetime import later


class ViewsAndSettings(QSplitter):
    """Views as high as their row of pictures, settings the rest; a person who moves the handle decides."""

    def __init__(self, views: QWidget, settings: QWidget, spare: Callable[[int], int]) -> None:
        """``spare`` gives how many pixels of height the views have too many, of a splitter of some height."""
        super().__init__(Qt.Orientation.Vertical)
        self._spare = spare
        self._moved = False
        self._sharing = later(self, 0, self._share)
        self.setChildrenCollapsible(False)
        self.addWidget(views)
        self.addWidget(settings)
        self.setStretchFactor(0, 0)
        self.setStretchFactor(1, 1)
        self.splitterMoved.connect(self._keep)

    def share(self) -> None:
        """Share the room anew, soon: what the views hold has changed."""
        self._sharing.start()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Choose the direction."""
        wide = event.size().width() > 1.6 * max(1, event.size().height())
        orientation = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if self.orientation() != orientation:
            self.setOrientation(orientation)
        super().resizeEvent(event)
        self.share()

    def _keep(self) -> None:
        self._moved = True

    def _share(self) -> None:
        if self._moved:
            return
        if self.orientation() == Qt.Orientation.Horizontal:
            self.setSizes([1000, 1000])
            return
        whole = self.height()
        high = self.sizes()[0] - self._spare(whole)
        self.setSizes([high, max(0, whole - high)])
