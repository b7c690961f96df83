"""Sites from disk for each step, read ahead in threads (decoding releases the GIL)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import IntensityScale, Plate, Site, read_site
from sslprofiler_core.plates.flat_field import FlatFields, site_field

from .pairs import PairOrder

_AHEAD = 2  # steps read while one computes


@dataclass(frozen=True)
class ReadSites:
    """Some sites on the host: raw pixels, scales and names as in `PairBatch`, and which of those asked for they are."""

    sites: list[Tensor]
    scales_BC2: Tensor
    names: list[str]
    rows_B: NDArray[np.int64]
    fields_BCgg: Tensor | None = None


@dataclass(frozen=True)
class PairBatch:
    """The sites of one step, on the host.

    Attributes
    ----------
    sites
        B uint16 tensors (C, H, W), raw; entries 2i and 2i + 1 are the two sites of a well.
    scales_BC2
        Raw intensities that become 0 and 1, float32.
    partner_B
        Which entry gives a sample its ``v2``.
    well_B
        A number for each entry's well, for KoLeo.
    names
        Plate, well and site of each entry, for messages.
    problems
        Which sites could not be read, so that their partners stood in, and why.
    samples_B
        Places of the entries in the batch of all ranks; None: 0, 1, 2, ...
    fields_BCgg
        The sites' illumination (see `flatten_sites`), None where it is not corrected.
    """

    sites: list[Tensor]
    scales_BC2: Tensor
    partner_B: NDArray[np.int64]
    well_B: Tensor
    names: list[str]
    problems: list[str]
    samples_B: NDArray[np.int64] | None = None
    fields_BCgg: Tensor | None = None

    def parts(self, count: int) -> list[PairBatch]:
        """Cut it into about equal parts, of whole wells' pairs; fewer where there are not so many."""
        pairs = len(self.sites) // 2
        edges = 2 * np.linspace(0, pairs, min(count, pairs) + 1).round().astype(int)
        samples_B = np.arange(len(self.sites)) if self.samples_B is None else self.samples_B
        return [
            PairBatch(
                self.sites[start:stop],
                self.scales_BC2[start:stop],
                self.partner_B[start:stop] - start,
                self.well_B[start:stop],
                self.names[start:stop],
                self.problems,
                samples_B[start:stop],
                None if self.fields_BCgg is None else self.fields_BCgg[start:stop],
            )
            for start, stop in pairwise(edges.tolist())
        ]


class PairLoader:
    """Reads the batches of a run, a few steps ahead; use it as a context manager.

    Parameters
    ----------
    order
        Which sites meet in which step.
    plates
        Where each plate's channels are.
    channels
        Plate name -> indices of the channels to read.
    scale
        Intensity scaling.
    memory_bytes
        Decoded sites are kept up to this size: a small screen is decoded once. Beside them, the sites of at most three
        steps are in memory.
    fields
        The plates' illumination; None leaves it as it is.
    """

    def __init__(
        self,
        order: PairOrder,
        plates: Sequence[Plate],
        channels: dict[str, tuple[int, ...]],
        scale: IntensityScale,
        memory_bytes: int,
        fields: FlatFields | None = None,
    ) -> None:
        self._order = order
        self._channels = channels
        self._room = memory_bytes
        self._kept: dict[int, NDArray[np.uint16]] = {}
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(max_workers=reading_threads(), thread_name_prefix="sites")
        self._fields = fields or {}
        self._names = {plate.name: [plate.channels[c].name for c in channels[plate.name]] for plate in plates}
        self._coming: dict[int, list[Future[NDArray[np.uint16]]]] = {}
        wells = {index: number for number, well in enumerate(order.wells) for index in well.tolist()}
        self._well = wells
        self._scale = {
            plate.name: np.array([scale[plate.name][plate.channels[c].name] for c in channels[plate.name]], np.float32)
            for plate in plates
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def batch(self, step: int, last: int) -> PairBatch:
        """The batch of a step; starts reading the following ones, up to step ``last`` (exclusive)."""
        for ahead in range(step, min(step + 1 + _AHEAD, last)):
            if ahead not in self._coming:
                indices, _ = self._order.share(ahead)
                self._coming[ahead] = [self._pool.submit(self._read, index) for index in indices]
        indices, samples_B = self._order.share(step)
        arrays, problems = self._collect(indices, self._coming.pop(step))
        sites = [self._order.sites[index] for index in indices]
        return PairBatch(
            sites=[torch.from_numpy(array) for array in arrays],
            scales_BC2=torch.from_numpy(np.stack([self._scale[site.plate] for site in sites])),
            partner_B=np.arange(len(sites)) ^ 1,
            well_B=torch.tensor([self._well[index] for index in indices]),
            names=[site_name(site) for site in sites],
            problems=problems,
            samples_B=samples_B,
            fields_BCgg=self._fields_of(sites),
        )

    def names(self, step: int) -> list[str]:
        """Plate, well and site of all that meet in a step, over all ranks."""
        return [site_name(self._order.sites[index]) for index in self._order.step(step).ravel().tolist()]

    def sites(self, indices: Sequence[int]) -> ReadSites:
        """Read sites by their place in the order; those that cannot be read are left out."""
        futures = [self._pool.submit(self._read, index) for index in indices]
        arrays: list[NDArray[np.uint16]] = []
        rows: list[int] = []
        for row, future in enumerate(futures):
            with suppress(UserError):
                arrays.append(future.result())
                rows.append(row)
        sites = [self._order.sites[indices[row]] for row in rows]
        scales = np.array([self._scale[site.plate] for site in sites], np.float32)
        return ReadSites(
            [torch.from_numpy(array) for array in arrays],
            torch.from_numpy(scales),
            [site_name(site) for site in sites],
            np.array(rows, np.int64),
            self._fields_of(sites),
        )

    def _fields_of(self, sites: Sequence[Site]) -> Tensor | None:
        if not self._fields or not sites:
            return None
        fields = [site_field(self._fields, site, self._names[site.plate]) for site in sites]
        return torch.from_numpy(np.stack([field for field in fields if field is not None]))

    def _read(self, index: int) -> NDArray[np.uint16]:
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        site = self._order.sites[index]
        array = read_site(site, self._channels[site.plate])
        with self._lock:
            if index not in self._kept and array.nbytes <= self._room:
                self._kept[index] = array
                self._room -= array.nbytes
        return array

    def _collect(
        self, indices: list[int], futures: list[Future[NDArray[np.uint16]]]
    ) -> tuple[list[NDArray[np.uint16]], list[str]]:
        """Wait for a batch; a site that cannot be read is stood in for by its partner."""
        arrays: list[NDArray[np.uint16] | None] = []
        problems: list[str] = []
        for index, future in zip(indices, futures, strict=True):
            try:
                arrays.append(future.result())
            except UserError as error:
                problems.append(f"{site_name(self._order.sites[index])} left out: {error}")
                arrays.append(None)
        whole = []
        for position, array in enumerate(arrays):
            stand_in = array if array is not None else arrays[position ^ 1]
            if stand_in is None:
                raise UserError(f"Neither site of a pair can be read. {problems[-1]}")
            whole.append(stand_in)
        return whole, problems


def site_name(site: Site) -> str:
    """How messages name a site."""
    tile = f" tile {site.tile[0] + 1},{site.tile[1] + 1}" if site.tile else ""
    return f"{site.plate} {site.well} site {site.site}{tile}"


def reading_threads() -> int:
    """Threads that decode sites."""
    return min(8, os.cpu_count() or 1)
