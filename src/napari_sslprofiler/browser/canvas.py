"""The map's drawing surface: points, or a picture of their density, through a viewport."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy import API_NAME
from qtpy.QtWidgets import QWidget
from vispy import app
from vispy.scene import SceneCanvas
from vispy.scene.visuals import Image
from vispy.visuals.transforms import STTransform

from .points_visual import Colour, Points
from .viewport import Viewport


class MapCanvas:
    """A vispy canvas with one points visual and one image; ``native`` is its widget.

    ``frames`` counts what has been drawn; ``drawn`` says whether the last frame had the present rows on it.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        app.use_app(API_NAME.lower())
        # Qt composes the window from what is drawn: to swap buffers of its own would only wait for it.
        self._canvas = SceneCanvas(keys=None, show=False, bgcolor="white", parent=parent, autoswap=False)
        self._points = Points(parent=self._canvas.scene)
        self._points.transform = STTransform()
        self._picture = Image(
            np.zeros((1, 1, 4), np.uint8), interpolation="linear", parent=self._canvas.scene, method="subdivide"
        )
        self._picture.set_gl_state("translucent", depth_test=False)
        self._picture.transform = STTransform()
        self._picture.visible = False
        self._picture_view: Viewport | None = None
        self._cell = 1.0  # pixels of the window a pixel of the picture
        self._places = np.zeros((0, 2), np.float32)
        self._codes = (np.zeros(0, np.uint16), np.zeros(0, np.uint8), np.zeros((1, 3), np.uint8))
        self._placed = self._coloured = False  # whether the points drawn are all rows, in their places and colours
        self.frames = 0
        self.drawn = False
        self._canvas.events.draw.connect(self._count, position="last")

    @property
    def native(self) -> QWidget:
        """The widget."""
        return self._canvas.native

    @property
    def pictured(self) -> bool:
        """Whether a picture is on show instead of points."""
        return bool(self._picture.visible)

    def set_places(self, positions: NDArray[np.float32]) -> None:
        """Places of all rows, (N, 2); points are uploaded when they are first on show."""
        self._places = positions
        self._placed = self._coloured = self.drawn = False
        # Nothing is drawn before it has its colours; a million points for nothing take half a second.
        self._points.visible = self._picture.visible = False
        self._picture_view = None
        self._canvas.update()

    def set_looks(self, codes: NDArray[np.uint16], looks: NDArray[np.uint8], palette: NDArray[np.uint8]) -> None:
        """Colours and looks of all rows; `show_points` uploads them."""
        self._codes = (codes, looks, palette)
        self._coloured = False

    def set_style(self, size: float, background: Colour, ink: Colour) -> None:
        """Diameter of points in pixels, the background, and the colour of what stands out on it."""
        self._points.set_style(size * self.pixel_scale, background, ink)
        self._canvas.bgcolor = (*background, 1.0)
        self._canvas.update()

    @property
    def pixel_scale(self) -> float:
        """Device pixels a pixel."""
        return float(self._canvas.pixel_scale)

    def show_points(self, rows: NDArray[np.integer] | None = None) -> None:
        """Draw each row, or only some: those in view, of very many."""
        codes, looks, palette = self._codes
        if len(codes) == len(self._places):
            if rows is not None:
                self._points.set_places(self._places[rows])
                self._points.set_looks(codes[rows], looks[rows], palette)
                self._placed = self._coloured = False
            else:
                if not self._placed:
                    self._points.set_places(self._places)
                if not (self._placed and self._coloured):
                    self._points.set_looks(codes, looks, palette)
                self._placed = self._coloured = True
        self._points.visible = True
        self._picture.visible = False
        self._canvas.update()

    def show_picture(self, picture: NDArray[np.uint8], view: Viewport, cell: float) -> None:
        """Draw a picture (h, w, 4) made for a viewport; each of its pixels is ``cell`` pixels of the window."""
        self._picture.set_data(picture)
        self._picture_view, self._cell = view, cell
        self._points.visible = False
        self._picture.visible = True
        self._canvas.update()

    def set_view(self, view: Viewport) -> None:
        """Look at another part; a picture of the density moves with it until the next comes."""
        scale = 1.0 / view.scale
        self._points.transform.scale = (scale, -scale)
        self._points.transform.translate = (view.width / 2 - view.x * scale, view.height / 2 + view.y * scale)
        if self._picture_view is not None:
            old = self._picture_view
            grown = old.scale / view.scale
            left, top = old.to_data(0.0, 0.0)
            self._picture.transform.scale = (self._cell * grown, self._cell * grown)
            self._picture.transform.translate = (
                view.width / 2 + (left - view.x) * scale,
                view.height / 2 - (top - view.y) * scale,
            )
        self._canvas.update()

    def grab(self) -> NDArray[np.uint8]:
        """What is on show, (H, W, 3) uint8."""
        picture: Any = self._canvas.render(alpha=False)
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Give the context back."""
        self._canvas.close()

    def _count(self, event: object) -> None:
        self.frames += 1
        self.drawn = bool(self._points.visible or self._picture.visible)
