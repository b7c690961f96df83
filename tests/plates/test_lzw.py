from __future__ import annotations

import io
import itertools
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import compiled, read_plane
from sslprofiler_core.plates.compiled import Loops, load_loops
from sslprofiler_core.plates.lzw import SLACK, decode_lzw


@pytest.fixture(scope="module")
def loops() -> Loops:
    loaded = load_loops()
    if loaded is None:
        pytest.skip("numba does not run here")
    return loaded


def packed(plane: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, plane, metadata=None, photometric="minisblack", compression="lzw", **options)
    return file.getvalue()


def decode(loops: Loops, data: bytes, page: int = 0, out: np.ndarray | None = None) -> np.ndarray | None:
    """Decode it with bytes behind it that would show in the pixels, were they read as the file's."""
    held = np.full(len(data) + SLACK, 0xA5, np.uint8)
    held[: len(data)] = np.frombuffer(data, np.uint8)
    return decode_lzw(loops, held, len(data), page, out)


def strip_of(codes: list[tuple[int, int]]) -> bytes:
    """Write (code, width) one after another, the highest bit first."""
    bits = "".join(f"{code:0{width}b}" for code, width in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def file_of(stream: bytes, shape: tuple[int, int], **changes: int) -> bytes:
    """An 8-bit TIFF of one strip around a stream."""
    tags = {256: shape[1], 257: shape[0], 258: 8, 259: 5, 262: 1, 273: 0, 277: 1, 278: shape[0], 279: len(stream)}
    tags |= {int(tag.removeprefix("t")): value for tag, value in changes.items()}
    tags = dict(sorted(tags.items()))
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags.items()
    )
    return struct.pack("<4sIH", b"II*\0", 8, len(tags)) + entries + struct.pack("<I", 0) + stream


def test_real_planes_are_what_libtiff_decodes(cpjump1: Path, loops: Loops) -> None:
    for path in sorted((cpjump1 / "images").glob("*/*.tiff")):
        data = path.read_bytes()
        out = np.zeros((1080, 1080), np.uint16)
        assert decode(loops, data, out=out) is out
        np.testing.assert_array_equal(out, imagecodecs.tiff_decode(data))


def plane_of(kind: str, shape: tuple[int, int], dtype: type, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    if kind == "noise":
        return rng.integers(0, top, shape, dtype, endpoint=True)
    if kind == "steps":  # long runs: strings of thousands of bytes
        return np.cumsum(rng.random(shape) < 0.002, axis=1).astype(dtype)
    if kind == "image":
        y, x = np.mgrid[: shape[0], : shape[1]]
        return (120 + 60 * np.sin(y / 9) * np.cos(x / 7) + rng.integers(0, 4, shape)).astype(dtype)
    return np.full(shape, 7 if kind == "flat" else top, dtype)


@settings(max_examples=80)
@given(
    kind=st.sampled_from(["noise", "steps", "image", "flat", "white"]),
    shape=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    order=st.sampled_from("<>"),
    predictor=st.booleans(),
    rows=st.integers(1, 160),
    seed=st.integers(0, 2**32),
)
def test_any_plane_in_any_strips_goes_round(
    kind: str, shape: tuple[int, int], dtype: type, order: str, predictor: bool, rows: int, seed: int
) -> None:
    loops = load_loops()
    if loops is None:
        pytest.skip("numba does not run here")
    plane = plane_of(kind, shape, dtype, seed)
    data = packed(plane, byteorder=order, predictor=predictor, rowsperstrip=rows)
    image = decode(loops, data)
    # Few bytes a strip: what is shorter than any clean stream may be left to libtiff, and nothing else.
    assert image is not None
    assert image.dtype == dtype
    np.testing.assert_array_equal(image, plane)


def test_pages_are_found_one_by_one(loops: Loops) -> None:
    planes = np.random.default_rng(0).integers(0, 4000, (3, 40, 30), np.uint16)
    data = packed(planes)
    for page, plane in enumerate(planes):
        np.testing.assert_array_equal(decode(loops, data, page), plane)
    assert decode(loops, data, 3) is None


def test_memory_that_does_not_fit_is_left_alone(loops: Loops) -> None:
    plane = np.arange(300, dtype=np.uint16).reshape(20, 15)
    for wrong in (np.zeros((20, 16), np.uint16), np.zeros((20, 30), np.uint16)[:, ::2]):
        image = decode(loops, packed(plane), out=wrong)
        assert image is not wrong
        assert not wrong.any()
        np.testing.assert_array_equal(image, plane)
    small = decode(loops, packed(plane.astype(np.uint8)), out=np.zeros((20, 15), np.uint16))
    assert small is not None
    assert small.dtype == np.uint8


@pytest.mark.parametrize(
    "options",
    [
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"compression": "zlib"},
        {"compression": None},
        {"dtype": np.int16},
        {"dtype": np.float32},
        {"dtype": np.uint32},
        {"photometric": "miniswhite"},
        {"photometric": "rgb", "shape": (32, 48, 3)},
    ],
)
def test_what_is_of_another_kind_is_left_to_the_libraries(loops: Loops, options: dict[str, Any]) -> None:
    plane = np.zeros(options.pop("shape", (32, 48)), options.pop("dtype", np.uint16))
    file = io.BytesIO()
    tifffile.imwrite(file, plane, metadata=None, **{"photometric": "minisblack", "compression": "lzw"} | options)
    assert decode(loops, file.getvalue()) is None


