"""Site pairs: two sites a well, each once, in an order that is a function of seed and step."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Site
from sslprofiler_core.recipes import TrainRecipe
from sslprofiler_core.training.pairs import PairOrder


def sites(*counts: int, plate: str = "P1") -> list[Site]:
    return [
        Site(plate, f"A{well + 1:02d}", site + 1, (Path(f"{well}-{site}.tiff"),))
        for well, count in enumerate(counts)
        for site in range(count)
    ]


def order(*counts: int, batch: int = 4, seed: int = 0) -> PairOrder:
    return PairOrder.over(sites(*counts), TrainRecipe(batch=batch, seed=seed))


def test_couples_are_two_sites_of_one_well_and_each_site_comes_once_an_epoch() -> None:
    pairs = order(4, 6, 2)
    couples = pairs.epoch(3)
    assert sorted(couples.ravel().tolist()) == list(range(12))
    wells = [{pairs.sites[a].well, pairs.sites[b].well} for a, b in couples]
    assert all(len(well) == 1 for well in wells)


def test_the_odd_site_out_rotates_over_the_epochs() -> None:
    pairs = order(9, 9, batch=2)
    left_out: Counter[int] = Counter()
    for epoch in range(9):
        couples = pairs.epoch(epoch)
        assert len(couples) == 8
        left_out.update(set(range(18)) - set(couples.ravel().tolist()))
    assert left_out == Counter(dict.fromkeys(range(18), 1))


def test_partners_and_order_change_from_epoch_to_epoch_but_not_between_calls() -> None:
    pairs = order(8, 8, 8)
    assert not np.array_equal(pairs.epoch(0), pairs.epoch(1))
    np.testing.assert_array_equal(pairs.epoch(1), order(8, 8, 8).epoch(1))
    assert not np.array_equal(pairs.epoch(0), order(8, 8, 8, seed=1).epoch(0))


def test_steps_walk_through_epochs() -> None:
    pairs = order(8, 8, 8)
    assert pairs.steps_per_epoch == 6
    np.testing.assert_array_equal(pairs.step(7), pairs.epoch(1)[2:4])


def test_a_well_with_one_site_pairs_with_itself_and_is_named() -> None:
    pairs = order(1, 4, batch=2)
    assert pairs.lonely == ("P1 A01",)
    assert [0, 0] in pairs.epoch(0).tolist()


def test_too_few_sites_and_odd_batches_say_what_to_do() -> None:
    with pytest.raises(UserError, match=r"Too few sites: 4 in 2 wells make 4 pairs.*train\.batch=4"):
        order(2, 2, batch=8)
    with pytest.raises(UserError, match="odd"):
        order(2, 2, batch=3)


def test_plate_batches_hold_one_plate_each_and_still_show_each_site_once() -> None:
    both = [*sites(4, 4, 4, plate="P1"), *sites(4, 4, 4, plate="P2")]
    pairs = PairOrder.over(both, TrainRecipe(batch=4, plate_batches=True))
    plates = [{both[index].plate for index in pairs.step(step).ravel()} for step in range(pairs.steps_per_epoch)]
    assert all(len(plate) == 1 for plate in plates)
    assert sorted(pairs.epoch(0).ravel().tolist()) == list(range(24))
    assert len({tuple(plate) for plate in plates[:4]}) == 2  # plates alternate in a shuffled order


def test_plates_too_small_for_a_batch_share_theirs() -> None:
    three = [*sites(4, 4, plate="P1"), *sites(2, plate="P2"), *sites(2, plate="P3")]
    pairs = PairOrder.over(three, TrainRecipe(batch=4, plate_batches=True))
    plates = {frozenset(three[index].plate for index in pairs.step(step).ravel()) for step in range(3)}
    assert plates == {frozenset({"P1"}), frozenset({"P2", "P3"})}


def test_plates_too_small_for_a_batch_even_together_are_seen_too() -> None:
    three = [*sites(4, 4, plate="P1"), *sites(4, 4, plate="P2"), *sites(2, plate="P3")]
    pairs = PairOrder.over(three, TrainRecipe(batch=4, plate_batches=True))
    seen = {three[index].plate for epoch in range(8) for index in pairs.epoch(epoch).ravel()}
    assert seen == {"P1", "P2", "P3"}
    assert len({three[index].plate for index in pairs.step(0).ravel()}) < 3
