"""What the preview shows is what training sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sslprofiler.preview.client import Renderer
from napari_sslprofiler.preview.model import Preview, Request, Wish, settle
from napari_sslprofiler.preview.pairing import Pairings
from napari_sslprofiler.preview.render import Sites, render
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import (
    FlatFields,
    IntensityScale,
    Plate,
    measure_flat_field,
    measure_scale,
    open_plates,
    select_channels,
    tile_plate,
)
from sslprofiler_core.recipes import Recipe, load_recipe
from sslprofiler_core.training.loader import PairLoader
from sslprofiler_core.training.pairs import PairOrder
from sslprofiler_core.training.views import step_views


def _training(
    plates: tuple[Plate, ...],
    recipe: Recipe,
    scale: IntensityScale,
    step: int,
    fields: FlatFields | None = None,
) -> tuple[PairOrder, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The views of a step as training makes them, for all its samples."""
    channels = {plate.name: select_channels(plate, "fluorescence") for plate in plates}
    order = PairOrder.over([site for plate in plates for site in plate.sites], recipe.train)
    with PairLoader(order, plates, channels, scale, 0, fields) as loader:
        views = step_views(loader.batch(step, step + 1), recipe, step, torch.device("cpu"))
    wanted = torch.bfloat16 if recipe.train.precision == "bf16" else torch.float32
    assert views.v1_BCHW.dtype == wanted
    return order, views.v1_BCHW.float(), views.v2_BCHW.float(), views.masks_BN


def _wish(plates: tuple[Plate, ...], recipe: Recipe, scale: IntensityScale, place: int, step: int, sample: int) -> Wish:
    site = [site for plate in plates for site in plate.sites][place]
    plate = next(plate for plate in plates if plate.name == site.plate)
    return Wish(plates, plate, site, recipe, "fluorescence", step, sample, 0, scale[plate.name])


@pytest.mark.parametrize("step", [0, 7])
@pytest.mark.parametrize("kind", ["paper", "dinov2"])
def test_every_sample_of_a_step_is_what_training_saw(
    plates: tuple[Plate, ...], tiny: Recipe, scale: IntensityScale, step: int, kind: str
) -> None:
    recipe = tiny
    if kind == "dinov2":
        recipe = tiny.model_copy(update={"augment": tiny.augment.model_copy(update={"kind": "dinov2"})})
    order, v1, v2, masks = _training(plates, recipe, scale, step)
    pairings, sites = Pairings(), Sites()
    for sample, place in enumerate(order.step(step).ravel().tolist()):
        settled = settle(_wish(plates, recipe, scale, place, step, sample), pairings)
        assert settled.now == sample
        assert settled.request.second == order.sites[order.step(step).ravel()[sample ^ 1]]
        preview = render(settled.request, sites)
        np.testing.assert_array_equal(preview.v1_CSS, v1[sample].numpy())
        np.testing.assert_array_equal(preview.v2_CSS, v2[sample].numpy())
        np.testing.assert_array_equal(preview.mask.ravel(), masks[sample].numpy())


def test_illumination_is_divided_out_as_in_training(
    plates: tuple[Plate, ...], tiny: Recipe, scale: IntensityScale
) -> None:
    pieces = tuple(tile_plate(plate, 2) for plate in plates)
    recipe = tiny.model_copy(update={"plates": tiny.plates.model_copy(update={"tile": 2})})
    fields = measure_flat_field(plates)
    order, v1, v2, _ = _training(pieces, recipe, scale, 3, fields)
    _, raw, _, _ = _training(pieces, recipe, scale, 3)
    for sample, place in enumerate(order.step(3).ravel().tolist()):
        whole, piece = divmod(place, 4)  # four pieces a site, in the sites' order
        wish = replace(_wish(plates, recipe, scale, whole, 3, sample), tile=piece)
        settled = settle(replace(wish, fields=fields[wish.plate.name]), Pairings())
        assert settled.request.first == order.sites[place]
        preview = render(settled.request, Sites())
        np.testing.assert_array_equal(preview.v1_CSS, v1[sample].numpy())
        np.testing.assert_array_equal(preview.v2_CSS, v2[sample].numpy())
    assert not torch.equal(v1, raw)


