"""What Zarr groups and arrays say about themselves: their metadata is JSON, so reading it needs no library."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .headers import Header, HeaderError
from .remote import open_file
from .remote_cache import is_mirrored

# Zarr v2 writes types as numpy does ("<u2"), v3 by name.
_V2_KINDS = {"u": "uint", "i": "int", "f": "float"}


@dataclass(frozen=True, slots=True)
class ArrayMetadata:
    """A Zarr array's shape, dtype ("uint16") and the whole of its metadata."""

    path: Path
    version: int
    shape: tuple[int, ...]
    dtype: str
    document: dict[str, Any]


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None when the file is not there or holds something else. Raises OSError."""
    try:
        with open_file(path) as file:
            document = json.loads(file.read())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def read_attributes(group: Path) -> dict[str, Any]:
    """Read a group's attributes, Zarr v3 or v2; empty when it is no group or has none. Raises OSError."""
    document = read_json(group / "zarr.json")
    if document is not None:
        found = document.get("attributes") if document.get("node_type") == "group" else None
    else:
        found = read_json(group / ".zattrs")
    return found if isinstance(found, dict) else {}


def read_ome(group: Path) -> dict[str, Any]:
    """Read a group's OME-Zarr metadata: 0.5 keeps it under ``ome``, 0.4 among the attributes. Raises OSError."""
    attributes = read_attributes(group)
    ome = attributes.get("ome")
    return ome if isinstance(ome, dict) else attributes


def read_array_metadata(path: Path) -> ArrayMetadata:
    """Read an array's metadata.

    Raises
    ------
    HeaderError
        When there is no array, or its metadata makes no sense.
    """
    try:
        document = read_json(path / "zarr.json")
        version = 3
        if document is None:
            document, version = read_json(path / ".zarray"), 2
    except OSError as error:
        raise HeaderError(f"cannot be opened: {error.strerror or error}") from error
    if document is None or (version == 3 and document.get("node_type") != "array"):
        raise HeaderError("not a Zarr array: its metadata is missing or broken")
    shape = document.get("shape")
    dtype = document.get("data_type" if version == 3 else "dtype")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape) or len(shape) < 2:
        raise HeaderError(f"not an array of images: its shape is {shape}")
    if version == 2 and isinstance(dtype, str) and dtype[1:2] in _V2_KINDS and dtype[2:].isdecimal():
        dtype = f"{_V2_KINDS[dtype[1]]}{8 * int(dtype[2:])}"
    return ArrayMetadata(path, version, tuple(shape), str(dtype), document)


def read_array_header(path: Path) -> Header:
    """Read an array's header: the last two axes are an image's, the others count its planes. Raises HeaderError."""
    found = read_array_metadata(path)
    header = Header(found.shape[-2:], found.dtype, math.prod(found.shape[:-2]))
    from .shards import check_shard, shard_spec

    spec = shard_spec(found)
    if spec is not None:
        check_shard(spec)
    elif not is_mirrored(path) and not _has_chunks(path):
        # Zarr takes a chunk that is not there for black: of a copy that was broken off, nothing else would tell.
        raise HeaderError("truncated: its metadata is there, and none of its pixels")
    return header


def _has_chunks(path: Path) -> bool:
    names = (name for name in os.listdir(path) if not name.startswith(".") and name != "zarr.json")  # noqa: PTH208
    return any(not (path / name).is_dir() or os.listdir(path / name) for name in names)  # noqa: PTH208
