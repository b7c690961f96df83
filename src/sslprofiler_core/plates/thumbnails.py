"""Sites at one eighth: for galleries and plate maps, where whole sites would be read to be thrown away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .reading import read_site
from .types import Site

FACTOR = 8


def read_thumbnail(site: Site, channels: Sequence[int] | None = None) -> NDArray[np.uint16]:
    """Read a site at one eighth of its size.

    A plate store has such a level; of other plates the whole planes are decoded and averaged, to the same values.

    Parameters
    ----------
    channels
        As in ``read_site``.

    Returns
    -------
    (C, ceil(H / 8), ceil(W / 8)) uint16 in raw units: means of 8 x 8 pixels, rounded half up; blocks at the lower and
    right edge hold what pixels there are.

    Raises
    ------
    UserError
        As ``read_site``.
    """
    return block_means(read_site(site, channels))


def block_means(image_CHW: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Average blocks of 8 x 8 pixels, rounding half up: (C, ceil(H / 8), ceil(W / 8)) uint16.

    The sums are exact integers, so that a thumbnail has one value whichever way it is made.
    """
    channels, height, width = image_CHW.shape
    rows = np.zeros((channels, -(-height // FACTOR), width), np.uint32)
    for k in range(min(FACTOR, height)):
        part = image_CHW[:, k::FACTOR]
        rows[:, : part.shape[1]] += part
    sums = np.zeros((channels, rows.shape[1], -(-width // FACTOR)), np.uint32)
    for k in range(min(FACTOR, width)):
        part = rows[:, :, k::FACTOR]
        sums[:, :, : part.shape[2]] += part
    counts = np.multiply.outer(_run_lengths(height), _run_lengths(width))
    return np.asarray((sums + counts // 2) // counts, np.uint16)


def _run_lengths(length: int) -> NDArray[np.uint32]:
    starts = np.arange(0, length, FACTOR)
    return np.minimum(FACTOR, length - starts).astype(np.uint32)
