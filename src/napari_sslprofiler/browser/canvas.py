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

from .density import CELL
from .points_visual import Colour, Points
from .viewport import Viewport


class MapCanvas:
    """A vispy canvas with one points visual and one image; ``native`` is its widget."""

    def __init__(self, parent: QWidget | None = None) -> None:
        app.use_app(API_NAME.lower())
        self._canvas = SceneCanvas(keys=None, show=False, bgcolor="white", parent=parent)
        self._points = Points(parent=self._canvas.scene)
        self._points.transform = STTransform()
        self._picture = Image(
            np.zeros((1, 1, 4), np.uint8), interpolation="linear", parent=self._canvas.scene, method="subdivide"
        )
        self._picture.set_gl_state("translucent", depth_test=False)
        self._picture.transform = STTransform()
        self._picture.visible = False
        self._picture_view: Viewport | None = None
        self._codes = (np.zeros(0, np.uint16), np.zeros(0, np.uint8), np.zeros((1, 3), np.uint8))
        self._stale = False
        self._places: NDArray[np.float32] | None = None
        self._rows = 0
        self.frames = 0
        self._canvas.events.draw.connect(self._count, position="last")

    @property
    def native(self) -> QWidget:
        """The widget."""
        return self._canvas.native

    @property
    def dense(self) -> bool:
        """Whether the density is on show instead of points."""
        return bool(self._picture.visible)

    def set_places(self, positions: NDArray[np.float32]) -> None:
        """Places of all rows, (N, 2); points are uploaded when they are first on show."""
        self._places = positions
        self._rows = len(positions)
        self._stale = True
        # Nothing is drawn before it has its colours; a million points for nothing take half a second.
        self._points.visible = self._picture.visible = False
        self._picture_view = None
        self._canvas.update()

    def set_looks(self, codes: NDArray[np.uint16], looks: NDArray[np.uint8], palette: NDArray[np.uint8]) -> None:
        """Colours and looks of all rows; points that are not on show get them when they are."""
        self._codes = (codes, looks, palette)
        self._stale = True
        if self._points.visible:
            self._upload()

    def set_style(self, size: float, background: Colour, ink: Colour) -> None:
        """Diameter of points in pixels, the background, and the colour of what stands out on it."""
        self._points.set_style(size * self.pixel_scale, background, ink)
        self._canvas.bgcolor = (*background, 1.0)
        self._canvas.update()

    @property
    def pixel_scale(self) -> float:
        """Device pixels a pixel."""
        return float(self._canvas.pixel_scale)

    def show_points(self) -> None:
        """Draw each row."""
        self._points.visible = True
        self._picture.visible = False
        self._upload()

    def show_density(self, picture: NDArray[np.uint8], view: Viewport) -> None:
        """Draw a picture made by `density_picture` for a viewport."""
        self._picture.set_data(picture)
        self._picture_view = view
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
            self._picture.transform.scale = (CELL * grown, CELL * grown)
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

    def _upload(self) -> None:
        codes, looks, palette = self._codes
        if self._places is not None:
            self._points.set_places(self._places)
            self._places = None
        if self._stale and len(codes) == self._rows:
            self._points.set_looks(codes, looks, palette)
            self._stale = False
