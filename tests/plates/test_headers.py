from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from sslprofiler_core.plates.headers import Header, HeaderError, read_header, read_headers, read_tag
from sslprofiler_core.plates.types import Source

PLANE = np.random.default_rng(0).integers(0, 1000, (37, 29), np.uint16)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (PLANE, {}),
        (PLANE, {"byteorder": ">"}),
        (PLANE, {"bigtiff": True}),
        (PLANE, {"bigtiff": True, "byteorder": ">"}),
        (PLANE, {"compression": "lzw", "rowsperstrip": 5}),
        (PLANE, {"tile": (16, 16)}),
        (PLANE.astype(np.uint8), {}),
        (PLANE.astype(np.float32), {}),
        (PLANE.astype(np.int16), {}),
        (np.zeros((8, 9, 3), np.uint8), {"photometric": "rgb"}),
    ],
)
def test_headers_agree_with_tifffile(tmp_path: Path, image: np.ndarray, options: dict[str, object]) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, image, **options)
    assert read_header(path) == Header(image.shape, str(image.dtype))


def test_real_headers_agree_with_tifffile(cpjump1: Path) -> None:
    paths = sorted((cpjump1 / "images").glob("*/*.tiff"))[::7]
    for path, header in zip(paths, read_headers([Source(path, None) for path in paths]), strict=True):
        with tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            assert header == Header(page.shape, str(page.dtype))
            assert read_tag(path, 65500) == page.tags[65500].value
            assert read_tag(path, 271) == b"PerkinElmer\0"


@pytest.mark.parametrize("options", [{}, {"compression": "lzw", "rowsperstrip": 8}, {"byteorder": ">"}])
def test_a_file_cut_anywhere_is_found_unless_its_pixels_are_whole(tmp_path: Path, options: dict[str, object]) -> None:
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    tifffile.imwrite(whole, PLANE, **options)
    data = whole.read_bytes()
    found = 0
    for end in range(0, len(data), 29):
        cut.write_bytes(data[:end])
        try:
            read_header(cut)
        except HeaderError:
            found += 1
        else:
            np.testing.assert_array_equal(imagecodecs.tiff_decode(data[:end]), PLANE)
    assert found > 20


def test_a_cut_real_file_is_found(cpjump1: Path, tmp_path: Path) -> None:
    data = next((cpjump1 / "images").glob("*/*.tiff")).read_bytes()
    for end in (1, 7, 8, 1000, len(data) // 2, len(data) * 9 // 10):
        (tmp_path / "cut.tiff").write_bytes(data[:end])
        with pytest.raises(HeaderError, match=r"truncated|not a TIFF"):
            read_header(tmp_path / "cut.tiff")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty file"),
        (b"hello, this is text", "not a TIFF file: it starts with b'hello, t"),
        (b"II\x07\0" + bytes(20), "not a TIFF"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "not an image"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "x.tif"
    path.write_bytes(data)
    with pytest.raises(HeaderError) as error:
        read_header(path)
    assert problem in str(error.value)
    assert read_headers([Source(path, None)]) == [str(error.value)]


def test_several_images_in_a_file_are_a_problem(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((2, 8, 8), np.uint16), photometric="minisblack")
    with pytest.raises(HeaderError, match="more than one image"):
        read_header(tmp_path / "x.tif")


def test_a_file_that_is_not_there_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    assert read_headers([Source(tmp_path / "no.tif", None)]) == ["cannot be opened: No such file or directory"]


def test_random_bytes_never_crash(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, PLANE)
    data = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(1)
    for _ in range(100):
        broken = data.copy()
        broken[rng.integers(0, 300, 6)] = rng.integers(0, 256, 6)
        path.write_bytes(broken.tobytes())
        assert isinstance(read_headers([Source(path, None)])[0], Header | str)
