"""Keeps what the map draws up with the browser's state: rows as points, or as pictures made in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Qt, Signal

from napari_sslprofiler.background import Latest

from .canvas import MapCanvas
from .colouring import highlighted
from .density import CELL, HIDDEN, density_picture, looks_of, rows_seen
from .painted import paint_points
from .points_visual import Colour
from .state import BrowserState
from .viewport import Viewport

Mode = Literal["auto", "points", "density"]

# With more rows than this in view points overlap, and a density says more.
DENSE = 60_000
# Of more rows than this only those in view are drawn as points, and where these are many, painted in memory: software
# OpenGL draws a million points in half a second, in which the window stands still.
MANY = 200_000
_REACH = 8.0  # pixels outside the window from where a point may reach into it


@dataclass(frozen=True, eq=False)
class _Wish:
    """A picture of all rows: their density, or each a point of some pixels."""

    positions: NDArray[np.float32]
    codes: NDArray[np.uint16]
    looks: NDArray[np.uint8]
    palette: NDArray[np.uint8]
    view: Viewport
    dense: bool
    size: float
    ratio: float

    def picture(self) -> tuple[_Wish, NDArray[np.uint8]]:
        """Make it."""
        rows = (self.positions, self.codes, self.looks, self.palette, self.view)
        return self, density_picture(*rows) if self.dense else paint_points(*rows, self.size, self.ratio)

    @property
    def cell(self) -> float:
        """Pixels of the window a pixel of the picture."""
        return CELL if self.dense else 1.0 / self.ratio


class MapDrawing(QObject):
    """Draws a state's rows on a canvas.

    Signals
    -------
    refreshed
        Colours, the filter, the selection or the view have changed, and what is drawn follows.
    ready
        The rows are on show.
    """

    refreshed = Signal()
    ready = Signal()
    _wanted = Signal()

    def __init__(self, state: BrowserState, canvas: MapCanvas, parent: QObject) -> None:
        super().__init__(parent)
        self._state, self._canvas = state, canvas
        self._mode: Mode = "auto"
        self._view, self.fit_scale = Viewport(), 1.0
        self._back: Colour = (0.0, 0.0, 0.0)
        self._ink: Colour = (1.0, 1.0, 1.0)
        self.size = 10.0  # of points, pixels across
        self._looks = np.zeros(0, np.uint8)
        self._codes, self._palette = np.zeros(0, np.uint16), np.zeros((1, 3), np.uint8)
        self._recoloured = self._dense = False
        self._pictures: Latest[_Wish, tuple[_Wish, NDArray[np.uint8]]] = Latest(
            _Wish.picture, self._show_picture, parent=self
        )
        # A change of table, colours and filter comes as one. Queued, it comes before Qt paints what else has changed; a
        # timer comes after, and napari's window, composed in software, takes 20 ms for each frame.
        self._waiting = False
        self._wanted.connect(self._refresh, Qt.ConnectionType.QueuedConnection)
        for event in (state.events.colouring, state.events.filter, state.events.matches, state.events.selection):
            event.connect(self._recolour)

    @property
    def mode(self) -> Mode:
        """Points, their density, or the one that fits the number of rows in view."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        self._mode = mode
        self.want()

    @property
    def dense(self) -> bool:
        """Whether the density is on show."""
        return self._dense and self._canvas.pictured

    @property
    def busy(self) -> bool:
        """Whether something is still to be drawn."""
        return self._waiting or self._pictures.busy

    def set_places(self, positions: NDArray[np.float32] | None) -> None:
        """Other rows, (N, 2), or none."""
        self._canvas.set_places(np.zeros((0, 2), np.float32) if positions is None else positions)
        self._recolour()

    def set_view(self, view: Viewport) -> None:
        """Look at another part."""
        self._view = view
        self._canvas.set_view(view)
        self.want()

    def set_theme(self, background: Colour, ink: Colour) -> None:
        """The background, and the colour of what stands out on it."""
        self._back, self._ink = background, ink
        self._canvas.set_style(self.size, background, ink)

    def want(self) -> None:
        """Draw anew, once, before the window next paints."""
        if not self._waiting:
            self._waiting = True
            self._wanted.emit()

    def _recolour(self, *_: object) -> None:
        self._recoloured = True
        self.want()

    def _refresh(self) -> None:
        self._waiting = False
        state, positions, view = self._state, self._state.positions, self._view
        if positions is None or len(positions) != len(state):
            self._pictures.forget()
            self._canvas.show_points()
            self.refreshed.emit()
            return
        if self._recoloured:
            self._recoloured = False
            self._looks = looks_of(state.filter, state.selection, state.matches)
            self._codes, self._palette = highlighted(state.colouring, state.matches)
            self._canvas.set_looks(self._codes, self._looks, self._palette)
        in_view = rows_seen(positions, self._looks, view, _REACH)
        seen = int(np.count_nonzero(in_view))
        self.size = self._point_size()
        self._canvas.set_style(self.size, self._back, self._ink)
        many = len(positions) > MANY
        self._dense = self._mode == "density" or (self._mode == "auto" and seen > DENSE)
        if self._dense or (many and seen > DENSE):
            rows = (positions, self._codes, self._looks, self._palette)
            self._pictures.ask(_Wish(*rows, view, self._dense, self.size, self._canvas.pixel_scale))
        else:
            self._pictures.forget()
            self._canvas.show_points(np.flatnonzero(in_view) if many else None)
            self.ready.emit()
        self.refreshed.emit()

    def _show_picture(self, made: tuple[_Wish, NDArray[np.uint8]]) -> None:
        wish, picture = made
        self._canvas.show_picture(picture, wish.view, wish.cell)
        self._canvas.set_view(self._view)
        self.ready.emit()

    def _point_size(self) -> float:
        """Pixels across: larger for fewer rows and for a larger map; they grow a little as one comes nearer."""
        whole = max(int(np.count_nonzero(self._looks != HIDDEN)), 1)
        room = float(np.clip((min(self._view.width, self._view.height) / 550.0) ** 0.5, 0.7, 1.2))
        size = float(np.clip(46.0 * room / whole**0.22, 2.0, 12.0))
        nearer = max(self.fit_scale / self._view.scale, 1.0)
        return float(np.clip(size * nearer**0.3, 2.0, max(14.0, size)))
