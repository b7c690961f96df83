"""Colours of points: categories that can be told apart on black and on white, and a ramp. No Qt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Paul Tol's bright, vibrant and muted schemes, the most frequent category first; each stands out on both themes.
CATEGORIES = (
    "#4e8fd9",
    "#ee6677",
    "#3fa64f",
    "#d9b83b",
    "#5cc5e0",
    "#b65ac0",
    "#ee8844",
    "#2fae98",
    "#a3bf3c",
    "#8a7ae0",
    "#d15b8f",
    "#b98a5a",
    "#6f9c2f",
    "#7fb0ee",
    "#c94f4f",
    "#1f8f8f",
    "#e3a6c8",
    "#9a9a3a",
    "#6f7fb0",
    "#c27ae0",
)
OTHER = "#868b94"
MISSING = "#60656e"
MATCH = "#ff4fa3"  # rows that a search finds: in no scheme above
PLAIN = "#6fa8dc"
STEPS = 256

# Viridis (Smith and van der Walt 2015) from 0.2 on: its first purples drown on a dark background.
_RAMP = np.array(
    [[74, 84, 160], [55, 104, 160], [41, 128, 158], [33, 150, 150], [42, 174, 127], [86, 199, 103], [162, 219, 58],
     [253, 231, 60]],
    np.float64,
)  # fmt: skip


def rgb(colour: str) -> tuple[int, int, int]:
    """``"#rrggbb"`` as three numbers from 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def hex_of(colour: NDArray[np.uint8]) -> str:
    """Three numbers as ``"#rrggbb"``."""
    return "#{:02x}{:02x}{:02x}".format(*(int(part) for part in colour))


def ramp(steps: int = STEPS) -> NDArray[np.uint8]:
    """Colours from low to high, (steps, 3)."""
    place = np.linspace(0.0, len(_RAMP) - 1.0, steps)
    at = np.arange(len(_RAMP))
    return np.rint(np.stack([np.interp(place, at, _RAMP[:, i]) for i in range(3)], axis=-1)).astype(np.uint8)
