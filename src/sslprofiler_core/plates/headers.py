"""What an image file says about itself, without decoding it.

Checking 27,648 files must not cost a decoder each: this reads one directory (two small reads a file), or one a page
where a file holds several planes, and tifffile serves as the tests' oracle. TIFF 6.0 and BigTIFF, both byte orders;
PNG, and Zarr arrays.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .layouts import IMAGE_SUFFIXES
from .remote import open_file
from .remote_cache import is_mirrored
from .types import Source

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _PLANAR, _SAMPLE_FORMAT = 256, 257, 258, 277, 284, 339
_PNG = b"\x89PNG\r\n\x1a\n"
# More pages than any site has channels, z planes and time points: a chain that runs in a circle ends here.
_MAX_PAGES = 10_000
# No common compression packs pixels more tightly: LZW reaches 1 to 1,365 bytes, Deflate 1 to 1,032.
_MOST_PACKED = 10_000
_EXTENTS = ((273, 279), (324, 325))  # strips, tiles: offsets and byte counts
_KINDS = {1: "uint", 2: "int", 3: "float"}


class HeaderError(Exception):
    """Why a file can't be used, as the second half of a sentence: "truncated: ..."."""


@dataclass(frozen=True, slots=True)
class Header:
    """Shape, dtype ("uint16") and number of planes of an image file.

    ``shape`` is (height, width); where one plane is expected, a colour image's has its samples as well.
    """

    shape: tuple[int, ...]
    dtype: str
    planes: int = 1

    def __str__(self) -> str:
        planes = f"{self.planes} planes of " if self.planes != 1 else ""
        return f"{planes}{' x '.join(map(str, self.shape))} {self.dtype}"


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: int
    count: int
    inline: bytes


class _Directory:
    """One directory of an open TIFF, the first or ``next``; values that lie elsewhere are read when asked for."""

    size: int
    order: str
    word: str
    slot: int

    def __init__(self, file: BinaryIO, before: _Directory | None = None) -> None:
        self.file = file
        if before is None:
            offset = self._read_start()
        else:
            self.size, self.order, self.word, self.slot = before.size, before.order, before.word, before.slot
            offset = before.next
        big = self.slot == 8
        entry = 12 + 8 * big
        count_bytes = 8 if big else 2
        count = self._unpack("Q" if big else "H", self._read(offset, count_bytes))
        table = self._read(offset + count_bytes, count * entry + self.slot)
        self.next: int = self._unpack(self.word, table[-self.slot :])
        self.tags: dict[int, _Tag] = {}
        for at in range(0, count * entry, entry):
            code, kind = struct.unpack_from(self.order + "HH", table, at)
            (length,) = struct.unpack_from(self.order + self.word, table, at + 4)
            self.tags.setdefault(code, _Tag(kind, length, table[at + entry - self.slot : at + entry]))

    def _read_start(self) -> int:
        self.size = os.fstat(self.file.fileno()).st_size
        start = self.file.read(16)
        if not start:
            raise HeaderError("empty file")
        if start[:2] not in (b"II", b"MM") or len(start) < 8:
            raise HeaderError(f"not a TIFF file: it starts with {start[:8]!r}")
        self.order = "<" if start[:2] == b"II" else ">"
        magic = self._unpack("H", start[2:4])
        if magic not in (42, 43):
            raise HeaderError(f"not a TIFF file: it starts with {start[:8]!r}")
        big = magic == 43
        self.word, self.slot = ("Q", 8) if big else ("I", 4)
        return self._unpack(self.word, start[8:16] if big else start[4:8])

    def _unpack(self, letter: str, data: bytes) -> int:
        try:
            value: int = struct.unpack(self.order + letter, data)[0]
        except struct.error as error:
            raise HeaderError("truncated: the header is cut off") from error
        return value

    def _read(self, offset: int, length: int) -> bytes:
        if offset + length > self.size:
            raise HeaderError(f"truncated: {self.size:,} bytes, but it refers to byte {offset + length:,}")
        self.file.seek(offset)
        return self.file.read(length)

    def raw(self, code: int) -> bytes | None:
        tag = self.tags.get(code)
        if tag is None or tag.kind not in _SIZES:
            return None
        length = tag.count * _SIZES[tag.kind]
        return tag.inline[:length] if length <= self.slot else self._read(self._unpack(self.word, tag.inline), length)

    def integers(self, code: int) -> tuple[int, ...]:
        data = self.raw(code)
        letter = _FORMATS.get(self.tags[code].kind) if data is not None else None
        if data is None or letter is None:
            return ()
        return struct.unpack(f"{self.order}{self.tags[code].count}{letter}", data)

    def one(self, code: int, default: int | None = None) -> int:
        values = self.integers(code)
        if values:
            return values[0]
        if default is None:
            raise HeaderError(f"not an image: TIFF tag {code} is missing")
        return default

    def samples(self) -> int:
        samples = self.one(_SAMPLES, 1)
        if samples < 1:
            raise HeaderError("not an image: it has no samples")
        return samples

    def header(self) -> Header:
        samples = self.samples()
        shape = (self.one(_HEIGHT), self.one(_WIDTH), *((samples,) if samples != 1 else ()))
        kind = _KINDS.get(self.one(_SAMPLE_FORMAT, 1), "unknown")
        return Header(shape, f"{kind}{self.one(_BITS, 1)}")

    def check_extent(self) -> None:
        for offsets_tag, counts_tag in _EXTENTS:
            offsets, counts = self.integers(offsets_tag), self.integers(counts_tag)
            if offsets and counts:
                end = max(offset + count for offset, count in zip(offsets, counts, strict=False))
                if end > self.size:
                    raise HeaderError(f"truncated: {self.size:,} bytes, but its pixels reach to byte {end:,}")
                pixels = self.one(_HEIGHT) * self.one(_WIDTH)
                if pixels > _MOST_PACKED * self.size:
                    raise HeaderError(f"broken: {self.size:,} bytes cannot hold the {pixels:,} pixels that it claims")
                return
        raise HeaderError("not an image: it holds no pixels")


