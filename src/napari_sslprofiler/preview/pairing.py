"""Which site gives ``v2``: training's own order of pairs, asked for one site. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Plate, Site, tile_plate
from sslprofiler_core.recipes import Recipe, TrainRecipe
from sslprofiler_core.training.pairs import PairOrder

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_EPOCHS_AHEAD = 4  # searched for the next time that training takes v1 from a site


class Meeting(NamedTuple):
    """When training takes ``v1`` from a site."""

    step: int
    sample: int


@dataclass(frozen=True)
class Paired:
    """A site's partner in the epoch of a step.

    Parameters
    ----------
    partner
        The site that gives ``v2``.
    now
        The site's sample in this very step, None when it is not in it.
    later
        The next time that training meets it; None where the plates do not fill a batch.
    notes
        What is worth saying, in sentences.
    """

    partner: Site
    now: int | None
    later: Meeting | None
    notes: tuple[str, ...] = ()


class Pairings:
    """Answers for the plates that are open; keeps the last order, which all their sites go into."""

    def __init__(self) -> None:
        self._tiled_for: tuple[tuple[Plate, ...], int] = ((), 1)
        self._tiled: tuple[Plate, ...] = ()
        self._key: tuple[object, ...] = ()
        self._sites: list[Site] = []
        self._places: dict[tuple[str, str, int], int] = {}
        self._wells: dict[tuple[str, str], list[Site]] = {}
        self._batches: PairOrder | None = None
        self._couples: Callable[[int], NDArray[np.int64]]
        self._ordered: Callable[[int], NDArray[np.int64]]

    def plates(self, plates: tuple[Plate, ...], tile: int) -> tuple[Plate, ...]:
        """The plates as training takes them: cut into pseudo-sites where the recipe says so."""
        if tile == 1:
            return plates
        before, old_tile = self._tiled_for
        if old_tile != tile or list(map(id, before)) != list(map(id, plates)):
            self._tiled = tuple(tile_plate(plate, tile) for plate in plates)
            self._tiled_for = (plates, tile)
        return self._tiled

    def of(self, plates: tuple[Plate, ...], recipe: Recipe, site: Site, step: int) -> Paired:
        """Find a site's partner in the epoch of a step; ``plates`` as ``Pairings.plates`` gives them.

        A site that an epoch leaves out (of an odd number) has the partner of the next epoch that takes it. Where the
        plates do not fill one batch, every step is of the first epoch.
        """
        self._prepare(plates, recipe)
        order = self._batches
        place = self._places[(site.plate, site.well, site.site)]
        now, later = self._meetings(place, step)
        others = [each for each in self._wells[(site.plate, site.well)] if each.site != site.site]
        if not others:
            note = f"Well {site.well} has one site: training pairs it with itself, so v2 is another crop of it."
            return Paired(site, now, later, (note,))
        epoch = step // order.steps_per_epoch if order is not None else 0
        for ahead in range(_EPOCHS_AHEAD):
            found = _other(self._couples(epoch + ahead), place)
            if found is not None:
                notes = (
                    (f"Epoch {epoch + 1} leaves site {site.site} out: the pair is a later epoch's.",) if ahead else ()
                )
                return Paired(self._sites[found], now, later, notes)
        return Paired(others[0], now, later)

    def _prepare(self, plates: tuple[Plate, ...], recipe: Recipe) -> None:
        train = recipe.train
        # By identity: to compare plates is to compare all of their sites. They are kept, so that ids stay theirs.
        key = (*map(id, plates), train.seed, train.batch, train.plate_batches)
        if key == self._key:
            return
        self._kept = plates
        self._sites = [site for plate in plates for site in plate.sites]
        self._places = {(site.plate, site.well, site.site): place for place, site in enumerate(self._sites)}
        self._wells = {}
        for site in self._sites:
            self._wells.setdefault((site.plate, site.well), []).append(site)
        # With batches of two, no pair of an epoch is left over; which sites pair does not depend on the batch.
        every = PairOrder.over(self._sites, TrainRecipe(batch=2, seed=train.seed))
        self._couples = lru_cache(maxsize=4)(every.epoch)
        try:
            self._batches = PairOrder.over(self._sites, train)
            self._ordered = lru_cache(maxsize=_EPOCHS_AHEAD)(self._batches.epoch)
        except UserError:
            self._batches = None
        self._key = key

    def _meetings(self, place: int, step: int) -> tuple[int | None, Meeting | None]:
        """The site's sample in a step, and the first meeting after it."""
        order = self._batches
        if order is None:
            return None, None
        length, now = order.steps_per_epoch, None
        for epoch in range(step // length, step // length + _EPOCHS_AHEAD):
            for row, side in np.argwhere(self._ordered(epoch) == place).tolist():
                within, couple = divmod(row, order.batch // 2)
                meeting = Meeting(epoch * length + within, 2 * couple + side)
                if meeting.step == step:
                    now = meeting.sample if now is None else now
                elif meeting.step > step:
                    return now, meeting
        return now, None


def _other(couples_n2: NDArray[np.int64], place: int) -> int | None:
    rows = np.flatnonzero((couples_n2 == place).any(1))
    if not rows.size:
        return None
    one, other = couples_n2[rows[0]].tolist()
    return int(other if one == place else one)
