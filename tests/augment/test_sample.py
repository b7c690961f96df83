"""Sites sampled together, as a GPU does, equal sites sampled one after another, as a CPU does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from sslprofiler_core.augment import Drawn, draw_views, render_views, views, whole_sites
from sslprofiler_core.augment.sample import sample_together
from sslprofiler_core.keys import fold
from sslprofiler_core.recipes import AugmentRecipe

RECIPE = AugmentRecipe(size=32, crop=(0.1, 1.0), elastic_alpha=60.0, elastic_sigma=8.0, noise=0.0)
SHAPES = [(161, 90), (64, 64), (33, 57), (200, 187), (50, 300), (32, 32), (97, 97)]


def _sites(shapes: list[tuple[int, int]], channels: int, dtype: type = np.uint16) -> list[Tensor]:
    rng = np.random.default_rng(1)
    return [torch.from_numpy(rng.integers(0, np.iinfo(dtype).max, (channels, *shape), dtype)) for shape in shapes]


def _both(
    sites: list[Tensor], drawn: Drawn | None, recipe: AugmentRecipe, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor]:
    scales = torch.tensor([100.0, 200.0 if sites[0].dtype == torch.uint8 else 60000.0]).expand(
        len(sites), len(sites[0]), 2
    )

    def make() -> Tensor:
        if drawn is None:
            return whole_sites(sites, scales, recipe.size, recipe)
        return render_views(sites, scales, drawn, recipe)

    each = make()
    with monkeypatch.context() as patch:
        patch.setattr(views, "sample_each", sample_together)
        return each, make()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    shapes=st.lists(st.tuples(st.integers(2, 140), st.integers(2, 140)), min_size=1, max_size=6),
    channels=st.integers(1, 5),
    size=st.integers(1, 40),
    chunk=st.sampled_from([50, 5_000, 100_000, 1 << 20]),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 2**40),
)
def test_together_equals_one_by_one(
    shapes: list[tuple[int, int]],
    channels: int,
    size: int,
    chunk: int,
    dtype: type,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "_CHUNK", chunk)
    recipe = RECIPE.model_copy(update={"size": size})
    drawn = draw_views(fold(seed, np.arange(len(shapes))), shapes, channels, recipe)
    each, together = _both(_sites(shapes, channels, dtype), drawn, recipe, monkeypatch)
    # Neighbours of random pixels differ by up to 1, so this is a place in the site to 1e-3 px.
    assert (each - together).abs().max() < 1e-3


def test_of_whole_sites_and_of_exact_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    sites = _sites(SHAPES, 2)
    each, together = _both(sites, None, RECIPE, monkeypatch)
    assert (each - together).abs().max() < 1e-3
    assert torch.equal(each[5], together[5])  # 32 x 32: not sampled


def test_levels_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw_views(fold(4, np.arange(7)), SHAPES, 2, RECIPE)
    sites = _sites(SHAPES, 2)
    every = _both(sites, drawn, RECIPE, monkeypatch)[1]
    for number in range(7):
        here = slice(number, number + 1)
        one = Drawn(**{f.name: getattr(drawn, f.name)[here] for f in dataclasses.fields(Drawn)})
        alone = _both(sites[here], one, RECIPE, monkeypatch)[1]
        assert (alone[0] - every[number]).abs().max() < 1e-3
