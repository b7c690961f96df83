"""One Zarr v3 shard a site, read and written directly.

A plate store's arrays hold one shard (C, H, W) with inner chunks of one channel: a file whose end lists where each
chunk lies. Opening an array with a library costs 0.9 to 4.9 ms and its reader visits the chunks one by one in Python;
this reads the list and decodes straight into place. Only arrays of exactly this kind are read here (``shard_spec``
says which); zarr-python reads all others, and is the tests' oracle for these.

Every chunk ends with the CRC-32C of its bytes, and so does the list: a flipped byte is an error and never a pixel.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import product
from pathlib import Path
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
    "configuration": {"typesize": 2, "cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "blocksize": 0},
}
_BLOSC_OPTIONS: dict[str, Any] = {"level": 5, "compressor": "lz4", "shuffle": "bitshuffle", "typesize": 2}
_CRC32C = {"name": "crc32c"}
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


def inner_size(length: int) -> int:
    """Choose an inner chunk's side: 216 for CPJUMP1's 1080, near that for others, always a multiple of 8.

    Bitshuffle leaves chunks whose element count is no multiple of 8 as they are, in silence.
    """
    parts = -(-length // 256)
    return 8 * -(-length // (8 * parts))


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


def encode_shard(image_CHW: NDArray[np.uint16], spec: ShardSpec) -> bytes:
    """Encode a site as a shard's file."""
    import imagecodecs
    from google_crc32c import value as crc32c

    height, width = spec.inner
    down, across = spec.grid
    parts: list[bytes] = []
    index = np.empty((spec.shape[0], down, across, 2), "<u8")
    at = 0
    for channel, row, column in product(range(spec.shape[0]), range(down), range(across)):
        piece = image_CHW[channel, row * height : (row + 1) * height, column * width : (column + 1) * width]
        if piece.shape != spec.inner:
            piece = np.pad(piece, [(0, height - piece.shape[0]), (0, width - piece.shape[1])])
        pixels: Any = np.ascontiguousarray(piece, "<u2")
        if spec.compressed:
            # Of bytes instead of an array, imagecodecs takes elements of one byte, whatever typesize says.
            data = bytes(imagecodecs.blosc_encode(pixels, numthreads=1, **_BLOSC_OPTIONS))
        else:
            data = pixels.tobytes()
        parts += [data, struct.pack("<I", crc32c(data))]
        index[channel, row, column] = at, len(data) + _CRC
        at += len(data) + _CRC
    listed = index.tobytes()
    return b"".join([*parts, listed, struct.pack("<I", crc32c(listed))])


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


def _read_chunks(file: FileIO, spec: ShardSpec, index: NDArray[np.uint64], plane: NDArray[np.uint16]) -> None:
    """Read a channel's chunks, which lie one after another in what this writes, in one go."""
    import imagecodecs
    from google_crc32c import value as crc32c

    height, width = spec.inner
    places: list[list[list[int]]] = index.tolist()
    start = min(offset for row in places for offset, _ in row)
    end = max(offset + length for row in places for offset, length in row)
    # A writer may have put the chunks in any order: then the whole span would be far more than they are.
    together = end - start <= 2 * sum(length for row in places for _, length in row)
    span = np.frombuffer(_read(file, start, end - start), np.uint8) if together else None
    chunk = np.empty(spec.inner, np.uint16)
    memory = chunk.data.cast("B")
    for row, down in enumerate(places):
        for column, (offset, length) in enumerate(down):
            if span is None:
                data = np.frombuffer(_read(file, offset, length), np.uint8)
            else:
                data = span[offset - start : offset - start + length]
            body = data[:-_CRC]
            if len(data) != length or length <= _CRC or crc32c(body) != _number(data[-_CRC:].tobytes()):
                raise ShardError(f"damaged: the checksum of its chunk at byte {offset:,} is wrong")
            if spec.compressed:
                try:
                    packed: Any = body.data
                    decoded = imagecodecs.blosc_decode(packed, numthreads=1, out=memory)
                except (imagecodecs.BloscError, ValueError) as error:
                    raise ShardError(f"damaged: its chunk at byte {offset:,} cannot be decoded ({error})") from error
                if len(decoded) != chunk.nbytes:
                    raise ShardError(f"damaged: its chunk at byte {offset:,} has {len(decoded):,} bytes")
            elif len(body) == chunk.nbytes:
                chunk = body.view("<u2").reshape(spec.inner)
            else:
                raise ShardError(f"damaged: its chunk at byte {offset:,} has {len(body):,} bytes")
            place = plane[row * height : (row + 1) * height, column * width : (column + 1) * width]
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
