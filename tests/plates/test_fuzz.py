"""Mutated files and names: no crash, no hang, and nothing wrong is accepted. ``make soak`` runs 5,000 of each."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Site, looks_like_plates, open_plates, read_site
from sslprofiler_core.plates.headers import Header, HeaderError, read_header

KINDS: list[dict[str, object]] = [
    {"compression": "lzw", "predictor": True},
    {"compression": "zlib", "byteorder": ">"},
    {"tile": (16, 16)},
    {"bigtiff": True, "rowsperstrip": 5},
]
SHAPE = (20, 30)
NAMES = (
    "r01c02f03p01-ch4sk1fk1fl1.tiff",
    "Week1_B02_s1_w107447158-AC76-4844-8431-E6A954BD1174.tif",
    "P1_A01_s1.ome.tif",
    "load_data.csv",
    "zarr.json",
    ".zattrs",
    ".zgroup",
)


def pristine(kind: int, rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    plane = rng.integers(0, 4000, SHAPE, np.uint16)
    tifffile.imwrite(file, plane, metadata=None, **KINDS[kind])
    return file.getvalue()


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut it, or change some bytes: most of them in the first 300, where headers and directories are."""
    data = bytearray(content)
    if rng.random() < 0.25:
        return bytes(data[: rng.integers(0, len(data))])
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(0, min(300, len(data)) if rng.random() < 0.7 else len(data)))
        if rng.random() < 0.5:
            data[at] = int(rng.integers(0, 256))
        else:
            value = int(rng.choice([0, 1, 2**16 - 1, 2**31 - 1, 2**32 - 1]))
            data[at : at + 4] = struct.pack("<I", value)
    return bytes(data)


def check_file(path: Path, content: bytes, plane: int | None) -> None:
    """A mutated file is an error, or an image of 8 or 16 bits; a header is an error, or what the image then has."""
    path.write_bytes(content)
    try:
        header: Header | None = read_header(path, plane)
    except HeaderError:
        header = None
    site = Site("P", "A01", 1, (path,), planes=() if plane is None else (plane,))
    try:
        image = read_site(site)
    except UserError as error:
        assert str(path) in str(error)
        return
    assert image.dtype == np.uint16
    assert image.ndim == 3
    if header is not None and header.dtype in ("uint8", "uint16"):
        assert image.shape[1:] == header.shape[:2]


def fuzz_files(folder: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    contents = [pristine(kind, rng) for kind in range(len(KINDS))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tifffile warns of much that it then refuses
        for k in range(count):
            check_file(folder / "x.tif", mutate(contents[k % len(contents)], rng), None if k % 3 else 0)


def fuzz_names(folder: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcrwf_-. 0123456789{}*[]\\üÄ漢\n'\""))
    made = 0
    for k in range(count):
        name = list(NAMES[k % len(NAMES)])
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(0, len(name)))
            name[at : at + int(rng.integers(0, 3))] = [str(letters[rng.integers(len(letters))])]
        text = "".join(name)
        if text.strip(". "):
            (folder / text).write_bytes(rng.bytes(int(rng.integers(0, 40))))
            made += 1
        if k % 20 == 19:
            looks_like_plates(folder)
            try:
                plates = open_plates([folder], check=True)
            except UserError as error:
                assert str(error).count("\n") <= 2
            else:
                assert all(not plate.sites for plate in plates)  # none of the files is an image
            for path in folder.iterdir():
                path.unlink()
    assert made > count // 2


def test_mutated_files_are_errors_or_images(tmp_path: Path) -> None:
    fuzz_files(tmp_path, 200, seed=1)


def test_mutated_names_never_break_the_index(tmp_path: Path) -> None:
    fuzz_names(tmp_path, 200, seed=2)


@pytest.mark.soak
def test_many_mutated_files_and_names(tmp_path: Path) -> None:
    fuzz_files(tmp_path, 5000, seed=3)
    fuzz_names(tmp_path, 5000, seed=4)


def test_an_untouched_file_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in range(len(KINDS)):
        (tmp_path / "x.tif").write_bytes(pristine(kind, rng))
        assert read_site(Site("P", "A01", 1, (tmp_path / "x.tif",))).shape == (1, *SHAPE)
        assert read_header(tmp_path / "x.tif") == Header(SHAPE, "uint16")


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "a" / "r01c01f01p01-ch1sk1fk1fl1.tiff").symlink_to(tmp_path / "a" / "r01c01f01p01-ch1sk1fk1fl1.tiff")
    assert looks_like_plates(tmp_path)
    (plate,) = open_plates([tmp_path], check=True)
    assert not plate.sites
    assert "cannot be opened" in plate.gaps[0].problem
