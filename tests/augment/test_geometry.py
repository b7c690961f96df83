"""Sampling grids: every pixel of a view comes from the right place of its site."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from sslprofiler_core.augment import Drawn, draw_views, elastic_displacement, render_views
from sslprofiler_core.augment.draw import whole
from sslprofiler_core.augment.elastic import deviation, spectrum
from sslprofiler_core.augment.geometry import average, place_views
from sslprofiler_core.keys import fold, normals
from sslprofiler_core.recipes import AugmentRecipe

ALPHA, SIGMA = 75.0, 10.0
GEOMETRY = AugmentRecipe(size=40, crop=(0.1, 0.9), jitter=0.0, noise=0.0, elastic_alpha=ALPHA, elastic_sigma=SIGMA)


def _displacement(
    key: int, rows: NDArray[np.float64], columns: NDArray[np.float64], extent: int
) -> NDArray[np.float64]:
    """The field of paper 6.2 in float64, term by term of its series, at any rows and columns in pixels."""
    omega, amplitude = spectrum(float(extent), SIGMA)
    rank = 2 * len(omega) - 1
    z = normals(np.array([key]), 2 * rank**2).reshape(2, rank, rank)

    def along(position: NDArray[np.float64]) -> NDArray[np.float64]:
        waves = np.exp(1j * position[:, None] * omega) * amplitude
        return np.concatenate([waves.real, waves.imag[:, 1:]], axis=1)

    return ALPHA / (2 * math.sqrt(math.pi) * SIGMA) * (along(rows) @ z @ along(columns).T)


def _places(
    drawn: Drawn, number: int, size: int, shape: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns in the site, float64, pixel centres at k + 0.5: flip, turn, shift, deform, one after another."""
    top, left, height, width = drawn.box_B4[number]
    step = (np.arange(size) + 0.5) / size
    row, column = np.meshgrid((step - 0.5) * height, (step - 0.5) * width, indexing="ij")
    if drawn.flip_B2[number, 0]:
        row = -row
    if drawn.flip_B2[number, 1]:
        column = -column
    cos, sin = np.cos(drawn.angle_B[number]), np.sin(drawn.angle_B[number])
    row, column = sin * column + cos * row + top + height / 2, cos * column - sin * row + left + width / 2
    if drawn.elastic_B[number]:
        delta = _displacement(drawn.elastic_keys_B[number], step * height, step * width, max(shape))
        row, column = row + delta[1], column + delta[0]
    return row, column


def _batch(shapes: Sequence[tuple[int, int]], recipe: AugmentRecipe, seed: int) -> tuple[Drawn, NDArray[np.int64]]:
    drawn = draw_views(fold(seed, np.arange(len(shapes))), shapes, 1, recipe)
    placed = place_views(
        drawn, np.array(shapes, float), recipe.size, deviation(recipe.elastic_alpha, recipe.elastic_sigma)
    )
    return drawn, placed.level_B


def test_the_reference_field_is_elastic_displacement() -> None:
    pixels = np.arange(50, dtype=np.float64)
    ours = elastic_displacement([12], 50, 50, ALPHA, SIGMA)[0].numpy()
    assert np.abs(ours - _displacement(12, pixels, pixels, 50)).max() < 1e-4


def test_views_are_scipys_at_full_resolution() -> None:
    """Noise images show an error of 1e-3 px as 1e-3: the composition against map_coordinates, reflection included."""
    shapes = [(55, 55), (71, 43), (40, 40), (90, 30), (33, 57)] * 6
    rng = np.random.default_rng(0)
    sites = [torch.from_numpy(rng.random((2, *shape)).astype(np.float32)) for shape in shapes]
    drawn = draw_views(fold(1, np.arange(len(shapes))), shapes, 2, GEOMETRY)
    _, levels = _batch(shapes, GEOMETRY, 1)
    assert (levels == 0).all()
    views = render_views(sites, torch.tensor([0.0, 1.0]).expand(len(sites), 2, 2), drawn, GEOMETRY).numpy()
    outside = 0
    for number, site in enumerate(sites):
        row, column = _places(drawn, number, 40, shapes[number])
        outside += ((row < 0) | (column < 0) | (row > shapes[number][0]) | (column > shapes[number][1])).sum()
        for channel in range(2):
            expected = map_coordinates(
                site[channel].double().numpy(), [row - 0.5, column - 0.5], order=1, mode="reflect"
            )
            assert np.abs(views[number, channel] - expected).max() < 1e-4
    assert outside > 1000


