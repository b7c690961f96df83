"""What raw intensities become 0 and 1: percentiles per plate and channel.

Our choice, as the paper is silent: per-image scaling would erase intensity phenotypes.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.keys import fold, permutation
from sslprofiler_core.progress import progress_bar

from .channels import select_channels
from .compiled import loops_for
from .kept_scale import keep_scales, kept_scales, scale_key
from .reading import read_plane
from .remote import fetch_all
from .types import Plate, Source

IntensityScale = dict[str, dict[str, tuple[float, float]]]
Item = TypeVar("Item")
Result = TypeVar("Result")

_LEVELS = 65536


def measure_scale(
    plates: Sequence[Plate],
    *,
    percentiles: tuple[float, float] = (0.1, 99.9),
    sites: int = 64,
    seed: int = 0,
    channels: Sequence[str] | None = None,
    progress: bool = False,
    keep: bool = True,
) -> IntensityScale:
    """Measure the intensities that become 0 and 1, or take them from an earlier measurement of the same files.

    Parameters
    ----------
    percentiles
        Lower and upper, in percent. They are exact over all pixels of the sampled sites (linear between ranks, as
        ``numpy.percentile``): a histogram of the 65,536 levels holds everything.
    sites
        How many sites of a plate are sampled, by a key of (seed, plate); all when it has fewer. Pseudo-sites count by
        the site that they were cut from, whose whole planes are measured.
    channels
        Names of the channels to measure; None measures all.
    progress
        Show a progress bar.
    keep
        Look for what was measured before, and keep what is measured now, beside the plate (see ``kept_scale``).

    Returns
    -------
    plate -> channel -> (low, high) in raw units. Where both percentiles are equal, high is low + 1.

    Raises
    ------
    UserError
        When most sampled files of a channel can't be read (naming one), for a plate without complete sites, or for a
        channel that it does not have.

    Warns
    -----
    UserWarning
        Naming a file that can't be read, and is left out.
    """
    planes = {plate.name: _sampled_planes(plate, sites, seed, channels) for plate in plates}
    scale: IntensityScale = {}
    total = sum(len(sources) for by_channel in planes.values() for sources in by_channel.values())
    with progress_bar(total, "intensity scale", "image") if progress else nullcontext() as bar:
        for plate in plates:
            known = kept_scales(plate) if keep else {}
            keys = {name: scale_key(sources, percentiles) for name, sources in planes[plate.name].items()}
            scale[plate.name], measured = {}, {}
            missing = [sources for name, sources in planes[plate.name].items() if keys[name] not in known]
            fetch_all(path for sources in missing for path, _ in sources)
            for name, sources in planes[plate.name].items():
                key = keys[name]
                if key in known:
                    scale[plate.name][name] = known[key]
                else:
                    bad: list[str] = []
                    low, high = percentiles_of(histogram_of(sources, bad), percentiles)
                    scale[plate.name][name] = (low, high if high > low else low + 1.0)
                    # Of a file that changed meanwhile, nobody knows which of the two was measured.
                    if key is not None and not bad and key == scale_key(sources, percentiles):
                        measured[key] = scale[plate.name][name]
                if bar is not None:
                    bar.update(len(sources))
            if keep and measured:
                keep_scales(plate, measured)
    return scale


def sample_sites(plate: Plate, count: int, seed: int) -> list[tuple[Source, ...]]:
    """Sample sites of a plate by a key: where their planes lie, one tuple a site (never the same site twice)."""
    files = list(dict.fromkeys(site.sources for site in plate.sites))
    order = permutation(fold(seed, "intensity", plate.name), len(files))
    return [files[i] for i in sorted(order[:count])]


def _sampled_planes(plate: Plate, count: int, seed: int, channels: Sequence[str] | None) -> dict[str, list[Source]]:
    sampled = sample_sites(plate, count, seed)
    if not sampled:
        raise UserError(
            f"Plate {plate.name} has no complete site. `sslprofiler inspect {plate.root}` says what is missing."
        )
    indices = select_channels(plate, "all" if channels is None else channels)
    return {plate.channels[i].name: [sources[i] for sources in sampled] for i in indices}


def histogram_of(sources: Sequence[Source], bad: list[str] | None = None) -> NDArray[np.int64]:
    """Count the pixels of each level in some planes: (65536,) int64; see `measure_planes`."""
    histogram = np.zeros(_LEVELS, np.int64)
    for counts in measure_planes(count_levels, sources, bad):
        histogram += counts
    return histogram


def count_levels(source: Source) -> NDArray[np.int64]:
    """Count one plane's pixels of each level: (65536,) int64."""
    plane = read_plane(*source)
    loops = loops_for(plane.size)
    if loops is None or not (plane.flags.c_contiguous and plane.flags.writeable):
        return np.bincount(plane.ravel(), minlength=_LEVELS)
    counts = np.zeros(_LEVELS, np.int64)
    loops.add_levels(plane, counts)
    return counts


def measure_planes(
    function: Callable[[Source], Result], sources: Sequence[Source], bad: list[str] | None = None
) -> Iterator[Result]:
    """Measure planes, in threads. One that can't be read is left out, with a warning, and its problem added to ``bad``.

    Raises
    ------
    UserError
        When more than half of them can't be read.
    """
    bad = [] if bad is None else bad

    def measured(source: Source) -> Result | UserError:
        try:
            return function(source)
        except UserError as error:
            return error

    for result in map_in_threads(measured, sources):
        if isinstance(result, UserError):
            bad.append(str(result))
            if 2 * len(bad) > len(sources):
                raise result
            warnings.warn(f"Measured without it: {result}", stacklevel=4)
        else:
            yield result


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Apply a function to items in threads, results in order; a window keeps them from piling up in memory."""
    workers = min(8, os.cpu_count() or 1)
    waiting = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        running = deque(pool.submit(function, item) for item in islice(waiting, 2 * workers))
        while running:
            result = running.popleft().result()
            running.extend(pool.submit(function, item) for item in islice(waiting, 1))
            yield result


def percentiles_of(histogram: NDArray[np.int64], percentiles: Sequence[float]) -> list[float]:
    """Read percentiles off a histogram that is not empty: linear between ranks, as ``numpy.percentile``."""
    ends = np.cumsum(histogram)
    rank = np.asarray(percentiles, np.float64) / 100.0 * (ends[-1] - 1)
    below = np.floor(rank).astype(np.int64)
    low = np.searchsorted(ends, below, side="right")
    high = np.searchsorted(ends, np.ceil(rank).astype(np.int64), side="right")
    return [float(value) for value in low + (high - low) * (rank - below)]
