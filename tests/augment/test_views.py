"""The whole chain: raw sites to views, alike in any batch, and errors that name the sample."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sslprofiler_core.augment import (
    Drawn,
    channel_jitter,
    draw_views,
    microscope_noise,
    render_views,
    views,
    whole_sites,
)
from sslprofiler_core.errors import UserError
from sslprofiler_core.keys import fold
from sslprofiler_core.plates import open_plates, read_site
from sslprofiler_core.recipes import AugmentRecipe

SMALL = AugmentRecipe(size=24, elastic_alpha=40.0, elastic_sigma=6.0)
STILL = {"rotation": 0.0, "flip": 0.0, "elastic": 0.0, "jitter": 0.0, "noise": 0.0}


def _sites(count: int, shape: tuple[int, int, int] = (3, 50, 60), dtype: type = np.uint16) -> list[Tensor]:
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.integers(0, np.iinfo(dtype).max, shape, dtype)) for _ in range(count)]


def _scales(count: int, channels: int = 3, low: float = 1000.0, high: float = 60000.0) -> Tensor:
    return torch.tensor([low, high]).expand(count, channels, 2).contiguous()


def _draw(count: int, recipe: AugmentRecipe, shape: tuple[int, int] = (50, 60), channels: int = 3) -> Drawn:
    return draw_views(fold(6, np.arange(count)), [shape] * count, channels, recipe)


def test_identity_parameters_do_not_sample() -> None:
    recipe = AugmentRecipe(size=50, crop=(1.0, 1.0), aspect=(1.0, 1.0), **STILL)
    (site,) = _sites(1, (3, 50, 50))
    exact = ((site.to(torch.float32) - 1000) / 59000).clamp(0, 1)
    for view in (
        render_views([site], _scales(1), _draw(1, recipe, (50, 50)), recipe)[0],
        whole_sites([site], _scales(1), 50, recipe)[0],
    ):
        assert torch.allclose(view, exact, atol=1e-7, rtol=0)
    # As values of the site's own, they are equal to the bit.
    grey = site.to(torch.float32) / 65536
    assert torch.equal(whole_sites([grey], _scales(1, 3, 0.0, 1.0), 50, recipe)[0], grey)


def test_the_chain_is_geometry_then_jitter_clamp_noise_and_standardisation() -> None:
    sites, scales = _sites(6), _scales(6)
    recipe = SMALL.model_copy(update={"noise": 0.5, "standardise": True})
    drawn = _draw(6, recipe)
    assert 0 < drawn.noise_B.sum() < 6
    plain = dataclasses.replace(
        drawn, brightness_BC=np.ones((6, 3)), contrast_BC=np.ones((6, 3)), noise_B=np.zeros(6, bool)
    )
    views = render_views(sites, scales, plain, SMALL)
    factors = torch.from_numpy(drawn.brightness_BC), torch.from_numpy(drawn.contrast_BC)
    views = channel_jitter(views, *factors).clamp(0, 1)
    noisy = torch.from_numpy(drawn.noise_B)
    views[noisy] = microscope_noise(views[noisy], keys_B=drawn.noise_keys_B[drawn.noise_B])
    views = views.double()
    views = (views - views.mean((2, 3), keepdim=True)) / views.std((2, 3), correction=0, keepdim=True)
    assert (render_views(sites, scales, drawn, recipe) - views).abs().max() < 1e-3


@settings(max_examples=40)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    channels=st.integers(1, 6),
    size=st.integers(1, 40),
    elastic=st.floats(0.0, 400.0),
    strength=st.floats(0.0, 2.0),
    shot=st.floats(0.01, 1.0),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    kind=st.sampled_from(["paper", "paper", "dinov2"]),
    seed=st.integers(0, 2**40),
)
def test_views_are_finite_in_range_repeatable_and_independent_of_the_batch(
    height: int,
    width: int,
    channels: int,
    size: int,
    elastic: float,
    strength: float,
    shot: float,
    dtype: type,
    kind: str,
    seed: int,
) -> None:
    recipe = AugmentRecipe(
        kind=kind, size=size, crop=(0.05, 1.0), elastic_alpha=elastic, elastic_sigma=5.0, brightness=strength,
        contrast=strength, noise_shot=shot,
    )  # fmt: skip
    site, other = _sites(1, (channels, height, width), dtype)[0], _sites(1, (channels, 31, 47), dtype)[0]
    keys, shapes = fold(seed, np.arange(2)), [(height, width), (31, 47)]
    scales = _scales(2, channels, 3.0, float(np.iinfo(dtype).max))
    views = render_views([site, other], scales, draw_views(keys, shapes, channels, recipe), recipe)
    assert views.shape == (2, channels, size, size) and views.dtype == torch.float32
    assert views.isfinite().all() and views.min() >= 0 and views.max() <= 1
    alone = render_views([site], scales[:1], draw_views(keys[:1], shapes[:1], channels, recipe), recipe)
    quiet = recipe.model_copy(update={"noise": 0.0})
    batched = render_views([site, other], scales, draw_views(keys, shapes, channels, quiet), quiet)
    single = render_views([site], scales[:1], draw_views(keys[:1], shapes[:1], channels, quiet), quiet)
    assert torch.allclose(batched[0], single[0], atol=1e-5)
    # Counts may differ where rounding moved a rate across a threshold: of at most 9,600 pixels hardly one.
    assert ((alone[0] - views[0]).abs() > 1e-5).sum() <= 2
    again = render_views([site, other], scales, draw_views(keys, shapes, channels, recipe), recipe)
    assert torch.equal(again, views)


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = SMALL.model_copy(update={"noise": 0.0})
    sites, drawn = _sites(5), _draw(5, recipe)
    whole = render_views(sites, _scales(5), drawn, recipe)
    monkeypatch.setattr(views, "_CHUNK", 2000)
    assert torch.allclose(render_views(sites, _scales(5), drawn, recipe), whole, atol=1e-5)


def test_autocast_does_not_reach_the_grid() -> None:
    sites, drawn = _sites(4), _draw(4, SMALL)
    plain = render_views(sites, _scales(4), drawn, SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(render_views(sites, _scales(4), drawn, SMALL), plain)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float16, torch.bfloat16, torch.float64])
def test_pixel_types(dtype: torch.dtype) -> None:
    values = torch.randint(0, 250, (3, 50, 60))
    recipe = SMALL.model_copy(update={"noise": 0.0})
    expected = render_views([values.to(dtype).to(torch.float32)], _scales(1, 3, 0, 250), _draw(1, recipe), recipe)
    assert torch.equal(render_views([values.to(dtype)], _scales(1, 3, 0, 250), _draw(1, recipe), recipe), expected)


def test_sites_are_left_as_they_were() -> None:
    sites = [torch.rand(3, 50, 50)]
    before = sites[0].clone()
    render_views(sites, _scales(1, 3, 0, 1), _draw(1, SMALL, (50, 50)), SMALL)
    whole_sites(sites, _scales(1, 3, 0, 1), 50, SMALL)
    assert torch.equal(sites[0], before)


def test_whole_sites_keep_their_aspect_and_reflect() -> None:
    site = torch.rand(2, 40, 60)
    view = whole_sites([site], _scales(1, 2, 0, 1), 60, SMALL)[0]
    expected = torch.cat([site[:, :10].flip(1), site, site[:, -10:].flip(1)], dim=1)
    assert torch.allclose(view, expected, atol=1e-4)


def test_whole_real_sites_are_near_antialiased_resizing(cpjump1: Path) -> None:
    """Less than 8 % relative RMS in every channel of every real site at 98 px; points without averages: 8 to 24 %."""
    every = [site for plate in open_plates([cpjump1 / "images"]) for site in plate.sites]
    worst = {98: 0.0, 518: 0.0}
    for number, site in enumerate(every):
        raw = torch.from_numpy(read_site(site))
        quantiles = torch.tensor([0.001, 0.999])
        scale = torch.quantile(raw.to(torch.float32)[:, ::4, ::4].flatten(1), quantiles, dim=1).T
        exact = ((raw.to(torch.float32) - scale[:, :1, None]) / (scale[:, 1:] - scale[:, :1])[..., None]).clamp_(0, 1)
        for size in worst if number == 0 else (98,):
            view = whole_sites([raw], scale[None], size, AugmentRecipe())[0]
            smooth = torch.nn.functional.interpolate(exact[None], size=(size, size), mode="bilinear", antialias=True)[0]
            error = (view - smooth).square().mean((1, 2)).sqrt() / smooth.square().mean((1, 2)).sqrt()
            assert error.shape == (8,)
            worst[size] = max(worst[size], float(error.max()))
    assert len(every) == 6
    assert max(worst.values()) < 0.08, worst
    recipe = AugmentRecipe(size=98)
    view = render_views([raw], scale[None], _draw(1, recipe, (1080, 1080), 8), recipe)
    assert view.shape == (1, 8, 98, 98) and (view.std((2, 3)) > 0.01).all()


@pytest.mark.parametrize(
    ("site", "message"),
    [
        (torch.zeros(3, 0, 60), r"well D08 .*shape \(3, 0, 60\)"),
        (torch.zeros(50, 60), r"well D08 .*shape \(50, 60\)"),
        (torch.zeros(2, 50, 60), "well D08 has 2 channels"),
        (torch.full((3, 50, 60), math.nan), "well D08 has pixels from nan"),
        (torch.full((3, 50, 60), -1.0), "well D08 has pixels from -1"),
        (torch.full((3, 50, 60), math.inf), "well D08 has pixels from inf"),
        (torch.full((3, 50, 60), -5, dtype=torch.int16), "well D08 has pixels from -5"),
        (torch.zeros(3, 50, 60, dtype=torch.bool), "well D08 has pixels of type"),
    ],
)
def test_wrong_sites_are_named(site: Tensor, message: str) -> None:
    sites, names = [*_sites(1), site], ["well A01", "well D08"]
    with pytest.raises(UserError, match=message):
        render_views(sites, _scales(2), _draw(2, SMALL), SMALL, names)
    with pytest.raises(UserError, match=message):
        whole_sites(sites, _scales(2), 24, SMALL, names)


def test_wrong_parameters_are_named() -> None:
    sites, scales, drawn = _sites(2), _scales(2), _draw(2, SMALL)
    with pytest.raises(UserError, match="Sample 1: a crop"):
        box = drawn.box_B4.copy()
        box[1] = [10, 10, 45, 20]
        render_views(sites, scales, dataclasses.replace(drawn, box_B4=box), SMALL)
    flat = scales.clone()
    flat[1, 2] = 7.0
    with pytest.raises(UserError, match="Sample 1: the intensity scale of channel 3 runs from 7 to 7"):
        render_views(sites, flat, drawn, SMALL)
    # As they are used, in float32 and by the reciprocal of their difference, these are no scales either.
    for low, high in ((300.0, 300.000001), (0.0, 1e-39), (0.0, 1e39)):
        fine = scales.to(torch.float64)
        fine[1, 0] = torch.tensor([low, high], dtype=torch.float64)
        with pytest.raises(UserError, match="Sample 1: the intensity scale of channel 1"):
            render_views(sites, fine, drawn, SMALL)
    with pytest.raises(UserError, match="Sample 1 has 2 channels, and Sample 0 has 3"):
        render_views([sites[0], sites[1][:2]], scales, drawn, SMALL)
    with pytest.raises(UserError, match="parameters were drawn for 2"):
        render_views(sites[:1], scales[:1], drawn, SMALL)
    with pytest.raises(UserError, match="scales for 1"):
        render_views(sites, scales[:1], drawn, SMALL)
    with pytest.raises(UserError, match="no site"):
        whole_sites([], scales[:0], 24, SMALL)
    with pytest.raises(UserError, match="0 px"):
        whole_sites(sites, scales, 0, SMALL)
    with pytest.raises(UserError, match="0 px"):
        render_views(sites, scales, drawn, SMALL, size=0)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_threads_render_in_the_callers_mode(mode: Callable[[], Any]) -> None:
    sites = [torch.randint(0, 999, (2, 40, 40), generator=torch.Generator().manual_seed(i)).float() for i in range(8)]
    scales = torch.tensor([0.0, 1000.0]).expand(8, 2, 2)
    threads = torch.get_num_threads()
    done = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            with mode():
                done.append(whole_sites(sites, scales, 24, AugmentRecipe()).clone())
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*done)
