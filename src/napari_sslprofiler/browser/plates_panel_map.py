"""The large plate. A well's words are made when the pointer rests on it: all of them take longer than the colours."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QToolTip

from napari_sslprofiler.plates.plate_map import PlateMap


class TellingMap(PlateMap):
    """A plate map that asks for a well's words."""

    words_of: Callable[[str], str] = staticmethod(str)

    def event(self, event: QEvent) -> bool:
        """Show a well's tooltip."""
        if event.type() == QEvent.Type.ToolTip:
            well = self._well_at(event.pos())
            QToolTip.showText(event.globalPos(), self.words_of(well) if well else "", self)
            return True
        return bool(super().event(event))
