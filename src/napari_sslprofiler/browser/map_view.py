"""The map: every row a point, or a density where points overlap; pan, zoom, lasso, hover, click."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPoint, Qt, Signal
from qtpy.QtGui import QColor, QKeyEvent, QResizeEvent
from qtpy.QtWidgets import QWidget

from napari_sslprofiler import style
from napari_sslprofiler.background import Latest

from .canvas import MapCanvas
from .hover_card import HoverCard
from .map_drawing import MapDrawing, Mode
from .overlay import Overlay
from .picking import Picker, within_lasso, within_rectangle
from .pointer import Pointer, Tool
from .state import BrowserState, How
from .viewport import Viewport

_TOOLS, _WORDS = 44, 20  # pixels that the map leaves free
_REACH = 12.0  # pixels from the pointer within which a row is found
NOTE = "Near means alike; distances between far groups mean little."

_DARK = ("#15171b", "#ffffff")
_LIGHT = ("#ffffff", "#16181c")


class MapView(QWidget):
    """The map of a browser's state. ``tool_changed`` gives the tool in hand, ``mode_changed`` the `mode`."""

    tool_changed = Signal(str)
    mode_changed = Signal(str)

    def __init__(self, state: BrowserState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._canvas = MapCanvas(self)
        self._canvas.native.setParent(self)
        self.overlay = Overlay(self)
        self.card = HoverCard(self)
        self._picker: Picker | None = None
        self._unpicked: NDArray[np.float32] | None = None
        self._drawing = MapDrawing(state, self._canvas, self)
        self._at_home = True
        self._pickers: Latest[NDArray[np.float32], Picker] = Latest(Picker, self._take_picker, parent=self)
        self.pointer = Pointer(self, self.overlay)
        self.setMinimumSize(200, 180)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Map")
        self._apply_theme()
        self._drawing.refreshed.connect(self._refresh_words)
        self._drawing.ready.connect(self._make_picker)
        events = state.events
        events.positions.connect(self._take_positions)
        events.hovered.connect(self._mark)
        events.current.connect(self._mark)
        events.neighbours.connect(self._mark_neighbours)
        self._take_positions(state.positions)

    # --- What is shown ---------------------------------------------------------------------------------------------

    @property
    def view(self) -> Viewport:
        """What part of the map is on show."""
        return self.overlay.view

    @view.setter
    def view(self, view: Viewport) -> None:
        self._at_home = False
        self.overlay.view = view
        if self._state.positions is not None:
            self._state.view = (view.x, view.y, view.scale)
        self._drawing.set_view(view)
        self.overlay.update()

    @property
    def mode(self) -> Mode:
        """Points, their density, or the one that fits the number of rows in view."""
        return self._drawing.mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode != self._drawing.mode:
            self._drawing.mode = mode
            self.mode_changed.emit(mode)

    @property
    def dense(self) -> bool:
        """Whether the density is on show."""
        return self._drawing.dense

    @property
    def frames(self) -> int:
        """How often the map has been drawn."""
        return self._canvas.frames

    @property
    def drawn(self) -> bool:
        """Whether the table on show has been drawn."""
        return self._canvas.drawn

    @property
    def drawing(self) -> bool:
        """Whether something is still to be drawn."""
        return self._drawing.busy

    @property
    def busy(self) -> bool:
        """Whether something is still to be drawn or made ready for the pointer."""
        return self.drawing or self._pickers.busy

    def say(self, message: str) -> None:
        """Write words in the middle, instead of points."""
        self.overlay.message = message
        self.overlay.update()

    def _mark_neighbours(self, rows: NDArray[np.int64]) -> None:
        """Draw lines from the current row to these."""
        positions = self._state.positions
        self.overlay.marks.neighbours = () if positions is None else tuple(positions[rows])
        self.overlay.update()

    def home(self) -> None:
        """Show all rows that are shown."""
        positions = self._state.positions
        if positions is not None and self.width() > 1:
            shown = positions[self._state.filter] if self._state.filtered else positions
            # The tools stand at the left, the words at the bottom.
            inner = Viewport.around(shown, self.width() - _TOOLS, self.height() - _WORDS)
            middle = inner.moved(_TOOLS / 2, -_WORDS / 2)
            self.view = Viewport(middle.x, middle.y, inner.scale, self.width(), self.height())
            self._drawing.fit_scale = self.view.scale
            self._at_home = True

    @property
    def at_home(self) -> bool:
        """Whether the view is the one that shows all; it then stays so when the window changes."""
        return self._at_home

    def centre_on_current(self) -> None:
        """Put the current row in the middle."""
        place = self._place(self._state.current)
        if place is not None and np.isfinite(place).all():
            self.view = self.view.centred(float(place[0]), float(place[1]))

    # --- The pointer -----------------------------------------------------------------------------------------------

    @property
    def tool(self) -> Tool:
        """What a drag does."""
        return self.pointer.tool

    @tool.setter
    def tool(self, tool: Tool) -> None:
        if tool != self.pointer.tool:
            self.pointer.tool = tool
            self.tool_changed.emit(tool)

    def row_at(self, x: float, y: float) -> int | None:
        """The shown row nearest to a pixel, within reach."""
        if self._picker is None:
            return None
        at = self.view.to_data(x, y)
        shown = self._state.filter
        return self._picker.nearest(*at, _REACH * self.view.scale, None if shown.all() else shown)

    def hover(self, x: float, y: float) -> None:
        """The pointer is at a pixel."""
        row = self.row_at(x, y)
        self._state.hovered = row
        if row is None:
            self.card.hide()
        else:
            self.card.show_row(self._state, row, QPoint(round(x), round(y)))

    def leave(self) -> None:
        """The pointer is gone."""
        self._state.hovered = None
        self.card.hide()

    def click(self, x: float, y: float, how: How) -> None:
        """Make the row under the pointer current and select it; beside all rows, end the selection."""
        row = self.row_at(x, y)
        if row is None:
            if how == "replace":
                self._state.clear_selection()
            return
        self._state.select([row], how)
        if how != "remove":
            self._state.current = row

    def select_within(self, corners: list[tuple[float, float]], rectangle: bool, how: How) -> None:
        """Select the shown rows within a lasso or a rectangle, in pixels."""
        positions = self._state.positions
        if positions is None:
            return
        data = [self.view.to_data(*corner) for corner in corners]
        inside = (
            within_rectangle(positions, data[0], data[-1]) if rectangle else within_lasso(positions, np.array(data))
        )
        self._state.select(inside & self._state.filter, how)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keys of the map; see the toolbar's tips."""
        state, key = self._state, event.key()
        actions: dict[Qt.Key, Callable[[], None]] = {
            Qt.Key.Key_Home: self.home,
            Qt.Key.Key_H: self.home,
            Qt.Key.Key_C: self.centre_on_current,
            Qt.Key.Key_I: state.invert,
            Qt.Key.Key_Escape: self._escape,
            Qt.Key.Key_Plus: lambda: self._zoom(1.3),
            Qt.Key.Key_Minus: lambda: self._zoom(1 / 1.3),
        }
        tools: dict[Qt.Key, Tool] = {Qt.Key.Key_P: "pan", Qt.Key.Key_L: "lasso", Qt.Key.Key_R: "rectangle"}
        if key == Qt.Key.Key_A and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            state.select_all()
        elif key in tools:
            self.tool = tools[key]
        elif key in actions:
            actions[key]()
        else:
            super().keyPressEvent(event)

    def _zoom(self, factor: float) -> None:
        self.view = self.view.zoomed(factor, self.width() / 2, self.height() / 2)

    def _escape(self) -> None:
        if not self.pointer.cancel():
            self._state.clear_selection()

    # --- From the state to the canvas ------------------------------------------------------------------------------

    def _take_positions(self, positions: NDArray[np.float32] | None) -> None:
        self._picker, self._unpicked = None, None
        self.overlay.marks.neighbours = ()
        if positions is None:
            self._pickers.forget()
        self._drawing.set_places(positions)
        if positions is not None:
            self._unpicked = positions
            self._look()
            self.overlay.message = ""
        self._mark()

    def _look(self) -> None:
        """Look at all, or at what a saved state did, once it can be seen."""
        self.home()
        if self._state.wanted_view is not None and self._state.positions is not None and self.width() > 1:
            self.view = Viewport(*self._state.wanted_view, self.width(), self.height())
            self._state.wanted_view = None

    def _take_picker(self, picker: Picker) -> None:
        self._picker = picker

    def _refresh_words(self) -> None:
        state, positions = self._state, self._state.positions
        counts = [f"{len(state):,} {state.table.unit}{'' if len(state) == 1 else 's'}"] if state.table else []
        if state.filtered:
            counts.append(f"{int(state.filter.sum()):,} shown")
        chosen = len(state.selected_rows())
        if chosen:
            counts.append(f"{chosen:,} selected")
        self.overlay.counts = "   ".join(counts)
        self.overlay.note = NOTE if positions is not None else ""
        self.overlay.marks.radius = self._drawing.size / 2
        self.overlay.update()

    def _make_picker(self) -> None:
        """Only after the first picture: the two would share the cores."""
        if self._unpicked is not None:
            self._pickers.ask(self._unpicked)
            self._unpicked = None

    def _place(self, row: int | None) -> NDArray[np.float32] | None:
        positions = self._state.positions
        return None if row is None or positions is None else positions[row]

    def _mark(self, *_: object) -> None:
        marks = self.overlay.marks
        marks.hovered, marks.current = self._place(self._state.hovered), self._place(self._state.current)
        self.overlay.update()

    # --- Size and theme --------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep what is seen in view."""
        first = self.view.width <= 1
        self._canvas.native.setGeometry(self.rect())
        self.overlay.setGeometry(self.rect())
        self.overlay.raise_()
        if first:
            self.overlay.view = Viewport(width=self.width(), height=self.height())
            self._look()
        else:
            home = self._at_home
            grown = self.view.resized(self.width(), self.height())
            self._drawing.fit_scale *= grown.scale / self.view.scale
            self.view = grown
            if home:
                self.home()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        if event.type() in (QEvent.Type.StyleChange, QEvent.Type.PaletteChange, QEvent.Type.ParentChange):
            self._apply_theme()
        super().changeEvent(event)

    def showEvent(self, event: QEvent) -> None:
        """The theme is known once there is a window."""
        self._apply_theme()
        self.overlay.raise_()

    def _colours(self) -> tuple[str, str]:
        return _DARK if style.is_dark(self) else _LIGHT

    def _apply_theme(self) -> None:
        back, ink = self._colours()
        self.overlay.ink = QColor(ink)
        self.card.set_theme(style.is_dark(self))
        self._drawing.set_theme(_rgb(back), _rgb(ink))
        self.overlay.update()

    def grab_map(self) -> NDArray[np.uint8]:
        """The points as drawn, (H, W, 3) uint8, without what lies over them."""
        return self._canvas.grab()


def _rgb(colour: str) -> tuple[float, float, float]:
    parts = QColor(colour)
    return parts.redF(), parts.greenF(), parts.blueF()
