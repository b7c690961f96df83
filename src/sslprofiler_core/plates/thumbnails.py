"""Sites at one eighth: for galleries and plate maps, where whole sites would be read to be thrown away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .compiled import loops_for
from .headers import read_header
from .reading import read_planes, read_site
from .types import Site
from .zarr_metadata import read_attributes

FACTOR = 8
# The level of a plate store that holds thumbnails.
THUMBNAIL = "1"


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
    stored = _stored_thumbnail(site, channels)
    return block_means(read_site(site, channels)) if stored is None else stored


def _stored_thumbnail(site: Site, channels: Sequence[int] | None) -> NDArray[np.uint16] | None:
    """Read a plate store's thumbnail; None where there is none that has the same values as block means."""
    if not site.planes or len(set(site.paths)) > 1:
        return None
    field = site.paths[0].parent
    try:
        own = read_attributes(field).get("sslprofiler")
    except OSError:
        return None
    if not isinstance(own, dict) or own.get("thumbnail") != THUMBNAIL:
        return None
    planes = site.planes if channels is None else [site.planes[channel] for channel in channels]
    small = read_planes(field / THUMBNAIL, planes)
    if site.tile is None:
        return np.asarray(small, np.uint16)
    row, column, n = site.tile
    height, width = (side // n for side in read_header(site.paths[0], 0).shape)
    if height % FACTOR or width % FACTOR:
        return None  # a piece whose blocks are not the whole site's
    height, width = height // FACTOR, width // FACTOR
    piece = np.asarray(small, np.uint16)[:, row * height : (row + 1) * height, column * width : (column + 1) * width]
    return piece.copy()


def block_means(image_CHW: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Average blocks of 8 x 8 pixels, rounding half up: (C, ceil(H / 8), ceil(W / 8)) uint16.

    The sums are exact integers, so that a thumbnail has one value whichever way it is made: here, or by a compiled loop
    (see ``compiled``).
    """
    channels, height, width = image_CHW.shape
    loops = loops_for(image_CHW.size)
    if loops is not None and image_CHW.flags.c_contiguous:
        means = np.empty((channels, -(-height // FACTOR), -(-width // FACTOR)), np.uint16)
        loops.average_blocks(image_CHW, means, np.uint32(FACTOR))
        return means
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
