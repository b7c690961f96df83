"""Geometry, words, strengths and pictures of previews."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_sslprofiler.preview import words
from napari_sslprofiler.preview.compose import (
    colours_of,
    display_range,
    mask_pixels,
    masked_picture,
    mosaic,
    picture,
    shown_channels,
)
from napari_sslprofiler.preview.model import corner_mark, crop_corners, idle_keys, tile_origin
from napari_sslprofiler.preview.strength import as_the_paper, stronger
from sslprofiler_core.augment import draw_views, render_views, view_keys
from sslprofiler_core.augment.draw import Drawn
from sslprofiler_core.plates import Channel, Plate, Site
from sslprofiler_core.recipes import AugmentRecipe, Recipe, load_recipe
from sslprofiler_core.recipes.schema import LEAST_SHOT


def _drawn(seed: int, height: int, width: int, recipe: AugmentRecipe) -> Drawn:
    return draw_views(view_keys(seed, 0, [0], 1), [(height, width)], 1, recipe)


@pytest.mark.parametrize("seed", range(6))
def test_the_drawn_corners_are_where_the_renderer_samples(seed: int) -> None:
    """A site whose pixels are their own coordinates, rendered: extrapolated to its corners, a view has the corners'."""
    height, width, size = 160, 220, 64
    recipe = AugmentRecipe(size=size, elastic=0.0, jitter=0.0, noise=0.0, crop=(0.2, 0.3))
    drawn = _drawn(seed, height, width, recipe)
    corners = crop_corners(drawn)
    inside = (corners > 2).all() and (corners < np.array([height, width]) - 2).all()
    rows, columns = np.mgrid[:height, :width].astype(np.float32) + 0.5
    limits = [[0.0, 1000.0]] * 2
    site = torch.from_numpy(np.stack([rows, columns]))
    both = replace(drawn, brightness_BC=np.ones((1, 2)), contrast_BC=np.ones((1, 2)))
    view = render_views([site], torch.tensor([limits]), both, recipe)[0].numpy() * 1000.0
    centre = view[:, size // 2 - 1 : size // 2 + 1, size // 2 - 1 : size // 2 + 1].mean((1, 2))
    np.testing.assert_allclose(centre, corners.mean(0), atol=0.05)
    if inside:  # where no edge reflects, the view is an affine function of the place
        step = size / (size - 1.0)
        for corner, (row, column) in zip(corners, ((0, 0), (0, -1), (-1, -1), (-1, 0)), strict=True):
            np.testing.assert_allclose(centre + (view[:, row, column] - centre) * step, corner, atol=0.1)


def test_a_corner_mark_lies_along_the_views_first_corner() -> None:
    drawn = _drawn(3, 100, 100, AugmentRecipe(rotation=0.0, flip=0.0))
    corners = crop_corners(drawn)
    top, left, height, width = drawn.box_B4[0]
    np.testing.assert_allclose(corners[0], (top, left))
    np.testing.assert_allclose(corners[2], (top + height, left + width))
    np.testing.assert_allclose(
        corner_mark(corners, 0.5), [(top + height / 2, left), (top, left), (top, left + width / 2)]
    )


def test_pieces_begin_where_they_were_cut() -> None:
    site = Site("P", "A01", 1, (Path("x"),))
    assert tile_origin(site, (30, 40)) == (0, 0)
    assert tile_origin(replace(site, tile=(1, 2, 3)), (30, 40)) == (30, 80)


# --- Strengths -------------------------------------------------------------------------------------------------------


@given(st.sampled_from(["paper-vits14", "tiny"]), st.sampled_from(["paper", "dinov2"]), st.integers(-12, 12))
def test_any_number_of_steps_gives_a_good_recipe_and_leads_back(name: str, kind: str, steps: int) -> None:
    recipe = load_recipe(name, [f"augment.kind={kind}", "augment.local_size=112"])
    there = stronger(recipe, steps)
    assert Recipe.model_validate(there.model_dump()) == there
    assert there.model_copy(update={"augment": recipe.augment}) == recipe
    if abs(steps) <= 3:
        back = stronger(there, -steps).augment
        for key, value in dict(recipe.augment).items():
            if isinstance(value, float | tuple):
                np.testing.assert_allclose(getattr(back, key), value, rtol=2e-3, err_msg=key)


def test_stronger_is_stronger_and_what_is_off_stays_off() -> None:
    recipe = Recipe()
    up, down = stronger(recipe).augment, stronger(recipe, -1).augment
    for name in ("flip", "elastic", "noise", "jitter", "brightness", "contrast", "elastic_alpha", "noise_read"):
        assert getattr(down, name) < getattr(recipe.augment, name) < getattr(up, name)
    assert up.crop[0] < recipe.augment.crop[0] < down.crop[0] and up.crop[1] == 1.0
    assert up.aspect[0] < 0.75 < down.aspect[0] and down.aspect[1] < 4 / 3 < up.aspect[1]
    assert up.rotation == down.rotation == 1.0
    assert stronger(load_recipe("tiny"), 5).augment.noise == 0.0
    assert stronger(recipe, -200).augment.noise_shot == LEAST_SHOT


def test_back_to_the_paper_keeps_what_the_network_needs() -> None:
    assert as_the_paper(stronger(Recipe(), 3)) == Recipe()
    tiny = as_the_paper(load_recipe("tiny"))
    assert Recipe.model_validate(tiny.model_dump()) == tiny
    assert tiny.augment.size == 64 and tiny.augment.crop == (0.32, 1.0) and not tiny.augment.standardise
    assert tiny.model == load_recipe("tiny").model
    assert as_the_paper(load_recipe("paper-vits14", ["loss.mask_images=1.0"])) == Recipe()


def test_keys_without_effect_are_named() -> None:
    paper, dinov2 = idle_keys("paper", 0), idle_keys("dinov2", 8)
    assert "augment.blur" in paper and "augment.local_size" in paper and "augment.noise" not in paper
    assert "augment.noise" in dinov2 and "augment.blur" not in dinov2 and "augment.local_size" not in dinov2
    known = {f"augment.{key}" for key in AugmentRecipe.model_fields}
    assert paper | dinov2 < known


@pytest.mark.parametrize("kind", ["paper", "dinov2"])
def test_keys_without_effect_have_none(kind: str) -> None:
    """Changing every idle key changes neither parameters nor pixels."""
    plain = load_recipe("paper-vits14", [f"augment.kind={kind}", "augment.local_crops=0", "augment.size=28"])
    other = AugmentRecipe.model_validate(
        {
            **dict(plain.augment),
            **{key.partition(".")[2]: _another(plain.augment, key.partition(".")[2]) for key in idle_keys(kind, 0)},
        }
    )
    assert other != plain.augment
    site = torch.arange(2 * 40 * 50, dtype=torch.float32).view(2, 40, 50)
    for recipe_view in ("v1", "v2"):
        seen = []
        for recipe in (plain.augment, other):
            drawn = draw_views(view_keys(1, 2, [3], 1), [(40, 50)], 2, recipe, recipe_view)
            seen.append(render_views([site], torch.tensor([[[0.0, 4000.0]] * 2]), drawn, recipe))
        torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=0)


