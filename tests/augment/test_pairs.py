"""One function maps (seed, step, sample, recipe, sites) to what training sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from sslprofiler_core.augment import draw_masks, draw_pairs, draw_views, mask_key, pair_views, view_keys
from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe

SHAPES = [(50, 60), (48, 48), (70, 41), (50, 60)]


def _recipe(**augment: object) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"patch": 4},
            "augment": {"size": 24, "elastic_alpha": 40.0, "elastic_sigma": 6.0, **augment},
            "train": {"batch": 8, "seed": 3},
        }
    )


def _sites(seed: int) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.integers(0, 60000, (3, *shape), np.uint16)) for shape in SHAPES]


SCALES = torch.tensor([1000.0, 60000.0]).expand(4, 3, 2)


def test_a_preview_of_one_sample_is_what_the_batch_has() -> None:
    recipe, first, second = _recipe(noise=0.0), _sites(0), _sites(1)
    batch = pair_views(first, second, SCALES, SCALES, recipe, step=5)
    for sample in range(4):
        here = slice(sample, sample + 1)
        alone = pair_views(first[here], second[here], SCALES[here], SCALES[here], recipe, 5, samples_B=[sample])
        assert torch.allclose(alone.v1_BCSS[0], batch.v1_BCSS[sample], atol=2e-4)
        assert torch.allclose(alone.v2_BCSS[0], batch.v2_BCSS[sample], atol=2e-4)
        assert np.array_equal(alone.drawn.masks_BN[0], batch.drawn.masks_BN[sample])
        for view in ("v1", "v2"):
            one, all_of_them = getattr(alone.drawn, view), getattr(batch.drawn, view)
            for field in dataclasses.fields(one):
                assert np.array_equal(getattr(one, field.name)[0], getattr(all_of_them, field.name)[sample])


def test_keys_are_of_seed_step_sample_and_view() -> None:
    recipe = _recipe()
    drawn = draw_pairs(recipe, 7, [2, 5], SHAPES[:2], SHAPES[2:], 3)
    v2 = draw_views(view_keys(3, 7, [2, 5], 2), SHAPES[2:], 3, recipe.augment)
    assert np.array_equal(drawn.v2.box_B4, v2.box_B4)
    masks = draw_masks(mask_key(3, 7), 8, (6, 6), 0.5, (0.1, 0.5))
    assert np.array_equal(drawn.masks_BN, masks[[2, 5]])
    every = np.concatenate([view_keys(s, t, np.arange(8), v) for s in (0, 1) for t in (0, 1) for v in (1, 2)])
    assert len(np.unique(every)) == 64


def test_without_local_aggregation_v2_is_of_the_same_site() -> None:
    first, second = _sites(0), _sites(1)
    made = pair_views(first, second, SCALES, SCALES, _recipe(local_aggregation=False), 0)
    same = pair_views(first, first, SCALES, SCALES, _recipe(), 0)
    assert torch.equal(made.v2_BCSS, same.v2_BCSS)
    assert not torch.equal(made.v2_BCSS, pair_views(first, second, SCALES, SCALES, _recipe(), 0).v2_BCSS)


def test_wrong_pairs_are_errors() -> None:
    first = _sites(0)
    with pytest.raises(UserError, match="4 sites and 3 partners"):
        pair_views(first, first[1:], SCALES, SCALES[1:], _recipe(), 0)
    with pytest.raises(UserError, match="second 1 has 2 channels, and first 0 has 3"):
        names = [f"{which} {number}" for which in ("first", "second") for number in range(2)]
        others = [first[0], first[1][:2]]
        pair_views(first[:2], others, SCALES[:2], SCALES[:2], _recipe(), 0, names=names)
    with pytest.raises(UserError, match="samples 0 to 7"):
        pair_views(first[:1], first[:1], SCALES[:1], SCALES[:1], _recipe(), 0, samples_B=[8])
    with pytest.raises(UserError, match=r"Sample 0 has shape \(3, 0, 60\)"):
        empty = [torch.zeros(3, 0, 60)]
        pair_views(empty, empty, SCALES[:1], SCALES[:1], _recipe(), 0)
    with pytest.raises(UserError, match="no site"):
        pair_views([], [], SCALES[:0], SCALES[:0], _recipe(), 0)
