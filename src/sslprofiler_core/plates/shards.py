"""One Zarr v3 shard a site, read and written directly.

A plate store's arrays hold one shard (C, H, W) with inner chunks of some whole rows of one channel: a file whose end
lists where each chunk lies. Opening an array with a library costs 0.9 to 4.9 ms and its reader visits the chunks one
by one in Python; this reads the list and decodes straight into place. Only arrays of exactly this kind are read here
(``shard_spec`` says which); zarr-python reads all others, and is the tests' oracle for these.

Every chunk ends with the CRC-32C of its bytes, and so does the list: a flipped byte is an error and never a pixel.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import product
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .headers import HeaderError
from .remote import open_file
from .zarr_metadata import ArrayMetadata

_ABSENT = 2**64 - 1
_CRC = 4
_PIECE = 2**18  # bytes: read and checked while they are in the processor's cache
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
_BLOSC = {
    "name": "blosc",
    "configuration": {"typesize": 2, "cname": "lz4", "clevel": 3, "shuffle": "bitshuffle", "blocksize": 0},
}
_BLOSC_OPTIONS: dict[str, Any] = {"level": 3, "compressor": "lz4", "shuffle": "bitshuffle", "typesize": 2}
_CRC32C = {"name": "crc32c"}
_BLOSC_MORE = 16  # bytes that Blosc adds to what it cannot pack
_LOCAL = local()
_CHUNK_KEY = {"name": "default", "configuration": {"separator": "/"}}


class ShardError(Exception):
    """Why a shard can't be read, as the second half of a sentence."""


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """A shard of uint16 pixels.

    Parameters
    ----------
    path
        The array's folder.
    shape
        The array's (C, H, W).
    inner
        Height and width of an inner chunk, one channel deep; they may overhang the image's lower and right edge.
    compressed
        Blosc (lz4 and bitshuffle as this writes it, any Blosc when reading), or plain bytes.
    """

    path: Path
    shape: tuple[int, int, int]
    inner: tuple[int, int]
    compressed: bool

    @property
    def file(self) -> Path:
        """The shard's own file."""
        return self.path / "c" / "0" / "0" / "0"

    @property
    def grid(self) -> tuple[int, int]:
        """Inner chunks of a channel: down and across."""
        return -(-self.shape[1] // self.inner[0]), -(-self.shape[2] // self.inner[1])


def inner_size(height: int) -> int:
    """Choose an inner chunk's height: 216 for CPJUMP1's 1080, near that for others, always a multiple of 8.

    Chunks are as wide as the image, so that rows are packed from where they lie, and unpacked to where they belong.
    Bitshuffle leaves chunks whose element count is no multiple of 8 as they are, in silence.
    """
    parts = -(-height // 256)
    return 8 * -(-height // (8 * parts))


def array_document(spec: ShardSpec) -> dict[str, Any]:
    """The ``zarr.json`` of a shard's array."""
    down, across = spec.grid
    channels = spec.shape[0]
    codecs = [_BYTES, _BLOSC, _CRC32C] if spec.compressed else [_BYTES, _CRC32C]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(spec.shape),
        "data_type": "uint16",
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [channels, down * spec.inner[0], across * spec.inner[1]]},
        },
        "chunk_key_encoding": _CHUNK_KEY,
        "fill_value": 0,
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [1, *spec.inner],
                    "codecs": codecs,
                    "index_codecs": [_BYTES, _CRC32C],
                    "index_location": "end",
                },
            }
        ],
        "attributes": {},
        "dimension_names": ["c", "y", "x"],
        "storage_transformers": [],
    }


