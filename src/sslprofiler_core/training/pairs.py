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

from sslprofiler_core import keys
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
        if recipe.batch % 2:
            raise UserError(f"train.batch = {recipe.batch} is odd: a batch takes two sites a well. Use an even number.")
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
        if order.steps_per_epoch == 0:
            pairs = 2 * sum(max(1, len(well) // 2) for well in order.wells)
            cut = "" if any(site.tile for site in sites) else ", or cut sites into pseudo-sites (--set plates.tile=3)"
            raise UserError(
                f"Too few sites: {len(sites)} in {len(groups)} wells make {pairs} pairs, a batch needs "
                f"{recipe.batch}. Add plates, lower it (--set train.batch={max(2, pairs)}){cut}."
            )
        return order

    @cached_property
    def _blocks(self) -> list[list[int]]:
        """Numbers of the wells that may meet in a batch: all, or those of each plate.

        Plates too small to fill a batch share theirs.
        """
        plates: dict[str, list[int]] = {}
        for number, well in enumerate(self.wells):
            plates.setdefault(self.sites[well[0]].plate if self.plate_batches else "", []).append(number)
        full = [wells for wells in plates.values() if self._couple_count(wells) >= self.batch // 2]
        small = [number for wells in plates.values() if wells not in full for number in wells]
        return [*full, small] if small else full

    def _couple_count(self, wells: Sequence[int]) -> int:
        return sum(max(1, len(self.wells[number]) // 2) for number in wells)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches an epoch; which pairs the rest is made of changes from epoch to epoch."""
        return sum(self._couple_count(block) // (self.batch // 2) for block in self._blocks)

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

    @cached_property
    def _epoch(self) -> Callable[[int], NDArray[np.int64]]:
        # Consecutive steps would otherwise shuffle the whole screen again; two epochs meet while prefetching.
        return lru_cache(maxsize=2)(self.epoch)
