"""Whole sites on the host, as uint16, in memory that is used again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from threading import Lock
from weakref import finalize

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.plates import Plate, Site, read_site

_MOST_THREADS = 32


class SiteReader:
    """Reads sites by their number, from several threads at once.

    Memory that was just asked of the system costs as much as reading a stored site into it, so that of a site that
    nobody holds any more serves the next one.

    Parameters
    ----------
    sites
        What the numbers mean.
    plates
        Where each plate's shape is, which its sites must have.
    channels
        Plate name -> indices of the channels to read.
    keep_bytes
        Decoded sites are kept up to this size.
    pinned
        Read into page-locked memory, which torch hands out again when the GPU has read it too.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        plates: Sequence[Plate],
        channels: Mapping[str, tuple[int, ...]],
        keep_bytes: int,
        pinned: bool = False,
    ) -> None:
        self._sites, self._channels, self._pinned = sites, channels, pinned
        self._shapes = {plate.name: (len(channels[plate.name]), *(plate.shape or ())) for plate in plates}
        self._room = keep_bytes
        self._kept: dict[int, Tensor] = {}
        self._free: dict[tuple[int, ...], list[NDArray[np.uint16]]] = {}
        self._lock = Lock()

    @property
    def kept_bytes(self) -> int:
        """What the sites that are kept take."""
        return sum(pixels.nbytes for pixels in list(self._kept.values()))

    def read(self, index: int) -> Tensor:
        """Read a site: uint16 (C, H, W), raw. Nobody may write to it.

        Raises
        ------
        UserError
            When it cannot be read, or has another size than its plate.
        """
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        site = self._sites[index]
        shape = self._shapes[site.plate]
        channels = self._channels[site.plate]
        if len(shape) < 3:  # no file of the plate could be read when it was opened
            pixels = torch.from_numpy(read_site(site, channels))
        elif self._pinned:
            pixels = torch.empty(shape, dtype=torch.uint16, pin_memory=True)
            read_site(site, channels, pixels.numpy())
        else:
            memory = self._memory(shape)
            read_site(site, channels, memory)
            pixels = torch.from_numpy(memory)
        with self._lock:
            if index not in self._kept and pixels.nbytes <= self._room:
                self._kept[index] = pixels
                self._room -= pixels.nbytes
        return pixels

    def _memory(self, shape: tuple[int, ...]) -> NDArray[np.uint16]:
        """Memory that goes back when the array, and every tensor made of it, is gone."""
        with self._lock:
            free = self._free.setdefault(shape, [])
            whole = free.pop() if free else np.empty(shape, np.uint16)
        lent = whole[:]
        finalize(lent, free.append, whole).atexit = False
        return lent


def site_name(site: Site) -> str:
    """How messages name a site."""
    tile = f" tile {site.tile[0] + 1},{site.tile[1] + 1}" if site.tile else ""
    return f"{site.plate} {site.well} site {site.site}{tile}"


def reading_threads() -> int:
    """Threads that decode sites: one for each processor that this process may use, shared among a machine's ranks."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        processors = os.cpu_count() or 1
    ranks = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return max(1, min(_MOST_THREADS, processors // ranks))
