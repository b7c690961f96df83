"""Thumbnails' colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_sslprofiler.browser.thumbnails_paint import (
    GREY,
    channel_colours,
    compose,
    montage,
    own_limits,
    rgb,
    shrink,
)
from napari_sslprofiler.site_layers import site_layers
from sslprofiler_core.plates import Channel, Plate, Site


def plate_of(*channels: tuple[str, str]) -> Plate:
    made = tuple(Channel(name, group, i + 1) for i, (name, group) in enumerate(channels))
    return Plate("P", Path(), "phenix", made, (), None, (8, 8), ())


def test_colours_are_those_of_napari_layers() -> None:
    plate = plate_of(("DNA", "fluorescence"), ("Alexa 647", "fluorescence"), ("bf", "brightfield"), ("q", "unknown"))
    site = Site("P", "A01", 1, (Path("a"),) * 4)
    pixels = np.zeros((4, 8, 8), np.uint16)
    layers = site_layers(plate, site, pixels, {c.name: (0.0, 1.0) for c in plate.channels})
    expected = [str(settings["colormap"]) for _, settings, _ in layers]
    found = [c.colour for c in channel_colours(plate)]
    assert [GREY if e == "gray" else e for e in expected] == found


def test_compose_adds_channels_in_their_colours() -> None:
    planes = np.array([[[100, 200, 300]], [[0, 50, 1000]]], np.uint16)
    limits = [(100.0, 300.0), (0.0, 100.0)]
    found = compose(planes, limits, ["#ff0000", "#0080ff"])
    share = np.array([[0, 0.5, 1], [0, 0.5, 1]])
    expected = share[0][:, None] * np.array([255, 0, 0]) + share[1][:, None] * np.array([0, 128, 255])
    np.testing.assert_allclose(found[0], np.minimum(expected, 255), atol=0.51)
    white = compose(np.full((3, 1, 1), 9, np.uint16), [(0.0, 9.0)] * 3, ["#ffffff"] * 3)
    assert white.tolist() == [[[255, 255, 255]]]


def test_one_channel_is_grey_and_equal_limits_do_not_divide_by_zero() -> None:
    found = compose(np.array([[[5, 6, 7]]], np.uint16), [(5.0, 7.0)], ["#3355ff"])
    assert found.tolist() == [[[0, 0, 0], [128, 128, 128], [255, 255, 255]]]
    assert compose(np.array([[[5]]], np.uint16), [(5.0, 5.0)], [GREY]).max() == 0


def test_own_limits_are_percentiles() -> None:
    planes = np.random.default_rng(0).integers(0, 4000, (2, 40, 40), dtype=np.uint16)
    for (low, high), plane in zip(own_limits(planes), planes, strict=True):
        assert (low, high) == tuple(np.percentile(plane, (0.1, 99.9)))
    assert own_limits(np.zeros((1, 2, 2), np.uint16)) == [(0.0, 1.0)]


def test_montage_lays_out_row_by_row() -> None:
    pictures = [np.full((8, 8, 3), 10 * (i + 1), np.uint8) for i in range(4)]
    whole = montage(pictures)
    assert whole.shape == (2 * 8 + 2, 2 * 8 + 2, 3)
    corners = [whole[0, 0, 0], whole[0, -1, 0], whole[-1, 0, 0], whole[-1, -1, 0]]
    assert corners == [10, 20, 30, 40]
    assert whole[8, 8, 0] == 0
    assert montage(pictures[:1]) is pictures[0]
    nine = montage([np.full((135, 135, 3), 7, np.uint8)] * 9)
    assert nine.shape[0] < 3 * 135 * 1.1
    assert montage([pictures[0], np.full((4, 6, 3), 1, np.uint8)]).shape == (8, 18, 3)


def test_shrink_takes_block_means() -> None:
    picture = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    expected = picture[:2, :4].reshape(1, 2, 2, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(shrink(picture, 2), np.rint(expected), atol=0.5)
    assert shrink(picture, 3) is picture


def test_rgb() -> None:
    assert rgb("#ff8000") == (1.0, 128 / 255, 0.0)