def read_header(path: Path, plane: int | None = None) -> Header:
    """Read an image file's shape and dtype, and check that all its pixels are inside the file.

    Parameters
    ----------
    plane
        None where the file should hold one plane; else a plane that it should hold.

    Raises
    ------
    HeaderError
        For a file that can't be opened, is empty, no image, truncated, holds several images where one is expected, or
        lacks the plane.
    """
    try:
        if is_array(path):
            from .zarr_metadata import read_array_header

            header = read_array_header(path)
        else:
            with open_file(path) as file:
                header = _read_file_header(file, plane is not None)
    except OSError as error:
        raise HeaderError(f"cannot be opened: {error.strerror or error}") from error
    if plane is not None and plane >= header.planes:
        raise HeaderError(f"lacks a channel: it holds {header.planes} planes, and plane {plane + 1} is expected")
    return header


def _read_file_header(file: BinaryIO, several: bool) -> Header:
    if file.read(8) == _PNG:
        return _png_header(file)
    file.seek(0)
    directory = _Directory(file)
    header = directory.header()
    directory.check_extent()
    if several:
        return _sum_pages(directory, header)
    if directory.next:
        raise HeaderError("holds more than one image: one plane a file is expected")
    return header


def _sum_pages(directory: _Directory, first: Header) -> Header:
    pages = 1
    while directory.next:
        directory = _Directory(directory.file, directory)
        pages += 1
        if pages > _MAX_PAGES:
            raise HeaderError(f"not an image that can be used: its list of pages passes {_MAX_PAGES:,}")
        header = directory.header()
        if header != first:
            raise HeaderError(f"holds images of several kinds: {first}, and page {pages} is {header}")
        directory.check_extent()
    samples = first.shape[2] if len(first.shape) == 3 else 1
    return Header(first.shape[:2], first.dtype, pages * samples)


def _png_header(file: BinaryIO) -> Header:
    chunk = file.read(25)
    if len(chunk) < 25 or chunk[4:8] != b"IHDR":
        raise HeaderError("truncated: the header is cut off")
    width, height, bits, colour = struct.unpack(">IIBB", chunk[8:18])
    end = os.fstat(file.fileno()).st_size - 12
    file.seek(max(end, 0))
    if file.read(12)[4:8] != b"IEND":
        raise HeaderError("truncated: the end of the PNG is missing")
    samples = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 1)
    return Header((height, width, samples) if samples != 1 else (height, width), f"uint{bits}")


def is_array(path: Path) -> bool:
    """Whether a source is a Zarr array, instead of a file: that of an object store has no folder until it is read."""
    return path.is_dir() or (is_mirrored(path) and not path.name.lower().endswith(IMAGE_SUFFIXES))


def is_tiff(path: Path) -> bool:
    """Whether a file starts as a TIFF does. Raises HeaderError when it can't be opened."""
    try:
        with open_file(path) as file:
            return file.read(2) in (b"II", b"MM")
    except OSError as error:
        raise HeaderError(f"cannot be opened: {error.strerror or error}") from error


def read_tag(path: Path, code: int) -> bytes | None:
    """Read one tag's raw bytes from a TIFF's first directory; None when the tag is not there.

    Raises
    ------
    HeaderError
        As ``read_header`` does for files that can't be read.
    """
    try:
        with open_file(path) as file:
            return _Directory(file).raw(code)
    except OSError as error:
        raise HeaderError(f"cannot be opened: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Pages:
    """How a TIFF's planes lie: samples a pixel, and whether each is a plane of its own (``separate``)."""

    samples: int
    separate: bool


def read_pages(path: Path) -> Pages:
    """Read how a TIFF's planes lie, from its first directory. Raises HeaderError."""
    try:
        with open_file(path) as file:
            directory = _Directory(file)
            return Pages(directory.samples(), directory.one(_PLANAR, 1) == 2)
    except OSError as error:
        raise HeaderError(f"cannot be opened: {error.strerror or error}") from error


def read_headers(sources: Sequence[Source]) -> list[Header | str]:
    """Read many headers: a header, or the problem with the file, for each source in order.

    Threads hide the latency of network disks; on a local disk they gain little.
    """

    def read(source: Source) -> Header | str:
        try:
            return read_header(*source)
        except HeaderError as error:
            return str(error)

    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        # Tasks of many files: handing over a file at a time would cost more than reading it.
        chunks = [sources[i : i + 256] for i in range(0, len(sources), 256)]
        done = pool.map(lambda chunk: [read(source) for source in chunk], chunks)
        return [header for chunk in done for header in chunk]
