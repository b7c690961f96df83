"""LZW planes of TIFF files, decoded by a compiled loop where one is loaded: see ``lzw_kernel`` and ``compiled``.

This takes what instruments write: a TIFF below 4 GB, one grey sample of 8 or 16 bits in strips, in either byte order,
with or without the horizontal predictor. Whatever else a file says, or a stream that is not clean, is left to libtiff:
its verdict and its words are the same with this and without.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import Loops

# Bytes behind a file in memory that the loop may look at: it reads eight at a time.
SLACK = 16

_LETTERS = {3: "H", 4: "I"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _ROWS, _COUNTS, _PREDICTOR = 273, 278, 279, 317
_LZW = 5
# What else has to be so, where a file says it: fill order, orientation, samples, plane order, kind of sample.
_USUAL = {266: 1, 274: 1, 277: 1, 284: 1, 339: 1}
# Tiles' width, length, offsets and counts; depth: not a plane of strips.
_STRANGE = frozenset((322, 323, 324, 325, 32997))
# A code of twelve bits stands for 3,838 bytes at most, and it takes many to get there: no stream packs more tightly.
_MOST_PACKED = 2000


@dataclass(frozen=True, slots=True)
class _Strips:
    height: int
    width: int
    rows: int
    dtype: np.dtype[Any]
    predictor: bool
    offsets: tuple[int, ...]
    counts: tuple[int, ...]


def decode_lzw(
    loops: Loops, file: NDArray[np.uint8], size: int, page: int = 0, out: NDArray[np.uint16] | None = None
) -> NDArray[Any] | None:
    """Decode one page of a TIFF in memory.

    Parameters
    ----------
    file
        The file's bytes, ``SLACK`` bytes or more behind them, writable as numba has it.
    size
        How many of them are the file's.
    page
        Which page, from 0.
    out
        (H, W) uint16 to decode into, where it has the page's shape and type.

    Returns
    -------
    (H, W) uint8 or uint16, ``out`` where that fits; None for a file that this does not take. ``out`` may then hold
    anything.
    """
    try:
        strips = _read_strips(file.data[:size], page)
    except (struct.error, KeyError, ValueError):
        return None
    if strips is None:
        return None
    shape, native = (strips.height, strips.width), strips.dtype.newbyteorder("=")
    fits = out is not None and out.shape == shape and out.dtype == native and out.flags.c_contiguous
    image: NDArray[Any] = out if out is not None and fits else np.empty(shape, native)
    decoded = loops.decode_strips(
        file,
        np.array(strips.offsets, np.uint64),
        np.array(strips.counts, np.uint64),
        image.reshape(-1).view(np.uint8),
        np.uint64(strips.rows * strips.width * native.itemsize),
    )
    if not decoded:
        return None
    if strips.dtype != native:
        image.byteswap(inplace=True)
    if strips.predictor:
        loops.add_up_rows(image)
    return image


def _read_strips(data: memoryview, page: int) -> _Strips | None:
    """Read where a page's strips lie. Raises struct.error, KeyError and ValueError for what makes no sense."""
    tags, order = _read_tags(data, page)
    if _STRANGE & tags.keys() or any(_one(data, order, tags, tag, value) != value for tag, value in _USUAL.items()):
        return None
    bits, predictor = _one(data, order, tags, _BITS), _one(data, order, tags, _PREDICTOR, 1)
    if bits not in (8, 16) or predictor not in (1, 2) or _one(data, order, tags, _COMPRESSION) != _LZW:
        return None
    if _one(data, order, tags, _PHOTOMETRIC) != 1:  # black is 0
        return None
    height, width = _one(data, order, tags, _HEIGHT), _one(data, order, tags, _WIDTH)
    rows = min(_one(data, order, tags, _ROWS, height), height)
    if not (height and width and rows) or height * width * bits > 8 * _MOST_PACKED * len(data):
        return None
    offsets, counts = _integers(data, order, tags[_OFFSETS]), _integers(data, order, tags[_COUNTS])
    if not len(offsets) == len(counts) == -(-height // rows):
        return None
    if any(offset + count > len(data) for offset, count in zip(offsets, counts, strict=True)):
        return None
    return _Strips(height, width, rows, np.dtype(f"{order}u{bits // 8}"), predictor == 2, offsets, counts)


_Tag = tuple[int, int, int]  # kind, count, and where the value or its address lies


def _read_tags(data: memoryview, page: int) -> tuple[dict[int, _Tag], str]:
    order = {b"II*\0": "<", b"MM\0*": ">"}[bytes(data[:4])]
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    for _ in range(page):
        (entries,) = struct.unpack_from(f"{order}H", data, at)
        (at,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * entries)
        if not at:
            raise ValueError("no such page")
    (entries,) = struct.unpack_from(f"{order}H", data, at)
    table = data[at + 2 : at + 2 + 12 * entries]
    tags: dict[int, _Tag] = {}
    before = 0
    for k, (tag, kind, count, _) in enumerate(struct.iter_unpack(f"{order}HHII", table)):
        if tag <= before:
            raise ValueError("tags out of order: readers differ in which of two they take")
        before = tag
        tags[tag] = kind, count, at + 10 + 12 * k
    if len(tags) != entries:
        raise ValueError("cut off")
    return tags, order


def _integers(data: memoryview, order: str, tag: _Tag) -> tuple[int, ...]:
    kind, count, at = tag
    if count > len(data):
        raise ValueError("cut off")
    layout = f"{order}{count}{_LETTERS[kind]}"
    if struct.calcsize(layout) > 4:
        (at,) = struct.unpack_from(f"{order}I", data, at)
    return struct.unpack_from(layout, data, at)


def _one(data: memoryview, order: str, tags: dict[int, _Tag], tag: int, default: int | None = None) -> int:
    if tag not in tags and default is not None:
        return default
    (value,) = _integers(data, order, tags[tag])
    return value
