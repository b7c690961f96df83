"""Points painted in memory against painting one row after the other."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sslprofiler.browser.density import BRIGHT, FAINT, HIDDEN, PLAIN
from napari_sslprofiler.browser.painted import paint_points
from napari_sslprofiler.browser.viewport import Viewport

PALETTE = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)
VIEW = Viewport(0.0, 0.0, 0.1, 40, 30)


def paint(places: list[tuple[float, float]], looks: list[int], **options: float) -> np.ndarray:
    rows = len(places)
    codes = np.arange(rows).astype(np.uint16) % 3
    return paint_points(np.array(places, np.float32), codes, np.array(looks, np.uint8), PALETTE, VIEW, **options)


def test_a_row_is_a_square_of_two_pixels_around_its_place() -> None:
    picture = paint([(0.0, 0.0)], [PLAIN])
    assert picture.shape == (30, 40, 4) and picture.dtype == np.uint8
    rows, columns = np.nonzero(picture[..., 3])
    assert sorted(zip(rows, columns, strict=True)) == [(14, 19), (14, 20), (15, 19), (15, 20)]
    assert (picture[rows, columns, :3] == PALETTE[0]).all()


@pytest.mark.parametrize(("size", "ratio"), [(1.0, 1.0), (3.0, 1.0), (5.0, 1.0), (2.0, 2.0), (3.0, 1.5)])
def test_points_are_round_whole_at_the_border_and_grow_with_the_screen(size: float, ratio: float) -> None:
    inside = paint([(0.0, 0.0)], [PLAIN], size=size, ratio=ratio)
    assert inside.shape[:2] == (round(30 * ratio), round(40 * ratio))
    across = round(size * ratio)
    drawn = int((inside[..., 3] > 0).sum())
    assert 0.6 * across**2 <= drawn <= across**2
    middle = np.argwhere(inside[..., 3] > 0).mean(axis=0) + 0.5
    np.testing.assert_allclose(middle, (15 * ratio, 20 * ratio), atol=0.51)
    corner = paint([(-2.0, 1.5)], [PLAIN], size=size, ratio=ratio)
    assert 0 < (corner[..., 3] > 0).sum() <= drawn
    for outside in ((9.0, 0.0), (0.0, -9.0), (np.nan, 0.0), (np.inf, 1.0)):
        assert not paint([outside], [PLAIN], size=size, ratio=ratio).any()


def test_what_stands_out_covers_what_does_not_and_hidden_rows_are_not_there() -> None:
    here = [(0.0, 0.0)] * 3
    for looks, colour in (
        ([FAINT, PLAIN, BRIGHT], 2),
        ([BRIGHT, PLAIN, FAINT], 0),
        ([FAINT, PLAIN, HIDDEN], 1),
    ):
        picture = paint(here, looks)
        assert (picture[15, 20, :3] == PALETTE[colour]).all()
    faint = paint(here[:1], [FAINT])[15, 20, 3]
    assert 0 < faint < 60 < paint(here[:1], [PLAIN])[15, 20, 3]
    assert not paint(here, [HIDDEN] * 3).any()
    assert not paint_points(
        np.zeros((0, 2), np.float32), np.zeros(0, np.uint16), np.zeros(0, np.uint8), PALETTE, VIEW
    ).any()


def test_no_group_covers_another_because_it_comes_later() -> None:
    rows = 6000
    places = np.random.default_rng(0).uniform(-2, 2, (rows, 2)).astype(np.float32)
    codes = np.repeat([0, 1], rows // 2).astype(np.uint16)
    picture = paint_points(places, codes, np.zeros(rows, np.uint8), PALETTE, VIEW)
    shown = picture[picture[..., 3] > 0]
    share = float((shown[:, 1] > 0).mean())
    assert 0.4 < share < 0.6
    np.testing.assert_array_equal(picture, paint_points(places, codes, np.zeros(rows, np.uint8), PALETTE, VIEW))
