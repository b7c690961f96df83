"""The mouse on the map: drag to pan, to lasso or for a rectangle; click; the wheel zooms at the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QMouseEvent, QWheelEvent

from .overlay import Overlay
from .state import How

if TYPE_CHECKING:
    from .map_view import MapView

Tool = Literal["pan", "lasso", "rectangle"]

_CLICK = 4.0  # pixels that a click may shake


class Pointer(QObject):
    """Turns the overlay's mouse events into what the map does.

    The left button uses the tool, the middle one pans. Ctrl adds to the selection, Shift takes away from it; with
    either, a drag selects even with the pan tool.
    """

    def __init__(self, map_view: MapView, overlay: Overlay) -> None:
        super().__init__(map_view)
        self._map, self._overlay = map_view, overlay
        self.tool: Tool = "pan"
        self._press: QPointF | None = None
        self._last: QPointF | None = None
        self._doing: Tool = "pan"
        self._dragged = False
        overlay.installEventFilter(self)

    def cancel(self) -> bool:
        """Drop a lasso that is being drawn; whether there was one."""
        drawing = bool(self._overlay.lasso)
        self._press = None
        self._overlay.lasso = []
        self._overlay.update()
        return drawing

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Handle the overlay's mouse."""
        kind = event.type()
        if kind == QEvent.Type.Leave:
            self._map.leave()
            return False
        if isinstance(event, QWheelEvent):
            self._wheel(event)
            return True
        if isinstance(event, QMouseEvent):
            if kind in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonDblClick):
                self._pressed(event)
            elif kind == QEvent.Type.MouseMove:
                self._moved(event)
            elif kind == QEvent.Type.MouseButtonRelease:
                self._released(event)
            else:
                return False
            return True
        return False

    def _wheel(self, event: QWheelEvent) -> None:
        steps = event.angleDelta().y() / 120.0
        at = event.position()
        self._map.view = self._map.view.zoomed(1.25**steps, at.x(), at.y())
        self._map.hover(at.x(), at.y())

    def _pressed(self, event: QMouseEvent) -> None:
        self._map.setFocus(Qt.FocusReason.MouseFocusReason)
        if event.button() not in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            return
        self._press = self._last = event.position()
        self._dragged = False
        self._doing = self.tool
        if event.button() == Qt.MouseButton.MiddleButton:
            self._doing = "pan"
        elif self.tool == "pan" and _how(event) != "replace":
            self._doing = "lasso"

    def _moved(self, event: QMouseEvent) -> None:
        at = event.position()
        if self._press is None or self._last is None:
            self._map.hover(at.x(), at.y())
            return
        moved = at - self._press
        if not self._dragged and abs(moved.x()) + abs(moved.y()) < _CLICK:
            return
        if not self._dragged:
            self._dragged = True
            self._map.leave()
            self._overlay.rectangle = self._doing == "rectangle"
            if self._doing != "pan":
                self._overlay.lasso = [(self._press.x(), self._press.y())]
        if self._doing == "pan":
            self._map.view = self._map.view.moved(at.x() - self._last.x(), at.y() - self._last.y())
        elif self._overlay.lasso:
            self._overlay.lasso.append((at.x(), at.y()))
            self._overlay.update()
        self._last = at

    def _released(self, event: QMouseEvent) -> None:
        if self._press is None:
            return
        self._press = None
        at = event.position()
        corners, self._overlay.lasso = self._overlay.lasso, []
        self._overlay.update()
        if not self._dragged:
            if event.button() == Qt.MouseButton.LeftButton:
                self._map.click(at.x(), at.y(), _how(event))
        elif self._doing != "pan" and len(corners) > 1:
            self._map.select_within(corners, self._doing == "rectangle", _how(event))


def _how(event: QMouseEvent) -> How:
    keys = event.modifiers()
    if keys & Qt.KeyboardModifier.ControlModifier:
        return "add"
    return "remove" if keys & Qt.KeyboardModifier.ShiftModifier else "replace"
