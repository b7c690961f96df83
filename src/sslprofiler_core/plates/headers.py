"""What a TIFF says about itself, from its first directory alone.

Checking 27,648 files must not cost a decoder each: this reads one directory (two small reads a file), and tifffile
serves as the tests' oracle. TIFF 6.0 and BigTIFF, both byte orders.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_FORMATS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_WIDTH, _HEIGHT, _BITS, _SAMPLES, _SAMPLE_FORMAT = 256, 257, 258, 277, 339
_EXTENTS = ((273, 279), (324, 325))  # strips, tiles: offsets and byte counts
_KINDS = {1: "uint", 2: "int", 3: "float"}


class HeaderError(Exception):
    """Why a file can't be used, as the second half of a sentence: "truncated: ..."."""


@dataclass(frozen=True, slots=True)
class Header:
    """Shape (height, width, and samples a pixel when there are several) and dtype ("uint16") of a TIFF's image."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{' x '.join(map(str, self.shape))} {self.dtype}"


@dataclass(frozen=True, slots=True)
class _Tag:
    kind: int
    count: int
    inline: bytes


class _Directory:
    """The first directory of an open TIFF; values that lie elsewhere are read when asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        start = file.read(16)
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
        offset = self._unpack(self.word, start[8:16] if big else start[4:8])
        entry = 12 + 8 * big
        count_bytes = 8 if big else 2
        count = self._unpack("Q" if big else "H", self._read(offset, count_bytes))
        table = self._read(offset + count_bytes, count * entry + self.slot)
        self.more_images = self._unpack(self.word, table[-self.slot :]) != 0
        self.tags: dict[int, _Tag] = {}
        for at in range(0, count * entry, entry):
            code, kind = struct.unpack_from(self.order + "HH", table, at)
            (length,) = struct.unpack_from(self.order + self.word, table, at + 4)
            self.tags.setdefault(code, _Tag(kind, length, table[at + entry - self.slot : at + entry]))

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

    def header(self) -> Header:
        samples = self.one(_SAMPLES, 1)
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
                return
        raise HeaderError("not an image: it holds no pixels")


def read_header(path: Path) -> Header:
    """Read a TIFF's shape and dtype, and check that all its pixels are inside the file.

    Raises
    ------
    HeaderError
        For a file that can't be opened, is empty, not a TIFF, truncated, or holds several images.
    """
    try:
        with path.open("rb", buffering=0) as file:
            directory = _Directory(file)
            header = directory.header()
            directory.check_extent()
    except OSError as error:
        raise HeaderError(f"cannot be opened: {error.strerror or error}") from error
    if directory.more_images:
        raise HeaderError("holds more than one image: one plane a file is expected")
    return header


def read_tag(path: Path, code: int) -> bytes | None:
    """Read one tag's raw bytes from a TIFF's first directory; None when the tag is not there.

    Raises
    ------
    HeaderError
        As ``read_header`` does for files that can't be read.
    """
    try:
        with path.open("rb", buffering=0) as file:
            return _Directory(file).raw(code)
    except OSError as error:
        raise HeaderError(f"cannot be opened: {error.strerror or error}") from error


def read_headers(paths: Sequence[Path]) -> list[Header | str]:
    """Read many headers: a header, or the problem with the file, for each path in order.

    Threads hide the latency of network disks; on a local disk they gain little.
    """

    def read(path: Path) -> Header | str:
        try:
            return read_header(path)
        except HeaderError as error:
            return str(error)

    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        # Tasks of many files: handing over a file at a time would cost more than reading it.
        chunks = [paths[i : i + 256] for i in range(0, len(paths), 256)]
        done = pool.map(lambda chunk: [read(path) for path in chunk], chunks)
        return [header for chunk in done for header in chunk]