def test_real_pieces_in_the_other_process_are_what_training_saw(cpjump1: Path, renderer: Renderer) -> None:
    """Pseudo-sites of real sites at 98 px: single sites of their wells have no others to pair with."""
    recipe = load_recipe("paper-vits14", ["plates.tile=3", "augment.size=98", "train.batch=4", "plates.scale_sites=1"])
    plates = tuple(open_plates([cpjump1 / "images" / "BR00117011"]))
    tiled = tuple(tile_plate(plate, 3) for plate in plates)
    scale = measure_scale(tiled, percentiles=recipe.plates.percentiles, sites=1, seed=recipe.train.seed)
    order, v1, v2, masks = _training(tiled, recipe, scale, 0)
    for sample, place in enumerate(order.step(0).ravel().tolist()):
        wish = replace(_wish(plates, recipe, scale, 0, 0, sample), tile=place)
        settled = settle(wish, Pairings())
        assert settled.request.first == order.sites[place] and settled.now == sample
        preview = renderer.ask(settled.request)
        np.testing.assert_array_equal(preview.v1_CSS, v1[sample].numpy())
        np.testing.assert_array_equal(preview.v2_CSS, v2[sample].numpy())
        np.testing.assert_array_equal(preview.mask.ravel(), masks[sample].numpy())


def test_another_size_has_the_same_parameters_and_masks(
    plates: tuple[Plate, ...], tiny: Recipe, scale: IntensityScale
) -> None:
    sites = Sites()
    recipe = tiny.model_copy(update={"augment": tiny.augment.model_copy(update={"local_crops": 2, "local_size": 16})})
    for sample in range(4):
        own = settle(_wish(plates, recipe, scale, 3, 2, sample), Pairings()).request
        small, large = render(own, sites), render(replace(own, size=96), sites)
        assert large.v1_CSS.shape == (5, 96, 96) and small.v1_CSS.shape == (5, 32, 32)
        np.testing.assert_array_equal(small.mask, large.mask)
        np.testing.assert_array_equal(small.local_LCss, large.local_LCss)
        for one, other in ((small.v1, large.v1), (small.v2, large.v2)):
            for name in vars(one):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_process_says_what_is_wrong_and_goes_on(
    plates: tuple[Plate, ...], tiny: Recipe, scale: IntensityScale, renderer: Renderer, tmp_path: Path
) -> None:
    good = settle(_wish(plates, tiny, scale, 0, 0, 0), Pairings()).request
    broken = tmp_path / "broken.tiff"
    broken.write_bytes(b"rubbish")
    with pytest.raises(UserError, match=r"broken\.tiff"):
        renderer.ask(replace(good, first=replace(good.first, paths=(broken,) * 8)))
    with pytest.raises(UserError, match="batch of 8 has samples 0 to 7"):
        renderer.ask(replace(good, sample=8))
    with pytest.raises(UserError, match=r"could not be made \(IndexError"):
        renderer.ask(replace(good, channels=(0, 99), names=("a", "b"), limits=None))
    assert isinstance(renderer.ask(good), Preview)


def test_a_killed_process_is_told_of_and_started_again(
    plates: tuple[Plate, ...], tiny: Recipe, scale: IntensityScale, renderer: Renderer
) -> None:
    good: Request = settle(_wish(plates, tiny, scale, 0, 0, 0), Pairings()).request
    first = renderer.ask(good)
    pid = renderer.pid
    assert pid is not None and renderer._process is not None
    renderer._process.kill()
    with pytest.raises(UserError, match="was killed"):
        renderer.ask(good)
    again = renderer.ask(good)
    assert renderer.pid != pid
    np.testing.assert_array_equal(first.v1_CSS, again.v1_CSS)


def test_without_a_plates_scale_the_sites_own_percentiles_are_taken(plates: tuple[Plate, ...], tiny: Recipe) -> None:
    recipe = tiny.model_copy(update={"augment": tiny.augment.model_copy(update={"standardise": False})})
    wish = replace(_wish(plates, recipe, {plate.name: {} for plate in plates}, 0, 0, 0))
    settled = settle(wish, Pairings())
    assert settled.request.limits is None and any("being measured" in note for note in settled.notes)
    view = render(settled.request, Sites()).v1_CSS
    assert 0.0 <= view.min() < view.max() <= 1.0


def test_sites_are_kept_up_to_a_size(plates: tuple[Plate, ...]) -> None:
    sites = Sites(memory=2 * 2 * 64 * 64 * 2)
    first, *others = plates[0].sites[:4]
    once = sites.read(first, (0, 1))
    assert sites.read(first, (0, 1)) is once
    for other in others:
        sites.read(other, (0, 1))
    assert sites.read(first, (0, 1)) is not once
