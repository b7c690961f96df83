from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Channel, convert_plates, looks_like_plates, open_plates, read_site, read_thumbnail
from sslprofiler_core.plates.folders import list_folder
from sslprofiler_core.plates.multichannel import MULTICHANNEL_TIFF, channel_planes

NAMES = ("DNA", "AGP", "Brightfield")
Write = Callable[[Path, np.ndarray, int], None]


def ome(**more: Any) -> Write:
    def write(path: Path, image: np.ndarray, site: int) -> None:
        metadata = {
            "axes": "CYX",
            "Channel": {"Name": list(NAMES)},
            "PhysicalSizeX": 0.5,
            "PhysicalSizeXUnit": "µm",
            "Plane": {"PositionX": [1000.0 + 400 * site] * 3, "PositionY": [30.0] * 3},
        }
        tifffile.imwrite(path, image, ome=True, metadata=metadata, photometric="minisblack", **more)

    return write


def pages(**more: Any) -> Write:
    def write(path: Path, image: np.ndarray, site: int) -> None:
        tifffile.imwrite(path, image, metadata=None, photometric="minisblack", **more)

    return write


def imagej(path: Path, image: np.ndarray, site: int) -> None:
    tifffile.imwrite(path, image, imagej=True, metadata={"axes": "CYX"})


def samples(path: Path, image: np.ndarray, site: int) -> None:
    tifffile.imwrite(path, np.moveaxis(image, 0, -1), photometric="rgb", metadata=None)


WRITERS: dict[str, Write] = {
    "ome": ome(),
    "ome, LZW, tiles": ome(compression="lzw", tile=(16, 16)),
    "ome, BigTIFF": ome(bigtiff=True),
    "pages": pages(),
    "pages, big-endian": pages(byteorder=">", compression="zlib"),
    "pages, strips of three rows": pages(rowsperstrip=3),
    "planes of one page": pages(planarconfig="separate", volumetric=False),
    "samples of a pixel": samples,
    "ImageJ": imagej,
}


def image_of(well: str, site: int, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng([*well.encode(), site]).integers(0, 250, (3, 20, 17)).astype(dtype)


def write_plate(folder: Path, write: Write, name: str = "{well}_s{site}.ome.tif", dtype: type = np.uint16) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for well in ("A01", "H12"):
        for site in (1, 2):
            write(folder / name.format(well=well, site=site), image_of(well, site, dtype), site)
    return folder


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("dtype", [np.uint16, np.uint8])
def test_each_kind_of_file_is_read(tmp_path: Path, kind: str, dtype: type) -> None:
    root = write_plate(tmp_path / "My plate", WRITERS[kind], dtype=dtype)
    assert looks_like_plates(root)
    (plate,) = open_plates([root], check=True)
    assert (plate.name, plate.layout, plate.shape) == ("My plate", "multichannel_tiff", (20, 17))
    assert not plate.gaps
    assert len(plate.channels) == 3
    for site in plate.sites:
        expected = image_of(site.well, site.site)
        np.testing.assert_array_equal(read_site(site), expected)
        np.testing.assert_array_equal(read_site(site, [2, 0]), expected[[2, 0]])
        assert read_thumbnail(site).shape == (3, 3, 3)


def test_ome_says_names_pixel_size_and_positions(tmp_path: Path) -> None:
    (plate,) = open_plates([write_plate(tmp_path / "P1", ome())])
    groups = ("fluorescence", "fluorescence", "brightfield")
    assert plate.channels == tuple(map(Channel, NAMES, groups, (1, 2, 3)))
    assert plate.pixel_size_um == pytest.approx(0.5)
    assert [site.position_um for site in plate.sites] == 2 * [pytest.approx((-200.0, 0.0)), pytest.approx((200.0, 0.0))]


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [("ZCYX", (4, 3, 8, 8), [0, 1, 2]), ("CZYX", (3, 4, 8, 8), [0, 4, 8]), ("TCZYX", (2, 3, 4, 8, 8), [0, 4, 8])],
)
def test_the_first_z_plane_and_time_point_are_taken(
    tmp_path: Path, axes: str, shape: tuple[int, ...], expected: list[int]
) -> None:
    image = np.random.default_rng(0).integers(0, 99, shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "A01.ome.tif", image, ome=True, metadata={"axes": axes}, photometric="minisblack")
    assert channel_planes(tmp_path / "A01.ome.tif") == expected
    (plate,) = open_plates([tmp_path])
    index = tuple(slice(None) if axis in "CYX" else 0 for axis in axes)
    np.testing.assert_array_equal(read_site(plate.sites[0]), image[index])


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("A01.tif", (1, 1, 1)),
        ("My plate_b3_s12.OME.TIFF", (2, 3, 12)),
        ("P1_A01_f02.tif", (1, 1, 2)),
        ("x-H12-site4.tiff", (8, 12, 4)),
        ("A01_2.tif", (1, 1, 2)),
        ("AF48s03.tif", (32, 48, 3)),
    ],
)
def test_a_name_says_where_a_site_belongs(tmp_path: Path, name: str, place: tuple[int, int, int]) -> None:
    pages()(tmp_path / name, image_of("A01", 1), 1)
    (plate,) = open_plates([tmp_path])
    (found,) = MULTICHANNEL_TIFF.find(list_folder(tmp_path))
    assert {(plane.row, plane.column, plane.site) for plane in found.planes} == {place}
    assert len(plate.sites) == 1