CLEAN = [(256, 9), *((65 + k % 5, 9) for k in range(20)), (257, 9)]


@pytest.mark.parametrize(
    ("codes", "pixels"),
    [
        (CLEAN, 20),
        (CLEAN[:-1], 20),  # without an end
        (CLEAN, 19),  # more than the plane, which is full
        ([(256, 9), (256, 9), (7, 9), (258, 9), (259, 9), (260, 9), (257, 9)], 1 + 2 + 3 + 4),  # each its own start
        ([(256, 9), (1, 9), (2, 9), (256, 9), (3, 9), (258, 9), (257, 9)], 2 + 3),  # cleared in the middle
    ],
)
def test_clean_streams_are_taken(loops: Loops, codes: list[tuple[int, int]], pixels: int) -> None:
    data = file_of(strip_of(codes), (1, pixels))
    image = decode(loops, data)
    assert image is not None
    np.testing.assert_array_equal(image, imagecodecs.tiff_decode(data))


@pytest.mark.parametrize(
    ("codes", "pixels"),
    [
        (CLEAN, 21),
        (CLEAN[1:], 20),  # no clear at the start
        ([*CLEAN[:4], (257, 9), *CLEAN[4:]], 20),  # ends early
        ([(256, 9), (1, 9), (259, 9), (2, 9)], 4),  # a string that is not there yet
        ([(256, 9), (258, 9), (2, 9), (2, 9)], 4),  # one before there is any
        ([(256, 9), (257, 9), (2, 9), (2, 9)], 2),
        ([(256, 9), (5, 9), (258, 9), (259, 9), (257, 9)], 5),  # its last string is longer than the plane
        ([], 4),
        ([(256, 9)], 1),
        # A table that is never cleared: 4,096 entries, and then one more.
        ([(256, 9), (0, 9), *((k % 251, max(9, (259 + k).bit_length())) for k in range(3836)), *((1, 12),) * 9], 3846),
    ],
)
def test_streams_that_are_not_clean_are_left_to_libtiff(
    loops: Loops, codes: list[tuple[int, int]], pixels: int
) -> None:
    assert decode(loops, file_of(strip_of(codes) if codes else b"", (1, pixels))) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"t279": 10**6},
        {"t279": 3},
        {"t257": 0},
        {"t256": 65535, "t257": 65535},
        {"t278": 0},
        {"t259": 1},
        {"t258": 12},
        {"t266": 2},
        {"t274": 3},
        {"t277": 3},
        {"t317": 3},
        {"t322": 16},
        {"t339": 2},
        {"t262": 0},
    ],
)
def test_headers_that_say_something_else_are_left_to_libtiff(loops: Loops, changes: dict[str, int]) -> None:
    stream = strip_of(CLEAN)
    assert decode(loops, file_of(stream, (1, 20))) is not None
    assert decode(loops, file_of(stream, (1, 20), **changes)) is None


def test_pixels_that_lie_outside_the_file_are_left_to_libtiff(loops: Loops) -> None:
    data = file_of(strip_of(CLEAN), (1, 20))
    at = data.index(struct.pack("<HH", 273, 4)) + 8
    for offset in (len(data) - 10, len(data), 2**31, 2**32 - 1):
        assert decode(loops, data[:at] + struct.pack("<I", offset) + data[at + 4 :]) is None


