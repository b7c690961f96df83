"""Every layout meets every kind of file and every fault, in a folder whose name has spaces and umlauts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from sslprofiler_core.plates import Plate, convert_plates, open_plates, read_site

SHAPE = (32, 48)
CHANNELS = ("DNA", "ER")
WELLS = ("A01", "B02")
Name = Callable[[str, int, int], str]

NAMES: dict[str, Name] = {
    "phenix": lambda well, site, c: f"r{ord(well[0]) - 64:02d}c{well[1:]}f{site:02d}p01-ch{c + 1}sk1fk1fl1.tiff",
    "image_xpress": lambda well, site, c: f"Größe 1_{well}_s{site}_w{c + 1}.tif",
    "load_data": lambda well, site, c: f"Bild {well} {site} ä{c}.tif",
    "pattern": lambda well, site, c: f"{well}_{site}_{CHANNELS[c]}.tif",
    "multichannel_tiff": lambda well, site, c: f"Größe_{well}_s{site}.tif",
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "8-bit": {"dtype": np.uint8},
    "big-endian": {"byteorder": ">"},
    "tiled": {"tile": (16, 16)},
    "strips": {"rowsperstrip": 5, "compression": "lzw"},
    "big": {"bigtiff": True, "compression": "zlib", "predictor": True},
}


def pixels_of(well: str, site: int, dtype: type = np.uint16) -> np.ndarray:
    rng = np.random.default_rng([ord(well[0]), site])
    return rng.integers(0, np.iinfo(dtype).max, (len(CHANNELS), *SHAPE), dtype, endpoint=True)


def write(path: Path, planes: np.ndarray, options: dict[str, Any]) -> None:
    more = {key: value for key, value in options.items() if key != "dtype"}
    tifffile.imwrite(path, planes, metadata=None, photometric="minisblack", **more)


def build(layout: str, folder: Path, options: dict[str, Any]) -> tuple[Path, Path]:
    """Write a plate of two wells with two sites; what to open, and the folder of its files."""
    root = folder / "Mein Schirm µ" / "Größe 1"
    root.mkdir(parents=True)
    rows = []
    for well in WELLS:
        for site in (1, 2):
            pixels = pixels_of(well, site, options.get("dtype", np.uint16))
            names = [NAMES[layout](well, site, c) for c in range(len(CHANNELS))]
            if layout == "multichannel_tiff":
                write(root / names[0], pixels, options)
                continue
            for name, plane in zip(names, pixels, strict=True):
                write(root / name, plane, options)
            rows.append(["Größe 1", well, site, *names])
    if layout == "load_data":
        table = folder / "Mein Schirm µ" / "load_data.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            head = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", *(f"FileName_Orig{c}" for c in CHANNELS)]
            writer = csv.writer(file)
            writer.writerow([*head, *(f"PathName_Orig{c}" for c in CHANNELS)])
            writer.writerows([*row, root.name, root.name] for row in rows)
        return table, root
    if layout == "pattern":
        return root.parent / "{plate}" / "{well}_{site}_{channel}.tif", root
    return root, root


def assert_sites(plate: Plate, places: list[tuple[str, int]], dtype: type) -> None:
    assert [(site.well, site.site) for site in plate.sites] == places
    for site in plate.sites:
        np.testing.assert_array_equal(read_site(site), pixels_of(site.well, site.site, dtype))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", NAMES)
def test_each_kind_of_file_goes_round_in_each_layout(tmp_path: Path, layout: str, kind: str) -> None:
    given, root = build(layout, tmp_path, KINDS[kind])
    (root / "again").symlink_to(root.parent)  # a loop
    (plate,) = open_plates([given], check=True)
    assert (plate.layout, plate.name, plate.shape, plate.gaps) == (layout, "Größe 1", SHAPE, ())
    dtype = KINDS[kind].get("dtype", np.uint16)
    everything = [(well, site) for well in WELLS for site in (1, 2)]
    assert_sites(plate, everything, dtype)
    if kind in ("plain", "8-bit"):
        convert_plates([given], tmp_path / "s ü.zarr")
        (stored,) = open_plates([tmp_path / "s ü.zarr"], check=True)
        assert stored.channels == plate.channels
        assert_sites(stored, everything, dtype)


FAULTS: dict[str, Callable[[Path, str], object]] = {
    "gone": lambda path, layout: path.unlink(),
    "empty": lambda path, layout: path.write_bytes(b""),
    "cut": lambda path, layout: path.write_bytes(path.read_bytes()[:-900]),
    "text": lambda path, layout: path.write_text("no image"),
    "a loop": lambda path, layout: (path.unlink(), path.symlink_to(path)),
    "another size": lambda path, layout: write(path, spoilt(layout, (24, 48), np.uint16), {}),
    "8-bit": lambda path, layout: write(path, spoilt(layout, SHAPE, np.uint8), {}),
    "floats": lambda path, layout: write(path, spoilt(layout, SHAPE, np.float32), {}),
    "colour": lambda path, layout: tifffile.imwrite(path, np.zeros((*SHAPE, 3), np.uint8), photometric="rgb"),
}


def spoilt(layout: str, shape: tuple[int, int], dtype: type) -> np.ndarray:
    return np.zeros((len(CHANNELS), *shape) if layout == "multichannel_tiff" else shape, dtype)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("layout", NAMES)
def test_each_fault_costs_its_site_and_is_named_in_each_layout(tmp_path: Path, layout: str, fault: str) -> None:
    given, root = build(layout, tmp_path, {})
    path = root / NAMES[layout]("A01", 2, 1)
    FAULTS[fault](path, layout)
    (plate,) = open_plates([given], check=True)
    assert_sites(plate, [("A01", 1), ("B02", 1), ("B02", 2)], np.uint16)
    if layout != "multichannel_tiff" or fault != "gone":  # a site of one file is known by that file alone
        assert path.name in {gap.path.name for gap in plate.gaps}