def test_single_planes_are_not_this_layout(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "A01_1.tif", np.zeros((8, 8), np.uint16))
    assert not looks_like_plates(tmp_path)
    with pytest.raises(UserError, match="pattern such as"):
        open_plates([tmp_path])


def test_what_is_wrong_is_a_gap(tmp_path: Path) -> None:
    root = write_plate(tmp_path / "P1", pages(compression="lzw"))
    (root / "A01_s3.ome.tif").write_bytes((root / "A01_s1.ome.tif").read_bytes()[:900])
    pages()(root / "A01_s4.ome.tif", image_of("A01", 4)[:2], 4)
    pages()(root / "A01_s5.ome.tif", image_of("A01", 4)[:, :9], 4)
    pages()(root / "A1_s1.ome.tif", image_of("A01", 1), 1)
    pages()(root / "overview.tif", image_of("A01", 1), 1)
    (plate,) = open_plates([root], check=True)
    assert [(site.well, site.site) for site in plate.sites] == [("A01", 1), ("A01", 2), ("H12", 1), ("H12", 2)]
    problems = {gap.path.name: gap.problem for gap in plate.gaps}
    assert "truncated" in problems["A01_s3.ome.tif"]
    assert "lacks a channel: it holds 2 planes" in problems["A01_s4.ome.tif"]
    assert "3 planes of 9 x 17 uint16; the plate's other files are 3 planes of 20 x 17" in problems["A01_s5.ome.tif"]
    assert "duplicate" in problems["A1_s1.ome.tif"]
    assert "its name is not like" in problems["overview.tif"]
    unchecked = open_plates([root])[0]
    for number in (3, 4):
        with pytest.raises(UserError, match=rf"A01_s{number}\.ome\.tif"):
            read_site(next(site for site in unchecked.sites_of("A01") if site.site == number))


def test_a_chain_of_pages_that_runs_in_a_circle_ends(tmp_path: Path) -> None:
    root = write_plate(tmp_path / "P1", pages())
    path = root / "A01_s2.ome.tif"
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[0].offset
    content = bytearray(path.read_bytes())
    entries = int.from_bytes(content[first : first + 2], "little")
    content[first + 2 + 12 * entries : first + 6 + 12 * entries] = first.to_bytes(4, "little")
    path.write_bytes(content)
    (plate,) = open_plates([root], check=True)
    assert [gap.path for gap in plate.gaps] == [path]


def test_such_a_plate_can_be_converted(tmp_path: Path) -> None:
    root = write_plate(tmp_path / "P1", ome())
    convert_plates([root], tmp_path / "s.zarr")
    (source,), (stored,) = open_plates([root]), open_plates([tmp_path / "s.zarr"], check=True)
    assert stored.channels == source.channels
    for one, other in zip(stored.sites, source.sites, strict=True):
        np.testing.assert_array_equal(read_site(one), read_site(other))
