"""Viewport, picking and density: numbers against independent computations, without Qt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from napari_sslprofiler.browser.density import (
    BRIGHT,
    CELL,
    FAINT,
    HIDDEN,
    PLAIN,
    count_seen,
    density_picture,
    looks_of,
)
from napari_sslprofiler.browser.picking import Picker, within_lasso, within_rectangle
from napari_sslprofiler.browser.viewport import Viewport

RNG = np.random.default_rng(0)
PLACES = RNG.normal(size=(3000, 2)).astype(np.float32)


@given(
    x=st.floats(-100, 100),
    y=st.floats(-100, 100),
    scale=st.floats(1e-3, 10),
    px=st.floats(0, 800),
    py=st.floats(0, 600),
    factor=st.floats(0.2, 5),
)
def test_zooming_leaves_what_is_under_the_pointer(
    x: float, y: float, scale: float, px: float, py: float, factor: float
) -> None:
    view = Viewport(x, y, scale, 800, 600)
    before = view.to_data(px, py)
    zoomed = view.zoomed(factor, px, py)
    assert zoomed.to_data(px, py) == pytest.approx(before, abs=1e-6)
    assert zoomed.scale == pytest.approx(scale / factor)
    moved = view.moved(10, -5)
    assert moved.to_data(px + 10, py - 5) == pytest.approx(before, abs=1e-6)


def test_pixels_and_data_are_each_others_inverse_and_y_points_up() -> None:
    view = Viewport(3.0, -2.0, 0.01, 640, 480)
    pixels = view.to_pixels(PLACES[:50])
    back = np.array([view.to_data(*pixel) for pixel in pixels])
    np.testing.assert_allclose(back, PLACES[:50], atol=1e-4)
    assert view.to_pixels(np.array([[3.0, -1.0]], np.float32))[0, 1] < 240


def test_a_fitted_view_shows_all_with_a_margin() -> None:
    view = Viewport.around(np.vstack([PLACES, [[np.nan, 1.0]]]), 700, 300)
    pixels = view.to_pixels(PLACES)
    assert pixels.min() > 5 and (pixels < (695, 295)).all()
    assert max(np.ptp(pixels[:, 0]) / 700, np.ptp(pixels[:, 1]) / 300) > 0.85
    assert view.resized(350, 300).scale >= view.scale
    assert Viewport.around(np.zeros((1, 2)), 10, 10).scale > 0
    assert Viewport.around(np.zeros((0, 2)), 10, 10).scale == 1.0


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), corners=st.integers(3, 60))
def test_a_lasso_selects_as_matplotlibs_polygon_does(seed: int, corners: int) -> None:
    rng = np.random.default_rng(seed)
    polygon = rng.normal(size=(corners, 2))  # crosses itself: even and odd
    places = rng.normal(size=(500, 2)).astype(np.float32)
    # matplotlib fills by the even-odd rule too; points are almost surely on no edge.
    expected = Polygon(np.vstack([polygon, polygon[:1]])).contains_points(places)
    np.testing.assert_array_equal(within_lasso(places, polygon), expected)


def test_a_lasso_of_two_corners_or_of_nothing_selects_nothing() -> None:
    assert not within_lasso(PLACES, np.array([[0, 0], [1, 1]])).any()
    assert not within_lasso(np.full((3, 2), np.nan, np.float32), np.array([[0, 0], [1, 1], [0, 1]])).any()
    assert not within_lasso(PLACES, np.array([[50, 50], [51, 50], [50, 51]])).any()


def test_a_rectangle_may_be_drawn_from_any_corner() -> None:
    expected = (np.abs(PLACES) <= 0.5).all(axis=1)
    for a, b in (((-0.5, -0.5), (0.5, 0.5)), ((0.5, -0.5), (-0.5, 0.5))):
        np.testing.assert_array_equal(within_rectangle(PLACES, a, b), expected)


def test_the_nearest_shown_row_is_found() -> None:
    places = PLACES.copy()
    places[0] = np.nan
    picker = Picker(places)
    shown = RNG.random(3000) < 0.02
    for x, y in RNG.normal(size=(50, 2)):
        distance = np.hypot(places[:, 0] - x, places[:, 1] - y)
        assert picker.nearest(x, y, 9.0) == np.nanargmin(distance)
        assert picker.nearest(x, y, 0.5, shown) in _nearest_of(distance, shown, 0.5)
    assert picker.nearest(50.0, 0.0, 1.0) is None
    assert Picker(np.full((2, 2), np.nan, np.float32)).nearest(0, 0, 1) is None
    assert Picker(places[:5]).nearest(0, 0, 9, np.zeros(5, bool)) is None


def _nearest_of(distance: np.ndarray, shown: np.ndarray, radius: float) -> set[int | None]:
    """The nearest of the 32 nearest rows that is shown; else any shown row within the radius."""
    order = np.argsort(distance)[:32]
    near = [int(row) for row in order if shown[row] and distance[row] <= radius]
    if near:
        return {near[0]}
    return set(np.flatnonzero(shown & (distance <= radius)).tolist()) or {None}


def test_the_density_counts_and_mixes_colours() -> None:
    view = Viewport(0, 0, 1.0, 8, 8)  # 4 x 4 cells of 2 units
    assert CELL == 2
    places = np.array([[-3, 3], [-3, 3], [1, -1], [3, -3], [np.nan, 0], [99, 0], [1, 1]], np.float32)
    codes = np.array([0, 1, 0, 1, 0, 0, 1], np.uint16)
    looks = np.array([PLAIN, PLAIN, PLAIN, FAINT, PLAIN, PLAIN, HIDDEN], np.uint8)
    palette = np.array([[200, 0, 0], [0, 100, 0]], np.uint8)
    picture = density_picture(places, codes, looks, palette, view)
    assert picture.shape == (4, 4, 4)
    assert picture[0, 0, :3].tolist() == [100, 50, 0]
    assert picture[2, 2, :3].tolist() == [200, 0, 0]
    assert picture[3, 3, :3].tolist() == [0, 100, 0]
    alpha = picture[..., 3]
    assert np.count_nonzero(alpha) == 3
    assert alpha[0, 0] > alpha[2, 2] > alpha[3, 3] > 0
    assert count_seen(places, looks, view) == 4
    assert not density_picture(places, codes, np.full(7, HIDDEN, np.uint8), palette, view).any()


def test_looks_follow_filter_selection_and_search() -> None:
    shown = np.array([True, True, True, False])
    none = np.zeros(4, bool)
    assert looks_of(shown, none, None).tolist() == [PLAIN, PLAIN, PLAIN, HIDDEN]
    one = np.array([True, False, False, False])
    assert looks_of(shown, one, None).tolist() == [PLAIN, PLAIN, PLAIN, HIDDEN]
    two = np.array([True, True, False, True])
    assert looks_of(shown, two, None).tolist() == [BRIGHT, BRIGHT, FAINT, HIDDEN]
    assert looks_of(shown, none, one).tolist() == [PLAIN, FAINT, FAINT, HIDDEN]
