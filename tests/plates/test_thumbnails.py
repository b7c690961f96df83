from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslprofiler_core.plates import compiled, open_plates, read_site, read_thumbnail, tile_plate
from sslprofiler_core.plates.thumbnails import block_means

from .conftest import MakePlate


@settings(max_examples=40)
@given(height=st.integers(1, 33), width=st.integers(1, 33), channels=st.integers(1, 3), seed=st.integers(0, 99))
def test_each_pixel_is_its_blocks_mean(height: int, width: int, channels: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 65536, (channels, height, width), np.uint16)
    small = block_means(image)
    assert small.dtype == np.uint16
    assert small.shape == (channels, -(-height // 8), -(-width // 8))
    for c, y, x in np.ndindex(*small.shape):
        block = image[c, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8]
        assert small[c, y, x] == int(np.floor(block.mean(dtype=np.float64) + 0.5))


@pytest.mark.parametrize("shape", [(2, 1080, 1080), (1, 257, 271), (3, 8, 30001)])
def test_the_compiled_loop_has_the_same_means(shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    loops = compiled.load_loops()
    if loops is None:
        pytest.skip("numba does not run here")
    image = np.random.default_rng(0).integers(0, 65536, shape, np.uint16)
    image[:, :64] = 65535
    monkeypatch.setattr(compiled, "_LOADED", [loops])
    small = block_means(image)
    monkeypatch.setattr(compiled, "_LOADED", [])
    np.testing.assert_array_equal(small, block_means(image))


def test_full_scale_does_not_overflow() -> None:
    assert (block_means(np.full((1, 16, 16), 65535, np.uint16)) == 65535).all()


def test_a_thumbnail_is_made_from_the_sites_channels(make_plate: MakePlate) -> None:
    site = open_plates([make_plate(size=(24, 17))])[0].sites[0]
    small = read_thumbnail(site)
    assert small.shape == (3, 3, 3)
    np.testing.assert_array_equal(small, block_means(read_site(site)))
    np.testing.assert_array_equal(read_thumbnail(site, [2, 0]), small[[2, 0]])


def test_a_pseudo_site_has_a_thumbnail_of_its_own(cpjump1: Path) -> None:
    plate = open_plates([cpjump1 / "images" / "BR00117011"])[0]
    whole = read_thumbnail(plate.sites[0], [4])
    piece = read_thumbnail(tile_plate(plate, 3).sites[5], [4])  # 360 = 45 x 8: the blocks are the whole site's
    assert piece.shape == (1, 45, 45)
    np.testing.assert_array_equal(piece[0], whole[0, 45:90, 90:135])


def test_an_error_names_the_file(make_plate: MakePlate) -> None:
    site = open_plates([make_plate()])[0].sites[0]
    site.paths[1].unlink()
    with pytest.raises(Exception, match=site.paths[1].name):
        read_thumbnail(site)
