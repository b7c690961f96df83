"""From napari's layers back to the browser: the layer that is chosen, or the site that is clicked, selects its row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from qtpy.QtCore import QObject

from napari_sslprofiler.lifetime import at_end

from .image_link import FOLLOWED
from .state import BrowserState

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer


class LayerLink(QObject):
    """Hears of the active layer and of clicks on napari's canvas.

    A chosen row is selected, unless a group is: what a lasso has taken is not lost by looking at a layer. The site on
    show becomes the current row; of a site beside it the row is pointed to, so that the query stays what it is.
    """

    def __init__(self, state: BrowserState, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state, self._viewer = state, viewer
        viewer.layers.selection.events.active.connect(self._activated)
        viewer.mouse_drag_callbacks.append(self._pressed)
        weak = ref(self)

        def forget() -> None:
            link = weak()
            if link is not None:
                link._forget()

        at_end(self, forget)

    def _forget(self) -> None:
        self._viewer.layers.selection.events.active.disconnect(self._activated)
        if self._pressed in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._pressed)

    def _activated(self, event: Any = None) -> None:
        self.pick(self._viewer.layers.selection.active)

    def _pressed(self, viewer: Any, event: Any) -> Iterator[None]:
        yield
        active = self._viewer.layers.selection.active
        drawing = active is not None and active.mode != "pan_zoom"
        if event.type == "mouse_move" or event.modifiers or drawing:
            return  # a drag pans; a click may paint labels, or add points
        place = np.asarray(event.position[-2:], float)
        for layer in reversed(self._viewer.layers):
            if layer.visible and layer.ndim == 2 and "well" in layer.metadata:
                low, high = layer.extent.world
                if (place >= low).all() and (place <= high).all():
                    self.pick(layer)
                    return

    def pick(self, layer: Layer | None) -> None:
        """Select the row that a layer's site is about; nothing for other layers, and without a row."""
        state, images = self._state, self._state.images
        if layer is None or images is None or len(state) > FOLLOWED:
            return
        found = layer.metadata
        if not {"plate", "well", "site", "file"} <= set(found):
            return
        row = images.row_at(found["plate"], found["well"], found["site"], found["file"], state.current)
        if row is None:
            return
        if int(state.selection.sum()) <= 1:
            state.select([row])
        beside = state.current is not None and row != state.current and self._is_beside(layer)
        if beside:
            state.hovered = row
        else:
            state.current = row

    def _is_beside(self, layer: Layer) -> bool:
        """Whether another site is on show to the left of it."""
        sites = [each for each in self._viewer.layers if "well" in each.metadata]
        return any(each.translate[-1] < layer.translate[-1] for each in sites)
