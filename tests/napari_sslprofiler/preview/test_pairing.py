"""The preview pairs sites as training does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sslprofiler.preview.model import Wish, choices_of_partner, pseudo_site, settle
from napari_sslprofiler.preview.pairing import Pairings
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Plate, open_plates, tile_plate
from sslprofiler_core.recipes import Recipe, TrainRecipe
from sslprofiler_core.training.pairs import PairOrder


def _with(recipe: Recipe, **train: object) -> Recipe:
    return recipe.model_copy(update={"train": TrainRecipe.model_validate({**dict(recipe.train), **train})})


@pytest.mark.parametrize("plate_batches", [False, True])
def test_partners_and_meetings_are_those_of_the_run(
    plates: tuple[Plate, ...], tiny: Recipe, plate_batches: bool
) -> None:
    recipe = _with(tiny, plate_batches=plate_batches)
    order = PairOrder.over([site for plate in plates for site in plate.sites], recipe.train)
    pairings = Pairings()
    for step in (0, 5, 13):
        flat = order.step(step).ravel()
        for sample, place in enumerate(flat.tolist()):
            paired = pairings.of(plates, recipe, order.sites[place], step)
            assert paired.partner == order.sites[flat[sample ^ 1]] and paired.now == sample
            assert paired.later is not None and paired.later.step > step
            assert order.step(paired.later.step).ravel()[paired.later.sample] == place
            between = [order.step(other).ravel() for other in range(step + 1, paired.later.step)]
            assert not any((row == place).any() for row in between)


def test_a_site_that_an_epoch_leaves_out_is_paired_as_in_a_later_one(plates: tuple[Plate, ...], tiny: Recipe) -> None:
    plate = plates[0]
    odd = replace(plate, sites=tuple(site for site in plate.sites if site.site != 4))  # 3 sites a well
    recipe = _with(tiny, batch=2)
    notes = []
    for site in odd.sites[:3]:
        paired = Pairings().of((odd,), recipe, site, 0)
        assert paired.partner != site and paired.partner.well == site.well
        notes += paired.notes
    assert len(notes) == 1 and "leaves site" in notes[0]


def test_a_lone_site_pairs_with_itself_and_says_so(plates: tuple[Plate, ...], tiny: Recipe) -> None:
    plate = plates[0]
    single = replace(plate, sites=tuple(site for site in plate.sites if site.site == 1))
    settled = settle(Wish((single,), single, single.sites[0], tiny, "fluorescence"), Pairings())
    assert settled.request.second == settled.request.first
    assert any("has one site" in note for note in settled.notes)


def test_plates_too_small_for_a_batch_can_be_previewed(plates: tuple[Plate, ...], tiny: Recipe) -> None:
    settled = settle(Wish(plates, plates[0], plates[0].sites[0], _with(tiny, batch=512), "all", step=9), Pairings())
    assert settled.now is None and settled.later is None
    assert settled.request.second.well == settled.request.first.well != ""


def test_the_other_site_can_be_chosen(plates: tuple[Plate, ...], tiny: Recipe) -> None:
    site = plates[0].sites[0]
    wish = Wish(plates, plates[0], site, tiny, "fluorescence")
    assert choices_of_partner(plates[0], site) == [2, 3, 4]
    for number in (2, 3, 4):
        assert settle(replace(wish, partner=number), Pairings()).request.second.site == number
    with pytest.raises(UserError, match="has no site 9"):
        settle(replace(wish, partner=9), Pairings())
    with pytest.raises(UserError, match="not open any more"):
        settle(replace(wish, plates=plates[1:]), Pairings())
    with pytest.raises(UserError, match="brightfeild"):
        settle(replace(wish, group="brightfeild"), Pairings())


def test_the_same_site_where_local_aggregation_is_off(plates: tuple[Plate, ...], tiny: Recipe) -> None:
    recipe = tiny.model_copy(update={"augment": tiny.augment.model_copy(update={"local_aggregation": False})})
    settled = settle(Wish(plates, plates[0], plates[0].sites[0], recipe, "fluorescence"), Pairings())
    assert settled.request.second == settled.request.first
    assert any("Local aggregation is off" in note for note in settled.notes)


def test_small_sites_are_told_of(plates: tuple[Plate, ...]) -> None:
    settled = settle(Wish(plates, plates[0], plates[0].sites[0], Recipe(), "fluorescence"), Pairings())
    assert any("64 × 64 px, smaller than training's views of 518 px" in note for note in settled.notes)


def test_pieces_of_a_site_are_counted_row_by_row(plates: tuple[Plate, ...], simulated: Path) -> None:
    plate = tile_plate(plates[0], 2)
    whole = plates[0].sites[1]
    pieces = [pseudo_site(plate, whole, number) for number in range(4)]
    assert [piece.tile for piece in pieces] == [(0, 0, 2), (0, 1, 2), (1, 0, 2), (1, 1, 2)]
    assert all(piece.paths == whole.paths for piece in pieces)
    assert pseudo_site(plate, whole, 99) == pieces[-1]
    assert pseudo_site(plates[0], whole, 3) == whole


def test_an_order_is_kept_while_the_plates_are_the_same(tiny: Recipe, simulated: Path) -> None:
    plates = tuple(open_plates([simulated / "images"]))
    pairings = Pairings()
    pairings.of(plates, tiny, plates[0].sites[0], 0)
    kept = pairings._batches
    pairings.of(plates, tiny, plates[0].sites[5], 40)
    assert pairings._batches is kept
    pairings.of(plates, _with(tiny, seed=99), plates[0].sites[0], 0)
    assert pairings._batches is not kept
    tiled = pairings.plates(plates, 2)
    assert pairings.plates(plates, 2) is tiled and pairings.plates(plates, 1) is plates
    assert np.all([len(plate.sites) == 4 * len(whole.sites) for plate, whole in zip(tiled, plates, strict=True)])
