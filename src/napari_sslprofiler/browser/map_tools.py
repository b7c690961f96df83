"""The strip of tools over the map's corner."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QFrame, QToolButton, QVBoxLayout

from napari_sslprofiler import style

from .icons import icon
from .map_view import MapView
from .overlay import ACCENT
from .pointer import Tool

_TOOLS: tuple[Tool, ...] = ("pan", "lasso", "rectangle")
_TIPS = {
    "pan": "Pan (P). The wheel zooms; Ctrl or Shift and a drag lasso",
    "lasso": "Lasso (L). Ctrl adds to the selection, Shift takes away",
    "rectangle": "Rectangle (R). Ctrl adds to the selection, Shift takes away",
    "home": "Show all (H)",
    "centre": "Centre on the current row (C)",
    "density": "Density: automatic, always, or never",
}
_SIDE = 28


class MapTools(QFrame):
    """Pan, lasso, rectangle; home, centre; density."""

    def __init__(self, map_view: MapView) -> None:
        super().__init__(map_view)
        self._map = map_view
        self.setObjectName("map_tools")
        self.buttons: dict[str, QToolButton] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(3, 3, 3, 3)
        layout.setSpacing(2)
        for name, tip in _TIPS.items():
            button = QToolButton()
            button.setToolTip(tip)
            button.setAccessibleName(tip)
            button.setFixedSize(_SIDE, _SIDE)
            button.setIconSize(QSize(20, 20))
            button.setAutoRaise(True)
            button.setCheckable(name in (*_TOOLS, "density"))
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            self.buttons[name] = button
            if name in ("home", "density"):
                layout.addSpacing(5)
            layout.addWidget(button)
        for tool in _TOOLS:
            self.buttons[tool].clicked.connect(partial(self._take, tool))
        self.buttons["home"].clicked.connect(map_view.home)
        self.buttons["centre"].clicked.connect(map_view.centre_on_current)
        self.buttons["density"].clicked.connect(self._turn)
        map_view.tool_changed.connect(self._refresh)
        map_view.mode_changed.connect(self._refresh)
        self.move(8, 8)
        self._apply_theme()
        self._refresh()

    def _take(self, tool: Tool) -> None:
        self._map.tool = tool
        self._refresh()

    def _turn(self) -> None:
        """From automatic to what is not on show, and back."""
        self._map.mode = "auto" if self._map.mode != "auto" else "points" if self._map.dense else "density"
        self._refresh()

    def _refresh(self, *_: object) -> None:
        for tool in _TOOLS:
            self.buttons[tool].setChecked(self._map.tool == tool)
        self.buttons["density"].setChecked(self._map.mode != "auto")
        words = {"auto": "automatic", "points": "never", "density": "always"}[self._map.mode]
        self.buttons["density"].setToolTip(f"Density: {words}. It shows where points overlap")

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        if event.type() == QEvent.Type.ParentChange:
            self._apply_theme()
        super().changeEvent(event)

    def showEvent(self, event: QEvent) -> None:
        """The theme is known once there is a window."""
        self._apply_theme()

    def _apply_theme(self) -> None:
        dark = style.is_dark(self)
        back, line = ("rgba(43,46,53,215)", "#444952") if dark else ("rgba(255,255,255,225)", "#d3d6db")
        ink = QColor("#e8eaed" if dark else "#30343b")
        # Under 28 pixels napari's own style would pad the icons away.
        self.setStyleSheet(
            f"#map_tools {{ background: {back}; border: 1px solid {line}; border-radius: 6px; }}"
            "#map_tools QToolButton { background: transparent; border: 1px solid transparent; border-radius: 4px;"
            " padding: 0; margin: 0; min-width: 0; min-height: 0; }"
            f"#map_tools QToolButton:hover {{ background: {line}; }}"
            f"#map_tools QToolButton:checked {{ border-color: {ACCENT}; background: transparent; }}"
            f"#map_tools QToolButton:focus {{ border-color: {ink.name()}; }}"
        )
        for name, button in self.buttons.items():
            button.setIcon(icon(name, ink))
        self.adjustSize()