@pytest.mark.parametrize("size", [12, 24, 40])
def test_coordinates_are_exact_on_averaged_levels(size: int) -> None:
    """Sites whose pixels are their own rows and columns: averages keep them, so views show where they sampled."""
    recipe = GEOMETRY.model_copy(update={"size": size, "crop": (0.3, 1.0)})
    shapes = [(161, 161), (130, 171), (200, 200), (97, 128), (256, 113)] * 4
    drawn, levels = _batch(shapes, recipe, 2)
    drawn = Drawn(**{**vars(drawn), "brightness_BC": np.ones((20, 2)), "contrast_BC": np.ones((20, 2))})
    assert levels.max() >= {12: 3, 24: 2, 40: 1}[size]
    sites = [
        torch.stack(torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")) for h, w in shapes
    ]
    scales = torch.tensor([0.0, 256.0]).expand(20, 2, 2)
    views = render_views(sites, scales, drawn, recipe).double().numpy() * 256
    seen = 0
    for number, shape in enumerate(shapes):
        places = _places(drawn, number, size, shape)
        cell = 1 << levels[number]
        for axis in range(2):
            # Within the site's outermost level pixels, averages of a ramp are not the ramp.
            within = (places[axis] > 2 * cell) & (places[axis] < shape[axis] - 2 * cell)
            seen += within.sum()
            assert np.abs(views[number, axis] - places[axis])[within].max() < 1e-3
    assert seen > 10 * size**2


@pytest.mark.parametrize("size", [14, 30])
def test_what_lies_outside_is_reflected_on_averaged_levels(size: int) -> None:
    """A cosine with whole half-waves across the site is its own reflection, so its formula holds outside, too."""
    recipe = GEOMETRY.model_copy(update={"size": size, "crop": (0.9, 1.0), "elastic": 1.0})
    shapes = [(161, 161), (158, 163), (200, 187), (177, 180)] * 3
    drawn, levels = _batch(shapes, recipe, 3)
    assert levels.min() >= 1
    sites = []
    for height, width in shapes:
        row = torch.cos(math.pi * (torch.arange(height) + 0.5) / height)[:, None]
        sites.append((row * torch.cos(math.pi * (torch.arange(width) + 0.5) / width) + 1)[None])
    scales = torch.tensor([0.0, 2.0]).expand(len(sites), 1, 2)
    views = render_views(sites, scales, drawn, recipe).double().numpy() * 2 - 1
    outside = 0
    for number, (height, width) in enumerate(shapes):
        row, column = _places(drawn, number, size, (height, width))
        outside += ((row < 0) | (column < 0) | (row > height) | (column > width)).sum()
        expected = np.cos(math.pi * row / height) * np.cos(math.pi * column / width)
        # Averages and the straight lines between them flatten a wave of length 2 H by up to (cell pi / H)^2 / 6.
        flattened = sum((2.0 ** levels[number] * math.pi / extent) ** 2 / 6 for extent in (height, width))
        assert np.abs(views[number, 0] - expected).max() < flattened + 2e-3
    assert outside > size**2 / 2


def test_the_level_follows_the_shrinkage() -> None:
    sides = np.array([[100, 100], [149, 149], [151, 151], [299, 299], [301, 301], [1200, 1200], [50, 50]])
    placed = place_views(whole(sides, 1), sides, 100, 0.0)
    assert placed.level_B.tolist() == [0, 0, 1, 1, 2, 3, 0]


def test_windows_hold_no_more_than_the_view_needs() -> None:
    recipe = AugmentRecipe(size=32, crop=(0.01, 0.01), aspect=(1.0, 1.0), rotation=0.0, elastic=0.0)
    drawn = draw_views(fold(4, np.arange(50)), [(1000, 1000)] * 50, 1, recipe)
    placed = place_views(drawn, np.full((50, 2), 1000.0), 32, 0.0)
    assert (placed.window_B4[:, 2:] - placed.window_B4[:, :2]).max() <= 100 + 2 * (2 + 4)


def test_averages() -> None:
    images = torch.arange(2 * 6 * 8, dtype=torch.float32).reshape(2, 6, 8)
    assert torch.equal(average(images.clone(), 1), torch.nn.functional.avg_pool2d(images, 2))
    assert torch.equal(average(images.clone(), 0), images)
    assert average(images.clone(), 2).shape == (2, 2, 2)
    assert torch.allclose(average(torch.full((1, 5, 7), 0.3), 2), torch.tensor(0.3))
