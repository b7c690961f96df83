"""Flat-field correction, looked for in the plate itself: how bright each part of the field of view is lit.

Our choice, off by default: one field per plate and channel from many of its sites, after CellProfiler's
CorrectIlluminationCalculate ("All" images, "Background", smoothed). Of each block of the field of view, the tenth
percentile of its mean level over the sites is what it shows without cells, since cells are elsewhere on each site; a
quadratic surface fitted to these, and what it leaves smoothed with a Gaussian, make the field, whose mean is 1. Raw
intensities are divided by it. (On simulated plates the median or the mean over 96 sites are 2 to 5 % off, this 0.3 %:
the light is the same on all sites, the cells are not.)

BaSiC (Peng et al. 2017) models such a field and a dark one by their sparsity; its Python package wants numpy below 2.
Like CellProfiler's, ours has no dark field: a camera's offset is divided as if it were light, and in the share that it
has of an empty site's level, the unevenness stays.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.progress import progress_bar

from .channels import select_channels
from .intensity import measure_planes, sample_sites
from .reading import read_plane
from .remote import fetch_all
from .types import Plate, Site, Source

# plate -> channel -> the field at GRID x GRID places, as text (see `encode_field`): kept in the run and its model.
FlatFields = dict[str, dict[str, str]]

# Places across the field of view: light falls off over much longer ways than a 24th of it.
GRID = 24
# Deviation of the Gaussian, in places: finer unevenness is cells, not light.
_SMOOTH = 2.0
# Percentile over the sites at which a block is taken for empty.
_EMPTY = 10.0
# Fewer sites than these say more about their cells than about the light.
_FEWEST = 16
_LIMITS = (0.2, 5.0)


def measure_flat_field(
    plates: Sequence[Plate],
    *,
    sites: int = 100,
    seed: int = 0,
    channels: Sequence[str] | None = None,
    progress: bool = False,
) -> FlatFields:
    """Measure the illumination of each channel of each plate.

    Parameters
    ----------
    sites
        How many sites of a plate are sampled, by a key of (seed, plate); all when it has fewer.
    channels
        Names of the channels to measure; None measures all.
    progress
        Show a progress bar.

    Raises
    ------
    UserError
        For a plate with fewer than 16 sites, and as ``measure_scale``.

    Warns
    -----
    UserWarning
        As ``measure_scale``.
    """
    sampled = {plate.name: sample_sites(plate, sites, seed) for plate in plates}
    for name, chosen in sampled.items():
        if len(chosen) < _FEWEST:
            raise UserError(
                f"Plate {name} has {len(chosen)} sites: too few to see its illumination through the cells "
                f"({_FEWEST} are needed). Set plates.flat_field=off."
            )
    indices = {plate.name: select_channels(plate, "all" if channels is None else channels) for plate in plates}
    total = sum(len(sampled[name]) * len(indices[name]) for name in sampled)
    found: FlatFields = {}
    with progress_bar(total, "illumination", "image") if progress else nullcontext() as bar:
        for plate in plates:
            found[plate.name] = {}
            fetch_all(sources[i].path for sources in sampled[plate.name] for i in indices[plate.name])
            for i in indices[plate.name]:
                blocks = list(measure_planes(block_levels, [sources[i] for sources in sampled[plate.name]]))
                found[plate.name][plate.channels[i].name] = encode_field(estimate_field(np.stack(blocks)))
                if bar is not None:
                    bar.update(len(sampled[plate.name]))
    return found


def block_levels(source: Source) -> NDArray[np.float64]:
    """Mean level of GRID x GRID blocks of a plane (fewer where the plane has fewer pixels)."""
    plane = read_plane(*source)
    rows, columns = (np.linspace(0, side, min(GRID, side) + 1).astype(int) for side in plane.shape)
    sums = np.add.reduceat(np.add.reduceat(plane, rows[:-1], 0, np.float64), columns[:-1], 1)
    return np.asarray(sums / np.outer(np.diff(rows), np.diff(columns)))


def estimate_field(blocks_SHW: NDArray[np.float64]) -> NDArray[np.float32]:
    """Estimate the illumination from many sites' blocks, (S, h, w): (GRID, GRID), mean 1."""
    from scipy.ndimage import gaussian_filter, zoom

    empty = np.percentile(blocks_SHW, _EMPTY, axis=0)
    y, x = np.meshgrid(*(np.linspace(-1.0, 1.0, side) for side in empty.shape), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1).reshape(-1, 6)
    weights, *_ = np.linalg.lstsq(terms, empty.ravel(), rcond=None)
    surface = (terms @ weights).reshape(empty.shape)
    field = surface + gaussian_filter(empty - surface, _SMOOTH, mode="nearest")
    if field.shape != (GRID, GRID):
        field = zoom(field, [GRID / side for side in field.shape], order=1, grid_mode=True, mode="nearest")
    field = np.clip(field / max(float(field.mean()), 1e-6), *_LIMITS)
    return np.asarray(field / field.mean(), np.float32)


def encode_field(field: NDArray[np.float32]) -> str:
    """Write a field as text: base64 of its float32 values, row by row."""
    return base64.b64encode(np.ascontiguousarray(field, "<f4").tobytes()).decode("ascii")


def decode_field(text: str) -> NDArray[np.float32]:
    """Read a field from text. Raises ValueError."""
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(GRID, GRID).astype(np.float32)


def site_field(fields: FlatFields, site: Site, channels: Sequence[str]) -> NDArray[np.float32] | None:
    """The field of a site's channels, (C, GRID, GRID); of a pseudo-site, its piece; None where none was measured."""
    by_channel = fields.get(site.plate)
    if by_channel is None:
        return None
    field_CHW = np.stack([decode_field(by_channel[name]) for name in channels])
    if site.tile is None:
        return field_CHW
    row, column, n = site.tile
    return _piece(_piece(field_CHW, row, n, axis=1), column, n, axis=2)


def _piece(field: NDArray[np.float32], number: int, n: int, axis: int) -> NDArray[np.float32]:
    """One of n equal parts along an axis, at as many places: linear between the whole field's."""
    at = np.clip((number + (np.arange(GRID) + 0.5) / GRID) / n * GRID - 0.5, 0.0, GRID - 1.0)
    below = np.minimum(at.astype(int), GRID - 2)
    share = (at - below).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(field.ndim)])
    return np.asarray((1.0 - share) * field.take(below, axis) + share * field.take(below + 1, axis), np.float32)
