"""Sites from disk for each step, read ahead in threads (decoding releases the GIL)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import IntensityScale, Plate, Site
from sslprofiler_core.plates.flat_field import FlatFields, site_field
from sslprofiler_core.recipes import PlatesRecipe

from .pairs import PairOrder
from .sites import SiteReader, reading_threads, site_name
from .stand_ins import StandIns

__all__ = ["PairBatch", "PairLoader", "ReadSites", "reading_threads", "site_name"]


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
        Which sites could not be read, so that others stand in for them, and why.
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

    A site that cannot be read is stood in for by another of its well (see `StandIns`).

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
        Decoded sites are kept up to this size: a small screen is decoded once. Beside them, the sites of this step and
        of ``recipe.prefetch`` more are in memory, whatever the screen's size.
    fields
        The plates' illumination; None leaves it as it is.
    recipe
        How far to read ahead, and the share of bad sites that ends the run.
    pinned
        Read into page-locked memory, from which a GPU reads beside its other work.
    """

    def __init__(
        self,
        order: PairOrder,
        plates: Sequence[Plate],
        channels: dict[str, tuple[int, ...]],
        scale: IntensityScale,
        memory_bytes: int,
        fields: FlatFields | None = None,
        recipe: PlatesRecipe | None = None,
        pinned: bool = False,
    ) -> None:
        settings = recipe or PlatesRecipe()
        self._order = order
        self._ahead = settings.prefetch
        self._reader = SiteReader(order.sites, plates, channels, memory_bytes, pinned)
        self._stand_ins = StandIns(order, self._reader.read, settings.bad_sites)
        self._pool = ThreadPoolExecutor(max_workers=reading_threads(), thread_name_prefix="sites")
        self._fields = fields or {}
        self._names = {plate.name: [plate.channels[c].name for c in channels[plate.name]] for plate in plates}
        self._coming: dict[int, list[Future[Tensor]]] = {}
        self._well = {index: number for number, well in enumerate(order.wells) for index in well.tolist()}
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
        """The batch of a step; starts reading the following ones, up to step ``last`` (exclusive).

        Raises
        ------
        UserError
            When more sites than the recipe allows, or all of several wells, cannot be read.
        """
        for ahead in range(step, min(step + 1 + self._ahead, last)):
            if ahead not in self._coming:
                indices, _ = self._order.share(ahead)
                self._coming[ahead] = [self._pool.submit(self._reader.read, index) for index in indices]
        asked, samples_B = self._order.share(step)
        indices, pixels, problems = self._stand_ins.collect(asked, self._coming.pop(step))
        sites = [self._order.sites[index] for index in indices]
        return PairBatch(
            sites=pixels,
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
        futures = [self._pool.submit(self._reader.read, index) for index in indices]
        pixels: list[Tensor] = []
        rows: list[int] = []
        for row, future in enumerate(futures):
            with suppress(UserError):
                pixels.append(future.result())
                rows.append(row)
        sites = [self._order.sites[indices[row]] for row in rows]
        scales = np.array([self._scale[site.plate] for site in sites], np.float32)
        return ReadSites(
            pixels,
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
