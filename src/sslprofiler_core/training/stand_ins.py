"""Sites that stand in for those that cannot be read: a night's run does not end at a bad file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from torch import Tensor

from sslprofiler_core import keys
from sslprofiler_core.errors import UserError

from .pairs import PairOrder
from .sites import site_name

_WELLS = 8  # tried in place of one that has no readable site: when a disk is gone, this ends


class StandIns:
    """Chooses them, by keys of the run's seed and of the sites alone, and counts what is bad.

    A site is stood in for by another of its well that is not its partner; where there is none, by its partner. Of a
    well without one readable site, both are stood in for by a couple of another well (our choice: the batch keeps its
    size, and a resumed run meets the same sites).

    Parameters
    ----------
    order
        Which sites there are, in which wells.
    read
        Reads one by its number; raises UserError.
    most
        The share of all sites that may be bad before training ends.
    """

    def __init__(self, order: PairOrder, read: Callable[[int], Tensor], most: float) -> None:
        self._order, self._read, self._most = order, read, most
        self._well = {index: number for number, well in enumerate(order.wells) for index in well.tolist()}
        self._bad: set[int] = set()

    def collect(
        self, asked: Sequence[int], futures: Sequence[Future[Tensor]]
    ) -> tuple[list[int], list[Tensor], list[str]]:
        """Wait for a batch's sites.

        Parameters
        ----------
        asked
            Their numbers; entries 2i and 2i + 1 are a couple.
        futures
            Their reading.

        Returns
        -------
        The sites that the batch then has, their pixels, and which were left out, which stand in for them, and why.

        Raises
        ------
        UserError
            When too many are bad.
        """
        found: list[tuple[int, Tensor] | None] = []
        problems: dict[int, str] = {}
        for place, (index, future) in enumerate(zip(asked, futures, strict=True)):
            try:
                found.append((index, future.result()))
                self._bad.discard(index)  # a disk that was away for a while is back
            except UserError as error:
                problems[place] = str(error)
                self._bad.add(index)
                found.append(None)
        if not problems:
            return list(asked), [pixels for one in found if one for pixels in one[1:]], []
        self._check_share(asked, problems)
        for place in problems:
            found[place] = self._of_the_well(asked[place], asked[place ^ 1])
        for place in problems:
            found[place] = found[place] or found[place ^ 1]
            if found[place] is None:
                found[place], found[place ^ 1] = self._of_another_well(asked[place], problems[place])
        whole = [one for one in found if one is not None]
        told = [
            f"{self._name(asked[place])} left out: {problem} In its place: {self._name(whole[place][0])}."
            for place, problem in problems.items()
        ]
        return [index for index, _ in whole], [pixels for _, pixels in whole], told

    def _name(self, index: int) -> str:
        return site_name(self._order.sites[index])

    def _check_share(self, asked: Sequence[int], problems: dict[int, str]) -> None:
        bad, count = len(self._bad), len(self._order.sites)
        if bad > self._most * count:
            last = max(problems)
            raise UserError(
                f"{bad} of {count:,} sites cannot be read: more than plates.bad_sites = {self._most:g} of them. "
                f"The last: {self._name(asked[last])}: {problems[last]} Put it right and go on with --resume."
            )

    def _of_the_well(self, index: int, partner: int) -> tuple[int, Tensor] | None:
        well = self._order.wells[self._well[index]]
        turn = keys.permutation(keys.fold(self._order.seed, "stand-in", index), len(well))
        others = [other for other in well[turn].tolist() if other not in (index, partner)]
        for other in [*others, partner]:
            if other != index and (pixels := self._try(other)) is not None:
                return other, pixels
        return None

    def _of_another_well(self, index: int, problem: str) -> tuple[tuple[int, Tensor], tuple[int, Tensor]]:
        lost = self._well[index]
        turn = keys.permutation(keys.fold(self._order.seed, "lost well", lost), len(self._order.wells))
        for number in [number for number in turn.tolist() if number != lost][:_WELLS]:
            readable: list[tuple[int, Tensor]] = []
            for other in self._order.wells[number].tolist():
                if (pixels := self._try(other)) is not None:
                    readable.append((other, pixels))
                if len(readable) == 2:
                    break
            if readable:
                return readable[0], readable[-1]
        raise UserError(
            f"No site of {min(_WELLS + 1, len(turn))} wells can be read. Is the disk of the plates there? One of them: "
            f"{self._name(index)}: {problem} Then go on with --resume."
        )

    def _try(self, index: int) -> Tensor | None:
        try:
            return self._read(index)
        except UserError:
            self._bad.add(index)
            return None
