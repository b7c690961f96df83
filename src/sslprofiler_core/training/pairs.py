"""Which sites meet in which step: a function of the seed and the step alone.

Each batch takes two sites a well; each is ``v1`` once and the other's ``v2`` once, so every byte read serves twice. An
epoch shows each site once as ``v1``; of an odd number, one is left out, and that one rotates over the epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core import keys, ranks
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Site
from sslprofiler_core.recipes import TrainRecipe


@dataclass(frozen=True)
class PairOrder:
    """The order of site pairs over a run.

    Attributes
    ----------
    sites
        All sites that are trained on.
    wells
        Indices into ``sites``, one array a well.
    lonely
        Names of wells with a single site: each of these pairs with itself.
    batch
        Site pairs a step.
    seed
        Of the run.
    plate_batches
        Whether a batch comes from one plate (our choice: what tells plates apart is then no help). Plates too small to
        fill a batch share theirs.
    """

    sites: tuple[Site, ...]
    wells: tuple[NDArray[np.int64], ...]
    lonely: tuple[str, ...]
    batch: int
    seed: int
    plate_batches: bool = False

    @classmethod
    def over(cls, sites: Sequence[Site], recipe: TrainRecipe) -> PairOrder:
        """Group sites by plate and well.

        Raises
        ------
        UserError
            When the batch is odd, or the sites do not fill one batch.
        """
        groups: dict[tuple[str, str], list[int]] = {}
        for index, site in enumerate(sites):
            groups.setdefault((site.plate, site.well), []).append(index)
        order = cls(
            tuple(sites),
            tuple(np.array(indices, np.int64) for indices in groups.values()),
            tuple(f"{plate} {well}" for (plate, well), indices in groups.items() if len(indices) == 1),
            recipe.batch,
            recipe.seed,
            recipe.plate_batches,
        )
        check_batch(recipe.batch, order._couple_counts, len(sites), any(site.tile for site in sites))
        return order

    @cached_property
    def _couple_counts(self) -> list[int]:
        return [couples_of(len(well)) for well in self.wells]

    @cached_property
    def _blocks(self) -> list[list[int]]:
        plates = [self.sites[well[0]].plate for well in self.wells]
        return well_blocks(plates, self._couple_counts, self.batch, self.plate_batches)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches an epoch; which pairs the rest is made of changes from epoch to epoch."""
        return sum(sum(self._couple_counts[well] for well in block) // (self.batch // 2) for block in self._blocks)

    def epoch(self, epoch: int) -> NDArray[np.int64]:
        """All couples of an epoch in their order: int64 (steps_per_epoch * batch / 2, 2), indices into ``sites``."""
        half = self.batch // 2
        batches = []
        for number, block in enumerate(self._blocks):
            couples = np.concatenate([self._couples(well, epoch) for well in block])
            shuffled = couples[keys.permutation(keys.fold(self.seed, "epoch", epoch, number), len(couples))]
            batches.append(shuffled[: len(shuffled) // half * half].reshape(-1, half, 2))
        stacked = np.concatenate(batches)
        return stacked[keys.permutation(keys.fold(self.seed, "batches", epoch), len(stacked))].reshape(-1, 2)

    def _couples(self, number: int, epoch: int) -> NDArray[np.int64]:
        """Pair off the sites of one well: (n, 2)."""
        well = self.wells[number]
        if len(well) == 1:
            return np.array([[well[0], well[0]]])
        key = keys.fold(self.seed, "pairs", number)
        rotated = np.roll(well[keys.permutation(key, len(well))], -epoch)
        kept = rotated[: len(well) // 2 * 2]
        return kept[keys.permutation(keys.fold(key, epoch), len(kept))].reshape(-1, 2)

    def step(self, step: int) -> NDArray[np.int64]:
        """The couples of one step: int64 (batch / 2, 2)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        half = self.batch // 2
        return self._epoch(epoch)[position * half : (position + 1) * half]

    def share(self, step: int) -> tuple[list[int], NDArray[np.int64]]:
        """This rank's part of a step: indices into ``sites``, a well's two side by side, and their places in the batch.

        Whatever the number of ranks, their parts in order are the step's couples: the same samples meet.
        """
        each = self.batch // ranks.count()
        samples_B = np.arange(each) + ranks.index() * each
        return self.step(step).ravel()[samples_B].tolist(), samples_B

    @cached_property
    def _epoch(self) -> Callable[[int], NDArray[np.int64]]:
        # Consecutive steps would otherwise shuffle the whole screen again; two epochs meet while prefetching.
        return lru_cache(maxsize=2)(self.epoch)


def check_split(batch: int, count: int, accumulate: int) -> None:
    """See that a batch can be cut into equal parts of whole couples, for each rank and part of an accumulated step.

    Raises
    ------
    UserError
        When it cannot.
    """
    least = 2 * count * accumulate
    if batch % least:
        parts = f"{count} processes" if accumulate == 1 else f"{count} processes of {accumulate} parts each"
        raise UserError(
            f"train.batch = {batch} cannot be shared evenly by {parts}, in pairs of sites. Use a multiple of {least} "
            f"(--set train.batch={max(1, batch // least) * least}), or another number of processes."
        )


def couples_of(sites: int) -> int:
    """Couples that the sites of a well make; a single site pairs with itself."""
    return max(1, sites // 2)


def check_batch(batch: int, couples: Sequence[int], sites: int, tiled: bool) -> None:
    """See that a batch can be filled.

    Raises
    ------
    UserError
        When it is odd, or when there are too few couples (one number a well).
    """
    if batch % 2:
        raise UserError(f"train.batch = {batch} is odd: a batch takes two sites a well. Use an even number.")
    pairs = 2 * sum(couples)
    if pairs < batch:
        cut = "" if tiled else ", or cut sites into pseudo-sites (--set plates.tile=3)"
        raise UserError(
            f"Too few sites: {sites} in {len(couples)} wells make {pairs} pairs, a batch needs {batch}. "
            f"Add plates, lower it (--set train.batch={max(2, pairs)}){cut}."
        )


def well_blocks(plates: Sequence[str], couples: Sequence[int], batch: int, plate_batches: bool) -> list[list[int]]:
    """Numbers of the wells that may meet in a batch: all, or those of each plate.

    Plates too small to fill a batch share theirs, and where all of them are, that of another plate. ``plates`` and
    ``couples`` have one entry a well.
    """
    by_plate: dict[str, list[int]] = {}
    for number, plate in enumerate(plates):
        by_plate.setdefault(plate if plate_batches else "", []).append(number)
    full, small = [], []
    for wells in by_plate.values():
        if sum(couples[number] for number in wells) >= batch // 2:
            full.append(wells)
        else:
            small += wells
    if full and sum(couples[number] for number in small) < batch // 2:  # alone, they would never be seen
        return [*full[:-1], full[-1] + small]
    return [*full, small] if small else full
