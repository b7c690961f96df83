"""Which part of the map is on show: data to pixels and back. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# How much room a fitted map leaves at its border, in parts of the window.
_MARGIN = 0.06


@dataclass(frozen=True, slots=True)
class Viewport:
    """A view of the plane: y points up, one scale for both axes.

    Parameters
    ----------
    x, y
        Data at the window's centre.
    scale
        Data units a pixel.
    width, height
        The window in pixels.
    """

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    width: int = 1
    height: int = 1

    @classmethod
    def around(cls, positions: NDArray[Any], width: int, height: int) -> Viewport:
        """Show all positions (n, 2), those that are NaN aside, with a margin."""
        # fmin and fmax pass over NaN, in a tenth of the time of leaving such rows out first.
        low = np.fmin.reduce(positions, axis=0, initial=np.inf).astype(float)
        high = np.fmax.reduce(positions, axis=0, initial=-np.inf).astype(float)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            return cls(width=width, height=height)
        room = 1.0 - 2.0 * _MARGIN
        scale = max((high[0] - low[0]) / (width * room), (high[1] - low[1]) / (height * room))
        if scale <= 0.0:  # one point, or all at one place
            scale = 1.0 / min(width, height)
        return cls(float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2, float(scale), width, height)

    def to_pixels(self, positions: NDArray[Any]) -> NDArray[np.float32]:
        """(n, 2) data -> (n, 2) pixels from the upper left corner."""
        pixels = np.empty((len(positions), 2), np.float32)
        # Relative to the centre first: float32 then suffices at any zoom.
        pixels[:, 0] = (positions[:, 0] - np.float32(self.x)) / np.float32(self.scale) + np.float32(self.width / 2)
        pixels[:, 1] = np.float32(self.height / 2) - (positions[:, 1] - np.float32(self.y)) / np.float32(self.scale)
        return pixels

    def to_data(self, x: float, y: float) -> tuple[float, float]:
        """Pixels -> data."""
        return (self.x + (x - self.width / 2) * self.scale, self.y - (y - self.height / 2) * self.scale)

    def zoomed(self, factor: float, x: float, y: float) -> Viewport:
        """Zoom in by a factor; what lies at pixel (x, y) stays there."""
        at_x, at_y = self.to_data(x, y)
        scale = self.scale / factor
        return replace(self, x=at_x + (self.x - at_x) / factor, y=at_y + (self.y - at_y) / factor, scale=scale)

    def moved(self, dx: float, dy: float) -> Viewport:
        """Drag the map by some pixels."""
        return replace(self, x=self.x - dx * self.scale, y=self.y + dy * self.scale)

    def centred(self, x: float, y: float) -> Viewport:
        """Put a place at the window's centre."""
        return replace(self, x=x, y=y)

    def resized(self, width: int, height: int) -> Viewport:
        """The same centre in a window of another size: what was seen whole still is."""
        factor = max(self.width / max(width, 1), self.height / max(height, 1)) if self.width > 1 else 1.0
        return replace(self, scale=self.scale * factor, width=width, height=height)