def shard_spec(found: ArrayMetadata) -> ShardSpec | None:
    """Say how to read an array directly, or None when it is not of this kind."""
    document = found.document
    if found.version != 3 or found.dtype != "uint16" or len(found.shape) != 3:
        return None
    try:
        (sharding,) = document["codecs"]
        settings = sharding["configuration"]
        outer = document["chunk_grid"]["configuration"]["chunk_shape"]
        depth, *inner = settings["chunk_shape"]
        names = [codec["name"] for codec in settings["codecs"]]
        fits = (
            sharding["name"] == "sharding_indexed"
            and document["chunk_grid"]["name"] == "regular"
            and document["chunk_key_encoding"].get("configuration", {}).get("separator", "/") == "/"
            and document["chunk_key_encoding"]["name"] == "default"
            and settings.get("index_location", "end") == "end"
            and [codec["name"] for codec in settings["index_codecs"]] == ["bytes", "crc32c"]
            and settings["codecs"][0].get("configuration", {}).get("endian") == "little"
            and depth == 1
            and not document.get("storage_transformers")
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None
    if not fits or names not in (["bytes", "crc32c"], ["bytes", "blosc", "crc32c"]):
        return None
    channels, height, width = found.shape
    spec = ShardSpec(found.path, (channels, height, width), (inner[0], inner[1]), "blosc" in names)
    down, across = spec.grid
    return spec if outer == [channels, down * inner[0], across * inner[1]] else None


def write_shard(image_CHW: NDArray[np.uint16], spec: ShardSpec) -> None:
    """Write a site as a shard's file, on the disk when this returns. Raises OSError."""
    with spec.file.open("wb", buffering=0) as file:
        waiting = _encode(image_CHW, spec)
        while len(waiting):
            waiting = waiting[file.write(waiting.data) :]
        os.fsync(file.fileno())


def encode_shard(image_CHW: NDArray[np.uint16], spec: ShardSpec) -> bytes:
    """Encode a site as a shard's file."""
    return _encode(image_CHW, spec).tobytes()


def _encode(image_CHW: NDArray[np.uint16], spec: ShardSpec) -> NDArray[np.uint8]:
    """Encode a site into memory that this thread uses again."""
    import imagecodecs
    from google_crc32c import value as crc32c

    height, width = spec.inner
    down, across = spec.grid
    index = np.empty((spec.shape[0], down, across, 2), "<u8")
    room = 2 * height * width + _BLOSC_MORE
    held = _memory("encoded", index.size // 2 * (room + _CRC) + index.nbytes + _CRC)
    at = 0
    for channel, row, column in product(range(spec.shape[0]), range(down), range(across)):
        piece = image_CHW[channel, row * height : (row + 1) * height, column * width : (column + 1) * width]
        if piece.shape != spec.inner:
            piece = np.pad(piece, [(0, height - piece.shape[0]), (0, width - piece.shape[1])])
        pixels: Any = np.ascontiguousarray(piece, "<u2")
        if spec.compressed:
            # Of bytes instead of an array, imagecodecs takes elements of one byte, whatever typesize says.
            place: Any = held[at : at + room].data
            length = len(imagecodecs.blosc_encode(pixels, numthreads=1, out=place, **_BLOSC_OPTIONS))
        else:
            length = pixels.nbytes
            held[at : at + length] = pixels.reshape(-1).view(np.uint8)
        struct.pack_into("<I", held.data, at + length, crc32c(held[at : at + length]))
        index[channel, row, column] = at, length + _CRC
        at += length + _CRC
    listed = index.tobytes()
    end = at + len(listed)
    held[at:end] = np.frombuffer(listed, np.uint8)
    struct.pack_into("<I", held.data, end, crc32c(listed))
    return held[: end + _CRC]


def _memory(purpose: str, size: int) -> NDArray[np.uint8]:
    """Memory that this thread uses again: new memory costs as much as what is done with it here."""
    held: NDArray[np.uint8] | None = getattr(_LOCAL, purpose, None)
    if held is None or len(held) < size:
        held = np.empty(size, np.uint8)
        setattr(_LOCAL, purpose, held)
    return held


def check_shard(spec: ShardSpec) -> None:
    """Check that a shard's file is there, and its list of chunks whole. Raises HeaderError."""
    try:
        with open_file(spec.file) as file:
            _read_index(file, spec)
    except OSError as error:
        raise HeaderError(f"truncated: its pixels are missing ({error.strerror or error})") from error
    except ShardError as error:
        raise HeaderError(str(error)) from error


def read_shard(spec: ShardSpec, channels: Sequence[int], out: NDArray[np.uint16] | None = None) -> NDArray[np.uint16]:
    """Read some channels of a shard: (len(channels), H, W) uint16, into ``out`` where that is given.

    Raises
    ------
    ShardError
        For a shard that is damaged or not whole.
    OSError
        For a file that can't be read.
    """
    image = np.empty((len(channels), *spec.shape[1:]), np.uint16) if out is None else out
    with open_file(spec.file) as file:
        index = _read_index(file, spec)
        for plane, channel in zip(image, channels, strict=True):
            if not 0 <= channel < spec.shape[0]:
                raise ShardError(f"it has {spec.shape[0]} channels, and channel {channel + 1} is asked for")
            if spec.compressed or spec.inner != spec.shape[1:] or not plane.flags.c_contiguous:
                _read_chunks(file, spec, index[channel], plane)
            else:
                _read_plain(file, index[channel, 0, 0], plane)
    return image


def shard_holds(spec: ShardSpec, image_CHW: NDArray[np.uint16]) -> bool:
    """Whether a shard's file holds a site: read from it, checked, unpacked and compared, chunk by chunk.

    Raises
    ------
    ShardError
        For a shard that is damaged or not whole.
    OSError
        For a file that can't be read.
    """
    if spec.shape != image_CHW.shape:
        return False
    chunk = np.empty(spec.inner, np.uint16)
    with open_file(spec.file) as file:
        for plane, places in zip(image_CHW, _read_index(file, spec), strict=True):
            for offset, rows, columns, body in _chunks(file, spec, places):
                _unpack(spec, offset, body, chunk)
                expected = plane[rows, columns]
                if not _equal(chunk[: expected.shape[0], : expected.shape[1]], expected):
                    return False
    return True


def _equal(one: NDArray[np.uint16], other: NDArray[np.uint16]) -> bool:
    """Whether two pieces have the same pixels, compared four at a time where they lie so."""
    fit = all(piece.shape[1] % 4 == 0 and piece.strides[1] == piece.itemsize for piece in (one, other))
    wide = np.uint64 if fit else np.uint16
    return np.array_equal(one.view(wide), other.view(wide))


def _read_index(file: FileIO, spec: ShardSpec) -> NDArray[np.uint64]:
    from google_crc32c import value as crc32c

    down, across = spec.grid
    length = spec.shape[0] * down * across * 16
    size = file.seek(0, os.SEEK_END)
    end = _read(file, size - length - _CRC, length + _CRC) if size >= length + _CRC else b""
    if len(end) != length + _CRC:
        raise ShardError(f"truncated: {size:,} bytes, fewer than its list of chunks")
    if crc32c(end[:-_CRC]) != _number(end[-_CRC:]):
        raise ShardError("damaged: the checksum of its list of chunks is wrong")
    index = np.frombuffer(end, "<u8", count=length // 8).reshape(spec.shape[0], down, across, 2)
    if (index == _ABSENT).any():
        raise ShardError("not whole: it lacks chunks")
    if (index[..., 0] + index[..., 1] > size).any():
        raise ShardError("damaged: its list of chunks leads past its end")
    return index


def _number(check: bytes) -> int | None:
    return struct.unpack("<I", check)[0] if len(check) == _CRC else None


def _read(file: FileIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _chunks(
    file: FileIO, spec: ShardSpec, index: NDArray[np.uint64]
) -> Iterator[tuple[int, slice, slice, NDArray[np.uint8]]]:
    """Read a channel's chunks: each one's first byte, rows and columns, and its checked bytes, to be used at once.

    They lie one after another in what this writes, and are read in one go.
    """
    from google_crc32c import value as crc32c

    height, width = spec.inner
    places: list[list[list[int]]] = index.tolist()
    start = min(offset for row in places for offset, _ in row)
    end = max(offset + length for row in places for offset, length in row)
    # A writer may have put the chunks in any order: then the whole span would be far more than they are.
    together = end - start <= 2 * sum(length for row in places for _, length in row)
    span = _read_into(file, start, end - start) if together else None
    for row, down in enumerate(places):
        for column, (offset, length) in enumerate(down):
            data = _read_into(file, offset, length) if span is None else span[offset - start : offset - start + length]
            body = data[:-_CRC]
            if len(data) != length or length <= _CRC or crc32c(body) != _number(data[-_CRC:].tobytes()):
                raise ShardError(f"damaged: the checksum of its chunk at byte {offset:,} is wrong")
            rows, columns = slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)
            yield offset, rows, columns, body


def _read_into(file: FileIO, offset: int, length: int) -> NDArray[np.uint8]:
    held = _memory("read", length)[:length]
    file.seek(offset)
    return held[: file.readinto(held.data)]


def _unpack(spec: ShardSpec, offset: int, body: NDArray[np.uint8], chunk: NDArray[np.uint16]) -> None:
    """Unpack a chunk's bytes into memory of its size, contiguous."""
    import imagecodecs

    memory: Any = chunk.reshape(-1).view(np.uint8)
    length = len(body)
    if spec.compressed:
        packed: Any = body.data
        try:
            length = len(imagecodecs.blosc_decode(packed, numthreads=1, out=memory.data))
        except (imagecodecs.BloscError, ValueError) as error:
            raise ShardError(f"damaged: its chunk at byte {offset:,} cannot be decoded ({error})") from error
    elif length == chunk.nbytes:
        memory[:] = body
    if length != chunk.nbytes:
        raise ShardError(f"damaged: its chunk at byte {offset:,} has {length:,} bytes")


def _read_chunks(file: FileIO, spec: ShardSpec, index: NDArray[np.uint64], plane: NDArray[np.uint16]) -> None:
    """Read a channel's chunks into its plane, without a way round where a chunk is whole rows of it."""
    chunk: NDArray[np.uint16] | None = None
    for offset, rows, columns, body in _chunks(file, spec, index):
        place = plane[rows, columns]
        if place.shape == spec.inner and place.flags.c_contiguous:
            _unpack(spec, offset, body, place)
            continue
        if chunk is None:
            chunk = np.empty(spec.inner, np.uint16)
        _unpack(spec, offset, body, chunk)
        place[:] = chunk[: place.shape[0], : place.shape[1]]


def _read_plain(file: FileIO, place: NDArray[np.uint64], plane: NDArray[np.uint16]) -> None:
    """Read an uncompressed plane straight into its place, and its checksum piece by piece while it is in the cache."""
    from google_crc32c import extend as crc32c

    offset, length = int(place[0]), int(place[1])
    if length != plane.nbytes + _CRC:
        raise ShardError(f"damaged: its chunk at byte {offset:,} has {length:,} bytes")
    file.seek(offset)
    pixels = plane.reshape(-1).view(np.uint8)
    check = 0
    for start in range(0, len(pixels), _PIECE):
        piece = pixels[start : start + _PIECE]
        if file.readinto(piece.data) != len(piece):
            raise ShardError(f"truncated: its chunk at byte {offset:,} is cut off")
        check = crc32c(check, piece)
    if check != _number(file.read(_CRC)):
        raise ShardError(f"damaged: the checksum of its chunk at byte {offset:,} is wrong")
