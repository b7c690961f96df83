"""DINOv2's own views against torchvision, which DINOv2 makes them with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import functional as torchvision

from sslprofiler_core.augment import Drawn, draw_views, pair_views, render_views
from sslprofiler_core.augment.dinov2 import blur_, shared_jitter_, solarise_
from sslprofiler_core.keys import fold
from sslprofiler_core.recipes import AugmentRecipe, Recipe

DINOV2 = AugmentRecipe(kind="dinov2", size=32, local_size=16)
MANY = 20_000


@pytest.mark.parametrize("contrast_first", [False, True])
def test_jitter_is_torchvisions(contrast_first: bool) -> None:
    """Of one channel and of three alike, whose grey value is that of each."""
    images = torch.rand(6, 1, 20, 30).expand(-1, 3, -1, -1).contiguous()
    beta, gamma = torch.linspace(0.6, 1.4, 6), torch.linspace(1.4, 0.6, 6)
    for image, b, g, ours in zip(
        images,
        beta.tolist(),
        gamma.tolist(),
        shared_jitter_(images.clone(), beta, gamma, torch.full((6,), contrast_first)),
        strict=True,
    ):
        theirs = image
        for contrast in (contrast_first, not contrast_first):
            adjust = torchvision.adjust_contrast if contrast else torchvision.adjust_brightness
            theirs = adjust(theirs, g if contrast else b)
        assert (ours - theirs).abs().max() < 2e-4  # torchvision's grey weights sum to 0.9999
        alone = shared_jitter_(
            image[None, :1].clone(), *(torch.tensor([x]) for x in (b, g)), torch.tensor([contrast_first])
        )
        theirs = image[:1]
        for contrast in (contrast_first, not contrast_first):
            adjust = torchvision.adjust_contrast if contrast else torchvision.adjust_brightness
            theirs = adjust(theirs, g if contrast else b)
        assert (alone[0] - theirs).abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(5, 20, 33), (1, 5, 5), (8, 98, 98)])
def test_blur_is_torchvisions(shape: tuple[int, int, int]) -> None:
    images, sigma = torch.rand(4, *shape), torch.tensor([0.1, 0.7, 1.3, 2.0])
    ours = blur_(images.clone(), sigma)
    for image, s, blurred in zip(images, sigma.tolist(), ours, strict=True):
        assert (blurred - torchvision.gaussian_blur(image, [9, 9], [s, s])).abs().max() < 1e-6


def test_blur_of_views_smaller_than_its_reach() -> None:
    for side in (1, 2, 3, 4):
        done = blur_(torch.full((1, 2, side, side), 0.3), torch.tensor([2.0]))
        assert torch.allclose(done, torch.tensor(0.3))


def test_solarise_is_torchvisions() -> None:
    images = torch.rand(2, 3, 9, 9)
    images[0, 0, 0, 0] = 128 / 255
    assert torch.equal(solarise_(images.clone(), 128 / 255), torchvision.solarize(images, 128 / 255))


def _draw(view: str, count: int = MANY) -> Drawn:
    return draw_views(fold(1, np.arange(count)), [(1080, 1080)] * count, 4, DINOV2, view)


@pytest.mark.parametrize(("view", "blur", "solarise"), [("v1", 1.0, 0.0), ("v2", 0.1, 0.2), ("local", 0.5, 0.0)])
def test_probabilities_are_dinov2s(view: str, blur: float, solarise: float) -> None:
    drawn = _draw(view)
    jittered = drawn.brightness_BC[:, 0] != 1
    for happened, probability in (
        (drawn.blur_B > 0, blur),
        (drawn.solarise_B, solarise),
        (jittered, 0.8),
        (drawn.flip_B2[:, 1], 0.5),
        (drawn.contrast_first_B, 0.5),
    ):
        assert abs(happened.mean() - probability) <= 5 * np.sqrt(probability * (1 - probability) / MANY)
    assert stats.kstest(drawn.blur_B[drawn.blur_B > 0], stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    assert (drawn.brightness_BC == drawn.brightness_BC[:, :1]).all()
    assert (drawn.contrast_BC == drawn.contrast_BC[:, :1]).all()
    for factors in (drawn.brightness_BC[jittered, 0], drawn.contrast_BC[jittered, 0]):
        assert stats.kstest(factors, stats.uniform(0.6, 0.8).cdf).pvalue > 1e-3
    assert not drawn.flip_B2[:, 0].any() and not drawn.angle_B.any()
    assert not drawn.elastic_B.any() and not drawn.noise_B.any()
    area = drawn.box_B4[:, 2:].prod(1) / 1080**2
    low, high = (0.05, 0.32) if view == "local" else (0.32, 1.0)
    assert area.min() > low - 1e-9 and area.max() < high + 1e-9


def test_the_chain_is_crop_jitter_blur_solarise() -> None:
    sites = [torch.rand(3, 50, 60) for _ in range(12)]
    scales = torch.tensor([0.0, 1.0]).expand(12, 3, 2)
    drawn = draw_views(fold(2, np.arange(12)), [(50, 60)] * 12, 3, DINOV2, "v2")
    drawn = dataclasses.replace(drawn, blur_B=np.where(np.arange(12) % 2, 1.3, 0.0), solarise_B=np.arange(12) % 3 == 0)
    plain = dataclasses.replace(
        drawn, brightness_BC=np.ones((12, 3)), contrast_BC=np.ones((12, 3)), blur_B=np.zeros(12)
    )
    expected = render_views(sites, scales, dataclasses.replace(plain, solarise_B=np.zeros(12, bool)), DINOV2)
    beta, gamma = (torch.from_numpy(x[:, 0]).float() for x in (drawn.brightness_BC, drawn.contrast_BC))
    expected = shared_jitter_(expected, beta, gamma, torch.from_numpy(drawn.contrast_first_B))
    for number in range(12):
        if drawn.blur_B[number]:
            expected[number] = torchvision.gaussian_blur(expected[number], [9, 9], [1.3, 1.3])
        if drawn.solarise_B[number]:
            expected[number] = torchvision.solarize(expected[number], 128 / 255)
    found = render_views(sites, scales, drawn, DINOV2)
    # A value at the threshold may fall on either side of it.
    assert ((found - expected).abs() > 1e-5).float().mean() < 1e-4


@pytest.mark.parametrize("kind", ["paper", "dinov2"])
def test_local_crops_are_of_v1s_site_and_as_the_recipe_says(kind: str) -> None:
    recipe = Recipe.model_validate(
        {
            "model": {"patch": 4},
            "augment": {"kind": kind, "size": 32, "local_size": 16, "local_crops": 3, "noise": 0.0},
            "train": {"batch": 8},
        }
    )
    first, second = [torch.full((2, 90, 80), 0.5)] * 4, [torch.zeros(2, 64, 64)] * 4
    scales = torch.tensor([0.0, 1.0]).expand(4, 2, 2)
    made = pair_views(first, second, scales, scales, recipe, 2)
    assert made.local_LBCss.shape == (3, 4, 2, 16, 16)
    assert (made.local_LBCss > 0.1).all()
    assert len(made.drawn.local) == 3 and len(made.drawn.local[0]) == 4
    boxes = np.stack([drawn.box_B4 for drawn in made.drawn.local])
    assert len(np.unique(boxes.reshape(12, 4), axis=0)) == 12
    assert (boxes[..., 2:].prod(-1) <= 0.32 * 90 * 80 + 1e-6).all()
    alone = pair_views(first[:1], second[:1], scales[:1], scales[:1], recipe, 2, samples_B=[1])
    assert np.array_equal(alone.drawn.local[2].box_B4[0], boxes[2, 1])


def test_the_kind_chooses_one_site_and_eight_crops_unless_told() -> None:
    kind = AugmentRecipe(kind="dinov2")
    assert (kind.local_aggregation, kind.local_crops, kind.local_size) == (False, 8, 98)
    told = AugmentRecipe(kind="dinov2", local_aggregation=True, local_crops=2)
    assert (told.local_aggregation, told.local_crops) == (True, 2)
    assert (AugmentRecipe().local_aggregation, AugmentRecipe().local_crops) == (True, 0)
    with pytest.raises(ValueError, match=r"augment\.local_size = 98 is not a multiple"):
        Recipe.model_validate({"model": {"patch": 16}, "augment": {"size": 32, "local_crops": 1}})
