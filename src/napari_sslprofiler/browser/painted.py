"""Each row as a point, painted into a picture in memory: for maps of so many rows that drawing them one by one, where
OpenGL is software, would stop the window. No Qt.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .density import BRIGHT, FAINT, PLAIN
from .viewport import Viewport

# As in `points_visual`.
_ALPHA = {FAINT: 0.14, PLAIN: 0.9, BRIGHT: 1.0}


def paint_points(
    positions: NDArray[np.float32],
    codes: NDArray[np.uint16],
    looks: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    view: Viewport,
    size: float = 2.0,
    ratio: float = 1.0,
) -> NDArray[np.uint8]:
    """Paint rows as points of a few pixels.

    Parameters
    ----------
    positions, codes, looks, palette
        As `density.density_picture` has them. Rows cover each other in a random order that stays the same, so that no
        plate covers the rest, and what stands out covers what does not.
    view
        What is on show.
    size
        Diameter in pixels of the window.
    ratio
        Device pixels a pixel of the window.

    Returns
    -------
    (height, width, 4) uint8 of device pixels, the first row at the top; transparent where no row is.
    """
    width, height = round(view.width * ratio), round(view.height * ratio)
    across = max(1, round(size * ratio))
    # A border as wide as a point: no point needs to be cut.
    row = width + 2 * across
    picture = np.zeros((height + 2 * across) * row, np.uint32)
    side = np.float32(view.scale / ratio)
    left, top = view.to_data(0.0, 0.0)
    corner = np.float32(0.5 * (across - 1))
    with np.errstate(invalid="ignore"):
        x = np.floor((positions[:, 0] - np.float32(left)) / side - corner)
        y = np.floor((np.float32(top) - positions[:, 1]) / side - corner)
        seen = (x >= -across) & (x < width) & (y >= -across) & (y < height)
        cells = (y + across).astype(np.int32) * np.int32(row) + (x + across).astype(np.int32)
    order = _order(len(positions))
    rows = order[seen[order]]
    places, own_looks, own_codes = cells[rows], looks[rows], codes[rows]
    offsets = _disc(across, row)
    for look, alpha in _ALPHA.items():
        here = own_looks == look
        if not here.any():
            continue
        whole = bool(here.all())
        at = places if whole else places[here]
        packed = np.empty((len(palette), 4), np.uint8)
        packed[:, :3], packed[:, 3] = palette, round(255 * alpha)
        colours = packed.view(np.uint32)[:, 0][own_codes if whole else own_codes[here]]
        for offset in offsets:
            picture[at + offset] = colours
    framed = picture.view(np.uint8).reshape(height + 2 * across, row, 4)
    return np.ascontiguousarray(framed[across:-across, across:-across])


@lru_cache(maxsize=1)
def _order(rows: int) -> NDArray[np.int32]:
    return np.random.default_rng(0).permutation(rows).astype(np.int32)


def _disc(across: int, row: int) -> list[np.int32]:
    """Places of a point's pixels from its upper left corner."""
    y, x = np.mgrid[:across, :across] - (across - 1) / 2
    inside = x**2 + y**2 <= max(across / 2, 0.75) ** 2 if across > 2 else np.ones((across, across), bool)
    rows, columns = np.nonzero(inside)
    return [np.int32(r * row + c) for r, c in zip(rows, columns, strict=True)]
