"""Room for a widget that is put into a dock as narrow as the one before it."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_sslprofiler.lifetime import later

_MOST = 0.42  # of the window: the canvas keeps the larger part


class DockRoom(QObject):
    """Widens a widget's dock when it is first shown; from then on the width is the person's own."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self._widening = later(self, 0, lambda: widen_dock(widget))  # the dock has its place by then
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Begin, and listen no more."""
        if event.type() == QEvent.Type.Show:
            watched.removeEventFilter(self)
            self._widening.start()
        return False


def widen_dock(widget: QWidget) -> None:
    """Give a widget's dock, at the left or right of a window, the width that the widget's hint asks for, or what can be
    had of it. A wider dock stays as it is, and so does one that floats.
    """
    dock = _above(widget, QDockWidget)
    window = _above(dock, QMainWindow)
    if not isinstance(dock, QDockWidget) or not isinstance(window, QMainWindow) or dock.isFloating():
        return
    sides = (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea)
    wanted = min(widget.sizeHint().width(), int(_MOST * window.width()))
    if window.dockWidgetArea(dock) in sides and dock.width() < wanted:
        window.resizeDocks([dock], [wanted], Qt.Orientation.Horizontal)


def _above(widget: QWidget | None, kind: type[QWidget]) -> QWidget | None:
    while widget is not None and not isinstance(widget, kind):
        widget = widget.parentWidget()
    return widget
