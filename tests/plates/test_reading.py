from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import convert_plates, open_plates, read_plane, read_site, tile_plate

from .conftest import MakePlate, phenix_name, write_plane


def test_a_real_site_is_what_tifffile_reads(cpjump1: Path) -> None:
    site = open_plates([cpjump1 / "images" / "BR00117011"])[0].sites[0]
    image = read_site(site)
    assert image.shape == (8, 1080, 1080)
    assert image.dtype == np.uint16
    for plane, path in zip(image, site.paths, strict=True):
        np.testing.assert_array_equal(plane, tifffile.imread(path))
    np.testing.assert_array_equal(read_site(site, [7, 2]), image[[7, 2]])


def test_real_pseudo_sites_are_pieces_of_the_site(cpjump1: Path) -> None:
    plate = open_plates([cpjump1 / "images" / "BR00117011"])[0]
    whole = read_site(plate.sites[0], [4])
    tiled = tile_plate(plate, 3)
    assert tiled.shape == (360, 360)
    pieces = [read_site(site, [4]) for site in tiled.sites]
    rows = [np.concatenate(pieces[i : i + 3], axis=2) for i in (0, 3, 6)]
    np.testing.assert_array_equal(np.concatenate(rows, axis=1), whole)


def test_tiles_are_numbered_and_placed(make_plate: MakePlate) -> None:
    plate = open_plates([make_plate(wells=[(1, 1)], sites=2, size=(13, 11))])[0]
    tiled = tile_plate(plate, 3)
    assert [site.site for site in tiled.sites] == list(range(1, 19))
    assert [site.tile for site in tiled.sites[:4]] == [(0, 0, 3), (0, 1, 3), (0, 2, 3), (1, 0, 3)]
    assert tiled.shape == (4, 3)
    assert {read_site(site).shape for site in tiled.sites} == {(3, 4, 3)}
    # Pixel centres in the well: x to the right, y upwards, 0.5 um a pixel, from the middle of 11 x 13 pixels.
    x, y = plate.sites[1].position_um or (0, 0)
    down, right = tiled.sites[9 + 5].tile[:2]
    assert (down, right) == (1, 2)
    assert tiled.sites[9 + 5].position_um == pytest.approx((x + 0.5 * (7.5 - 5.5), y - 0.5 * (6.0 - 6.5)))
    assert len({site.site for site in tile_plate(plate, 2).sites}) == 8
    assert tile_plate(plate, 1) is plate


def test_tiling_refuses_what_makes_no_sense(make_plate: MakePlate) -> None:
    plate = open_plates([make_plate()])[0]
    for n, words in ((0, "Use 1 for whole sites"), (11, "too small for 11 x 11")):
        with pytest.raises(UserError, match=words):
            tile_plate(plate, n)
    with pytest.raises(UserError, match="tiled already"):
        tile_plate(tile_plate(plate, 2), 2)
    with pytest.raises(UserError, match="too small"):
        read_site(replace(plate.sites[0], tile=(0, 0, 50)))


def test_positions_stay_unknown(make_plate: MakePlate) -> None:
    plate = open_plates([make_plate(records=None)])[0]
    assert all(site.position_um is None for site in tile_plate(plate, 2).sites)


def test_8_bit_is_widened_and_not_scaled(make_plate: MakePlate) -> None:
    site = open_plates([make_plate(dtype=np.uint8)])[0].sites[0]
    image = read_site(site)
    assert image.dtype == np.uint16
    assert image[0, 1, 1] == (100 + 10 + 1 + 1) % 256


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "empty", "colour", "float", "shape"])
def test_errors_name_the_file(make_plate: MakePlate, damage: str) -> None:
    root = make_plate()
    path = root / phenix_name(1, 1, 1, 2)
    if damage == "missing":
        site = open_plates([root])[0].sites[0]
        path.unlink()
    else:
        if damage in ("text", "empty"):
            path.write_text("hello" if damage == "text" else "")
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:300])
        else:
            plane = {
                "colour": np.zeros((12, 10, 3), np.uint8),
                "float": np.zeros((12, 10), np.float32),
                "shape": np.zeros((12, 11), np.uint16),
            }[damage]
            write_plane(path, plane, photometric="rgb" if damage == "colour" else "minisblack")
        site = open_plates([root])[0].sites[0]
    with pytest.raises(UserError) as error:
        read_site(site)
    assert str(path) in str(error.value)
    assert "sslprofiler inspect" in str(error.value)
    assert str(error.value).count("\n") <= 1


def test_tifffile_reads_what_libtiff_cannot(make_plate: MakePlate, monkeypatch: pytest.MonkeyPatch) -> None:
    site = open_plates([make_plate()])[0].sites[0]
    expected = read_site(site)

    def fail(data: bytes, **options: object) -> None:
        raise imagecodecs.TiffError("not today")

    monkeypatch.setattr(imagecodecs, "tiff_decode", fail)
    np.testing.assert_array_equal(read_site(site), expected)


def test_a_file_cut_anywhere_never_gives_wrong_pixels(cpjump1: Path, tmp_path: Path) -> None:
    path = next((cpjump1 / "images").glob("*/*ch5*.tiff"))
    data = path.read_bytes()
    for part in (0.01, 0.5, 0.95):
        (tmp_path / "cut.tiff").write_bytes(data[: int(part * len(data))])
        with pytest.raises(UserError, match=r"cut\.tiff"):
            read_plane(tmp_path / "cut.tiff")


@pytest.mark.parametrize("kind", ["tiff", "8 bits", "store", "uncompressed", "tiles", "one file a site"])
def test_a_site_may_be_read_into_memory_that_is_there(make_plate: MakePlate, tmp_path: Path, kind: str) -> None:
    if kind == "one file a site":
        tifffile.imwrite(
            tmp_path / "A01.tif", np.arange(360, dtype=np.uint16).reshape(3, 12, 10), photometric="minisblack"
        )
        root = tmp_path
    else:
        root = make_plate(dtype=np.uint8 if kind == "8 bits" else np.uint16)
    if kind in ("store", "uncompressed"):
        (done,) = convert_plates([root], tmp_path / "s.zarr", compressed=kind == "store")
        root = done.path
    (plate,) = open_plates([root])
    site = (tile_plate(plate, 2) if kind == "tiles" else plate).sites[0]
    expected = read_site(site)
    out = np.zeros((3, *expected.shape[1:]), np.uint16)
    assert read_site(site, out=out) is out
    np.testing.assert_array_equal(out, expected)
    read_site(site, [2], out=out[:1])
    np.testing.assert_array_equal(out[0], expected[2])
    holes = np.zeros((3, *expected.shape[1:-1], 2 * expected.shape[2]), np.uint16)[:, :, ::2]
    np.testing.assert_array_equal(read_site(site, out=holes), expected)
    with pytest.raises(UserError, match="the memory that it is read into is 5 x 5"):
        read_site(site, out=np.zeros((3, 5, 5), np.uint16))
    with pytest.raises(ValueError, match="height, width"):
        read_site(site, out=np.zeros((2, 12, 10), np.uint16))
