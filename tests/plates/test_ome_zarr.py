"""Plates as other programs write them; this program's own stores are in test_convert."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Channel, convert_plates, looks_like_plates, open_plates, read_site, read_thumbnail

from .conftest import MakePlate


def pixels(well: str, field: int, shape: Sequence[int], dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng([*well.encode(), field]).integers(0, 250, shape).astype(dtype)


def write_plate(
    root: Path,
    version: str = "0.4",
    wells: Sequence[str] = ("B/3", "A/1"),
    fields: Sequence[str] = ("0", "1"),
    axes: str = "tczyx",
    shape: Sequence[int] = (1, 3, 1, 20, 30),
    dtype: Any = np.uint16,
    labels: Sequence[str] = ("DAPI", "Mystery", "Brightfield"),
) -> Path:
    """A plate with zarr-python, metadata by hand: Zarr v2 for 0.4, v3 for 0.5; two levels, fields 30 pixels apart."""
    form = 2 if version == "0.4" else 3

    def attributes(ome: dict[str, Any]) -> dict[str, Any]:
        return ome if form == 2 else {"ome": {"version": version, **ome}}

    group = zarr.create_group(str(root), zarr_format=form)
    listed = [{"path": well, "rowIndex": ord(well[0]) - 65, "columnIndex": int(well[2:]) - 1} for well in wells]
    group.attrs.update(attributes({"plate": {"version": version, "name": "x", "wells": listed}}))
    for well in wells:
        inner = group.create_group(well)
        inner.attrs.update(attributes({"well": {"images": [{"path": field} for field in fields]}}))
        for number, field in enumerate(fields):
            image = inner.create_group(field)
            space = [0.5 if axis in "yx" else 1.0 for axis in axes]
            move = [{"y": 10.0, "x": 15.0 * number}.get(axis, 0.0) for axis in axes]
            units = {axis: {"unit": "micrometer"} if axis in "yx" else {} for axis in axes}
            image.attrs.update(
                attributes(
                    {
                        "multiscales": [
                            {
                                "axes": [{"name": axis, **units[axis]} for axis in axes],
                                "datasets": [
                                    {
                                        "path": str(level),
                                        "coordinateTransformations": [
                                            {"type": "scale", "scale": [2.0**level * s for s in space]},
                                            {"type": "translation", "translation": move},
                                        ],
                                    }
                                    for level in range(2)
                                ],
                            }
                        ],
                        "omero": {"channels": [{"label": label, "color": "FF0000"} for label in labels]},
                    }
                )
            )
            data = pixels(well, number, shape, dtype)
            for level, values in enumerate((data, data[..., ::2, ::2])):
                chunks = (*(1 for _ in shape[:-2]), 16, 16)
                array = image.create_array(
                    str(level),
                    shape=values.shape,
                    chunks=chunks,
                    dtype=values.dtype,
                    fill_value=0,
                    **({"chunk_key_encoding": {"name": "v2", "separator": "/"}} if form == 2 else {}),
                )
                array[...] = values
    return root


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_opens(tmp_path: Path, version: str) -> None:
    root = write_plate(tmp_path / "My plate.ome.zarr", version)
    assert looks_like_plates(root)
    (plate,) = open_plates([root], check=True)
    assert (plate.name, plate.layout, plate.shape, plate.pixel_size_um) == ("My plate", "ome_zarr", (20, 30), 0.5)
    assert plate.channels == (
        Channel("DAPI", "fluorescence", 1),
        Channel("Mystery", "unknown", 2),
        Channel("Brightfield", "brightfield", 3),
    )
    assert not plate.gaps
    assert [(site.well, site.site) for site in plate.sites] == [("A01", 0), ("A01", 1), ("B03", 0), ("B03", 1)]
    assert [site.position_um for site in plate.sites[:2]] == [(-7.5, 0.0), (7.5, 0.0)]
    for site, (well, field) in zip(plate.sites, [("A/1", 0), ("A/1", 1), ("B/3", 0), ("B/3", 1)], strict=True):
        expected = pixels(well, field, (1, 3, 1, 20, 30))[0, :, 0]
        np.testing.assert_array_equal(read_site(site), expected)
        np.testing.assert_array_equal(read_site(site, [2, 0]), expected[[2, 0]])
        assert read_thumbnail(site).shape == (3, 3, 4)  # its second level is no mean: the planes are averaged


@pytest.mark.parametrize(
    ("axes", "shape", "index"),
    [
        ("yx", (20, 30), (None,)),
        ("cyx", (3, 20, 30), ()),
        ("czyx", (3, 2, 20, 30), (slice(None), 0)),
        ("zcyx", (2, 3, 20, 30), (0,)),
        ("tczyx", (2, 3, 4, 20, 30), (0, slice(None), 0)),
    ],
)
def test_the_first_of_other_axes_is_taken_and_said(
    tmp_path: Path, axes: str, shape: tuple[int, ...], index: tuple[Any, ...]
) -> None:
    (plate,) = open_plates([write_plate(tmp_path / "p.zarr", axes=axes, shape=shape)], check=True)
    expected = pixels("A/1", 0, shape)[index]
    np.testing.assert_array_equal(read_site(plate.sites[0]), expected)
    assert len(plate.channels) == (3 if "c" in axes else 1)
    beside = int(np.prod([n for n, axis in zip(shape, axes, strict=True) if axis in "zt"]))
    assert [str(beside) in gap.problem for gap in plate.gaps] == ([True] if beside > 1 else [])


def test_8_bit_and_big_endian_are_read(tmp_path: Path) -> None:
    for name, dtype in (("a", np.uint8), ("b", ">u2")):
        (plate,) = open_plates([write_plate(tmp_path / f"{name}.zarr", dtype=dtype)], check=True)
        image = read_site(plate.sites[0])
        assert image.dtype == np.uint16
        assert image.dtype.isnative
        np.testing.assert_array_equal(image, pixels("A/1", 0, (1, 3, 1, 20, 30))[0, :, 0])


def test_other_pixels_are_refused(tmp_path: Path) -> None:
    (plate,) = open_plates([write_plate(tmp_path / "p.zarr", dtype=np.float32)])
    with pytest.raises(UserError, match="float32 pixels"):
        read_site(plate.sites[0])


def test_what_is_missing_is_a_gap(tmp_path: Path) -> None:
    root = write_plate(tmp_path / "p.zarr", "0.5", wells=("A/1", "B/2", "C/3"), fields=("0", "1", "2"))
    (root / "A" / "1" / "1" / "0" / "zarr.json").unlink()
    odd = json.loads((root / "A" / "1" / "2" / "0" / "zarr.json").read_text())
    odd["shape"] = [1, 2, 1, 20, 30]
    (root / "A" / "1" / "2" / "0" / "zarr.json").write_text(json.dumps(odd))
    (root / "B" / "2" / "zarr.json").unlink()
    (plate,) = open_plates([root], check=True)
    assert [(site.well, site.site) for site in plate.sites] == [("A01", 0), ("C03", 0), ("C03", 1), ("C03", 2)]
    problems = {gap.path.relative_to(root).as_posix(): gap.problem for gap in plate.gaps}
    assert "not a Zarr array" in problems["A/1/1/0"]
    assert "lacks a channel: it holds 2 planes" in problems["A/1/2/0"]
    assert "lists no images" in problems["B/2"]


@pytest.mark.parametrize(
    "plate", [{}, {"wells": []}, {"wells": [{"path": "A/1"}]}, {"wells": "x"}, {"wells": [{"path": "not/a/well"}]}]
)
def test_metadata_that_makes_no_sense_is_an_error(tmp_path: Path, plate: dict[str, Any]) -> None:
    (tmp_path / "p.zarr").mkdir()
    document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", "plate": plate}}}
    (tmp_path / "p.zarr" / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"p\.zarr is an OME-Zarr plate whose metadata cannot be used"):
        open_plates([tmp_path / "p.zarr"])


def test_a_well_that_is_listed_twice_is_read_once_and_said(tmp_path: Path) -> None:
    root = write_plate(tmp_path / "P.zarr")
    own = json.loads((root / ".zattrs").read_text())
    own["plate"]["wells"].append(own["plate"]["wells"][0])
    (root / ".zattrs").write_text(json.dumps(own))
    (plate,) = open_plates([root], check=True)
    assert [(site.well, site.site) for site in plate.sites] == [("A01", 0), ("A01", 1), ("B03", 0), ("B03", 1)]
    said = [gap.problem for gap in plate.gaps]
    assert said and all(problem.startswith("duplicate") for problem in said)


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_chunk_is_an_error(tmp_path: Path, damage: str) -> None:
    root = write_plate(tmp_path / "p.zarr")
    chunk = root / "A" / "1" / "0" / "0" / "0" / "0" / "0" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    if damage == "flip":  # Zstandard's frame: its magic number
        content[0] ^= 0xFF
    chunk.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    (plate,) = open_plates([root])
    if damage == "gone":
        (root / "A" / "1" / "0" / "0" / ".zarray").unlink()
    with pytest.raises(UserError, match="Cannot read"):
        read_site(plate.sites[0])


def test_a_plate_of_another_program_can_be_converted(tmp_path: Path) -> None:
    root = write_plate(tmp_path / "p.zarr")
    convert_plates([root], tmp_path / "s.zarr")
    (source,), (stored,) = open_plates([root]), open_plates([tmp_path / "s.zarr"], check=True)
    assert stored.channels == source.channels
    for one, other in zip(stored.sites, source.sites, strict=True):
        assert one.position_um == other.position_um
        np.testing.assert_array_equal(read_site(one), read_site(other))


def test_folders_of_plates_of_several_layouts_open_together(make_plate: MakePlate, tmp_path: Path) -> None:
    make_plate("P1")
    write_plate(tmp_path / "images" / "P2.zarr")
    assert [(plate.name, plate.layout) for plate in open_plates([tmp_path])] == [("P1", "phenix"), ("P2", "ome_zarr")]
    (only,) = open_plates([tmp_path], layout="ome_zarr")
    assert only.name == "P2"
    with pytest.raises(UserError, match="no layout 'zarr'"):
        open_plates([tmp_path], layout="zarr")


def test_of_several_acquisitions_the_first_is_used(tmp_path: Path) -> None:
    root = write_plate(tmp_path / "P1", fields=("0", "1", "2", "3"))
    listed = [{"path": str(field), "acquisition": 1 + field % 2} for field in range(4)]
    zarr.open_group(str(root / "A/1")).attrs.update({"well": {"images": listed}})
    (plate,) = open_plates([root])
    assert [site.site for site in plate.sites_of("A01")] == [0, 2]
    assert [site.site for site in plate.sites_of("B03")] == [0, 1, 2, 3]
    assert any("2 images are of later acquisitions" in gap.problem for gap in plate.gaps)


def test_a_site_whose_pixels_were_not_copied_is_a_gap(tmp_path: Path) -> None:
    root = write_plate(tmp_path / "P1", version="0.5")
    shutil.rmtree(root / "A/1/0/0/c")
    (plate,) = open_plates([root], check=True)
    assert len(plate.sites) == 3
    assert any("none of its pixels" in gap.problem for gap in plate.gaps)