def _another(augment: AugmentRecipe, key: str) -> object:
    value = getattr(augment, key)
    if isinstance(value, tuple):
        return (value[0] / 2, value[1] / 2)
    return value + 14 if isinstance(value, int) else value / 2


# --- Words -----------------------------------------------------------------------------------------------------------


def test_what_was_drawn_reads_in_units() -> None:
    drawn = _drawn(0, 1080, 1080, AugmentRecipe())
    drawn = replace(
        drawn,
        box_B4=np.array([[10.0, 20.0, 540.0, 1080.0]]),
        angle_B=np.array([np.pi / 3]),
        flip_B2=np.array([[True, False]]),
        elastic_B=np.array([True]),
        noise_B=np.array([False]),
        brightness_BC=np.array([[1.25]]),
        contrast_BC=np.array([[0.75]]),
    )
    assert words.part_words(drawn, (1080, 1080)) == "50 % of the site"
    assert words.crop_words(drawn) == "1080 × 540 px"
    assert words.angle_words(drawn) == "60°"
    assert words.flip_words(drawn) == "up–down"
    assert words.elastic_words(drawn, AugmentRecipe()) == "yes, by 8.5 px (SD)"
    assert words.factor_words(drawn, 0) == "1.25, 0.75"
    assert words.short_words(drawn, (1080, 1080)) == "50 % of the site, 60°, flipped, elastic"


# --- Pictures --------------------------------------------------------------------------------------------------------


def _plate(*channels: tuple[str, str]) -> Plate:
    described = tuple(Channel(name, group, k + 1) for k, (name, group) in enumerate(channels))
    site = Site("P1", "B03", 2, tuple(Path(f"ch{k}.tiff") for k in range(len(channels))))
    return Plate("P1", Path(), "phenix", described, (site,), 0.5, (4, 6), ())


def test_channels_have_their_layers_colours_and_add_up() -> None:
    plate = _plate(("DNA", "fluorescence"), ("AGP", "fluorescence"), ("high z", "brightfield"))
    found = colours_of(plate)
    colours = np.stack(list(found.values()))
    assert tuple(np.rint(found["DNA"] * 255)) == (0x33, 0x55, 0xFF) and found["high z"].tolist() == [1, 1, 1]
    names = list(found)
    assert shown_channels(plate, names) == [0, 1] and shown_channels(plate, names, "high z") == [2]
    assert shown_channels(plate, ["high z"]) == [0]
    view = np.zeros((3, 2, 2), np.float32)
    view[0, 0, 0], view[1, 0, 0], view[2, 1, 1] = 1.0, 0.5, 1.0
    rgb = picture(view, colours, [0, 1])
    wanted = np.clip(np.rint(255 * (found["DNA"] + 0.5 * found["AGP"])), 0, 255)
    np.testing.assert_array_equal(rgb[0, 0], wanted)
    assert not rgb[1].any()
    assert (picture(view, colours, [2])[1, 1] == 255).all()


def test_standardised_views_are_drawn_from_below_their_mean() -> None:
    low, high = display_range(True)
    view = np.full((1, 3, 3), (low + high) / 2, np.float32)
    assert (picture(view, np.ones((1, 3), np.float32), [0], (low, high)) == 128).all()


def test_masked_patches_are_one_grey_and_the_rest_is_untouched() -> None:
    mask = np.array([[True, False], [False, False]])
    hidden = mask_pixels(mask, 7)
    assert hidden[:4, :4].all() and hidden.sum() == 16
    rgb = np.random.default_rng(0).integers(0, 255, (7, 7, 3), np.uint8)
    twin = masked_picture(rgb, mask)
    assert len(np.unique(twin[hidden], axis=0)) == 1
    np.testing.assert_array_equal(twin[~hidden], rgb[~hidden])


def test_local_crops_lie_in_a_square() -> None:
    crops = [np.full((4, 4, 3), number, np.uint8) for number in range(1, 9)]
    whole = mosaic(crops)
    assert whole.shape == (16, 16, 3)
    assert whole[0, 0, 0] == 1 and whole[6, 0, 0] == 4 and whole[12, 6, 0] == 8 and whole[-1, -1, 0] == 96


def test_the_windows_half_of_the_preview_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from napari_sslprofiler.preview import client, compose, model, pairing, server, strength, words\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules, 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
