"""A picture of how many rows lie where, in their colours: for maps whose points overlap. No Qt."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .viewport import Viewport

CELL = 2  # pixels of the window a cell
_FAINT = 0.06  # what a faint row counts

# What a point is drawn as; see `points_visual`.
PLAIN, FAINT, BRIGHT, HIDDEN = 0, 1, 2, 3


def density_picture(
    positions: NDArray[np.float32],
    codes: NDArray[np.uint16],
    looks: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    view: Viewport,
) -> NDArray[np.uint8]:
    """Count rows in cells of 2 x 2 pixels of a view and colour them.

    Parameters
    ----------
    positions, codes, looks
        (N, 2), (N,) and (N,): places, colours and how a row is drawn (``PLAIN``, ``FAINT``, ``BRIGHT``, ``HIDDEN``).
    palette
        (P, 3).
    view
        What is on show.

    Returns
    -------
    (height, width, 4) uint8 of cells, the first row at the top: the mean colour of a cell's rows, the more opaque the
    more there are (logarithm of the count to the power 1.6, full at the 99.5th percentile).
    """
    width, height = -(-view.width // CELL), -(-view.height // CELL)
    side = np.float32(view.scale * CELL)
    left, top = view.to_data(0.0, 0.0)
    with np.errstate(invalid="ignore"):
        x = np.floor((positions[:, 0] - np.float32(left)) / side)
        y = np.floor((np.float32(top) - positions[:, 1]) / side)
        seen = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (looks != HIDDEN)
    picture = np.zeros((height, width, 4), np.uint8)
    if not seen.any():
        return picture
    cells = y[seen].astype(np.int32) * np.int32(width) + x[seen].astype(np.int32)
    faint = looks[seen] == FAINT
    weights = np.where(faint, _FAINT, 1.0) if faint.any() else None
    size = width * height
    count = np.bincount(cells, weights, size).astype(np.float64)
    shades = palette.astype(np.float64)[codes[seen]]
    there = count > 0.0
    flat = picture.reshape(size, 4)
    for part in range(3):
        own = shades[:, part] if weights is None else shades[:, part] * weights
        total = np.bincount(cells, own, size)
        flat[there, part] = np.rint(total[there] / count[there])
    full = np.log1p(max(float(np.percentile(count[there], 99.5)), 1.0))
    strength = np.log1p(count[there]) / full
    # A single row must be seen, a faint one barely.
    alpha = np.clip(0.3 + 0.7 * strength**1.6, 0.0, 1.0) * np.clip(count[there] / 0.5, 0.25, 1.0)
    flat[there, 3] = np.rint(255.0 * alpha)
    return picture


def rows_seen(
    positions: NDArray[np.float32], looks: NDArray[np.uint8], view: Viewport, reach: float = 0.0
) -> NDArray[np.bool_]:
    """Rows that are not hidden and that a view shows, (N,); with ``reach``, also those so many pixels outside."""
    half_width, half_height = (view.width / 2 + reach) * view.scale, (view.height / 2 + reach) * view.scale
    with np.errstate(invalid="ignore"):
        seen = np.abs(positions[:, 0] - np.float32(view.x)) <= np.float32(half_width)
        seen &= np.abs(positions[:, 1] - np.float32(view.y)) <= np.float32(half_height)
    seen &= looks != HIDDEN
    return np.asarray(seen, np.bool_)


def count_seen(positions: NDArray[np.float32], looks: NDArray[np.uint8], view: Viewport) -> int:
    """How many rows that are not hidden a view shows."""
    return int(np.count_nonzero(rows_seen(positions, looks, view)))


def looks_of(shown: NDArray[Any], selection: NDArray[Any], matches: NDArray[Any] | None) -> NDArray[np.uint8]:
    """How each row is drawn, (N,).

    Selected rows stand out, and what a search finds. The others are faint when at least two rows are selected (one is
    marked with a ring instead), or when there is a search.
    """
    looks = np.zeros(len(shown), np.uint8)
    if matches is not None:
        looks[:] = np.where(matches, PLAIN, FAINT)
    if int(np.count_nonzero(selection)) > 1:
        looks[:] = np.where(selection, BRIGHT, FAINT)
    looks[~shown] = HIDDEN
    return looks
