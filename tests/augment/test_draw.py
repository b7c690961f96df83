"""Parameters are drawn from keys alone, each from its own purpose."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from sslprofiler_core.augment import Drawn, draw_views
from sslprofiler_core.augment.draw import whole
from sslprofiler_core.keys import fold
from sslprofiler_core.recipes import AugmentRecipe

MANY = 20_000


def _draw(count: int, recipe: AugmentRecipe, shape: tuple[int, int] = (1080, 1080), channels: int = 5) -> Drawn:
    return draw_views(fold(11, np.arange(count)), [shape] * count, channels, recipe)


def test_crops_have_the_recipes_area_and_aspect_and_lie_within_the_site() -> None:
    drawn = _draw(MANY, AugmentRecipe(crop=(0.1, 0.4)), (900, 1080))
    top, left, height, width = drawn.box_B4.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 900 + 1e-9).all() and (left + width <= 1080 + 1e-9).all()
    # Crops this small nearly always fit at the first try, so that the drawn distributions show.
    assert stats.kstest(height * width / (900 * 1080), stats.uniform(0.1, 0.3).cdf).pvalue > 1e-3
    spread = np.log(4 / 3) * 2
    assert stats.kstest(np.log(width / height), stats.uniform(-spread / 2, spread).cdf).pvalue > 1e-3
    assert stats.kstest(top / (900 - height), "uniform").pvalue > 1e-3
    assert stats.kstest(left / (1080 - width), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("shape", "expected"), [((10, 1000), (10, 40 / 3)), ((1000, 10), (40 / 3, 10))])
def test_a_crop_that_cannot_fit_becomes_the_largest_centred_one(shape: tuple[int, int], expected: tuple[float, float]):
    drawn = _draw(50, AugmentRecipe(crop=(0.9, 1.0)), shape)
    assert np.allclose(drawn.box_B4[:, 2:], expected)
    assert np.allclose(drawn.box_B4[:, :2] + drawn.box_B4[:, 2:] / 2, np.array(shape) / 2)


def test_a_crop_of_all_is_all() -> None:
    drawn = _draw(100, AugmentRecipe(crop=(1.0, 1.0), aspect=(1.0, 1.0)), (97, 97))
    assert np.array_equal(drawn.box_B4, np.tile([0.0, 0.0, 97.0, 97.0], (100, 1)))


def test_probabilities_angles_and_factors() -> None:
    recipe = AugmentRecipe(flip=0.3, rotation=0.6, elastic=0.2, jitter=0.7, noise=0.4, brightness=0.5, contrast=1.5)
    drawn = _draw(MANY, recipe)
    turned, jittered = drawn.angle_B != 0, (drawn.brightness_BC != 1).all(1)
    for happened, probability in (
        (drawn.flip_B2[:, 0], 0.3),
        (drawn.flip_B2[:, 1], 0.3),
        (turned, 0.6),
        (drawn.elastic_B, 0.2),
        (jittered, 0.7),
        (drawn.noise_B, 0.4),
    ):
        assert abs(happened.mean() - probability) < 5 * np.sqrt(probability * (1 - probability) / MANY)
    assert stats.kstest(drawn.angle_B[turned], stats.uniform(0, 2 * np.pi).cdf).pvalue > 1e-3
    # Paper 3.2.2: U(max(0, 1 - alpha), 1 + alpha), so contrast 1.5 gives 0 to 2.5.
    for channel in range(5):
        assert stats.kstest(drawn.brightness_BC[jittered, channel], stats.uniform(0.5, 1.0).cdf).pvalue > 1e-3
        assert stats.kstest(drawn.contrast_BC[jittered, channel], stats.uniform(0.0, 2.5).cdf).pvalue > 1e-3
    assert (drawn.brightness_BC[~jittered] == 1).all() and (drawn.contrast_BC[~jittered] == 1).all()
    everything = np.concatenate([drawn.brightness_BC, drawn.contrast_BC], axis=1)[jittered]
    assert np.abs(np.corrcoef(everything.T) - np.eye(10)).max() < 5 / np.sqrt(jittered.sum())
    assert abs(np.corrcoef(*drawn.flip_B2.T)[0, 1]) < 5 / np.sqrt(MANY)


def test_switching_one_off_leaves_the_others_as_they_were() -> None:
    every = _draw(64, AugmentRecipe())
    off = {"rotation": "angle_B", "flip": "flip_B2", "elastic": "elastic_B", "noise": "noise_B"}
    for setting, field in off.items():
        without = _draw(64, AugmentRecipe(**{setting: 0.0}))
        assert not getattr(without, field).any()
        for name in (f.name for f in dataclasses.fields(Drawn) if f.name != field):
            assert np.array_equal(getattr(without, name), getattr(every, name)), (setting, name)
    assert not _draw(64, AugmentRecipe(elastic_alpha=0.0)).elastic_B.any()


def test_a_sample_draws_the_same_in_any_batch_and_beside_any_channels() -> None:
    keys, recipe = fold(5, np.arange(40)), AugmentRecipe()
    shapes = np.stack([np.arange(40) + 100, 200 - np.arange(40)], axis=1)
    batch = draw_views(keys, shapes, 5, recipe)
    some = np.array([31, 2, 17])
    part, fewer = draw_views(keys[some], shapes[some], 5, recipe), draw_views(keys, shapes, 3, recipe)
    for name in (f.name for f in dataclasses.fields(Drawn)):
        assert np.array_equal(getattr(batch, name)[some], getattr(part, name)), name
    assert np.array_equal(batch.brightness_BC[:, :3], fewer.brightness_BC)
    assert len(batch) == 40


def test_whole_sites_keep_their_aspect() -> None:
    drawn = whole([(50, 80), (60, 60)], 2)
    assert drawn.box_B4.tolist() == [[-15, 0, 80, 80], [0, 0, 60, 60]]
    assert not drawn.noise_B.any() and not drawn.elastic_B.any() and (drawn.brightness_BC == 1).all()