def mutations(contents: list[bytes], count: int, seed: int) -> Any:
    """Cut files, and files with other bytes or bits in their pixels, and in their headers."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        data = bytearray(contents[k % len(contents)])
        if k % 5 == 4:
            del data[int(rng.integers(0, len(data))) :]
        for _ in range(int(rng.integers(1, 4)) if k % 5 != 4 else 0):
            at = int(rng.integers(0, len(data) if k % 3 else 200))
            data[at] = data[at] ^ (1 << int(rng.integers(8))) if k % 2 else int(rng.integers(256))
        yield bytes(data)


def verdict(data: bytes) -> np.ndarray:
    """What libtiff says, or tifffile where libtiff stumbles over another tag, as in reading without the loop."""
    try:
        image: np.ndarray = imagecodecs.tiff_decode(data)
    except (imagecodecs.TiffError, IndexError):
        image = tifffile.imread(io.BytesIO(data), key=0)
    return image


def fuzz(loops: Loops, count: int, seed: int) -> int:
    """Whatever is taken, the libraries take, to the same pixels; returns how many were taken."""
    kinds = itertools.product(["noise", "steps", "image"], [np.uint8, np.uint16], "<>", [False, True])
    contents = [
        packed(plane_of(kind, (37, 61), dtype, seed + k), byteorder=order, predictor=predictor, rowsperstrip=5 + 9 * k)
        for k, (kind, dtype, order, predictor) in enumerate(kinds)
    ]
    taken = 0
    for data in mutations(contents, count, seed):
        image = decode(loops, data)
        if image is not None:
            expected = verdict(data)
            assert expected.dtype == image.dtype
            np.testing.assert_array_equal(image, expected)
            taken += 1
    return taken


def test_what_is_taken_of_mutated_files_is_what_libraries_take(loops: Loops) -> None:
    assert 300 < fuzz(loops, 3000, seed=0) < 2700


@pytest.mark.soak
def test_what_is_taken_of_many_mutated_files_is_what_libraries_take(loops: Loops) -> None:
    fuzz(loops, 200_000, seed=1)


def test_large_planes_are_read_with_it_after_the_first_ones(
    loops: Loops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = plane_of("noise", (300, 320), np.uint16, 0)
    (tmp_path / "a.tif").write_bytes(packed(plane))
    monkeypatch.setattr(compiled, "_LOADED", [])
    monkeypatch.setattr(compiled, "_READ", itertools.count(1))
    started: list[str] = []

    class Started:
        def __init__(self, target: Any, name: str) -> None:
            assert target is load_loops

        def start(self) -> None:
            started.append("now")
            compiled._LOADED.append(loops)

    monkeypatch.setattr(compiled, "Thread", Started)
    for k in range(1, 40):
        np.testing.assert_array_equal(read_plane(tmp_path / "a.tif"), plane)
        assert len(started) == (k >= 32)
    monkeypatch.setattr(imagecodecs, "tiff_decode", None)  # nobody asks it any more
    np.testing.assert_array_equal(read_plane(tmp_path / "a.tif"), plane)


def test_an_error_names_the_file_as_without_it(loops: Loops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    data = packed(plane_of("noise", (300, 320), np.uint16, 0))
    spoilt = data[:5000] + bytes(3000) + data[8000:]
    for content in (data[:-900], spoilt):
        path.write_bytes(content)
        said = []
        for held in ([], [loops]):
            monkeypatch.setattr(compiled, "_LOADED", held)
            with pytest.raises(UserError, match=r"a\.tif") as error:
                read_plane(path)
            said.append(str(error.value))
        assert said[0] == said[1]


def test_without_numba_libraries_do_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("levels_kernel", "lzw_kernel", "means_kernel"):
        monkeypatch.setitem(sys.modules, f"sslprofiler_core.plates.{name}", None)
    monkeypatch.setattr(compiled, "_LOADED", [])
    load_loops.cache_clear()
    try:
        assert load_loops() is None
        plane = plane_of("noise", (300, 320), np.uint16, 0)
        (tmp_path / "a.tif").write_bytes(packed(plane))
        np.testing.assert_array_equal(read_plane(tmp_path / "a.tif"), plane)
    finally:
        load_loops.cache_clear()
