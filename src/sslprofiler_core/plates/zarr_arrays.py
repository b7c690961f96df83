"""Planes of Zarr arrays: a plate store's shards directly, all others with zarr-python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .headers import HeaderError
from .remote_cache import is_mirrored
from .shards import ShardError, read_shard, shard_spec
from .zarr_metadata import ArrayMetadata, read_array_metadata

_ADVICE = "Run `sslprofiler inspect --pixels` to find such sites, and convert or download the plate anew."


def read_array_planes(path: Path, planes: Sequence[int], out: NDArray[np.uint16] | None = None) -> NDArray[Any]:
    """Read planes of an array: (planes, H, W), uint8 or uint16.

    Parameters
    ----------
    planes
        Numbers over the array's leading axes, the last of them fastest.
    out
        What a store's pixels are read into, where they have its shape; other arrays are returned beside it.

    Raises
    ------
    UserError
        Naming the array and what is wrong with it.
    """
    try:
        found = read_array_metadata(path)
        spec = shard_spec(found)
        if spec is None and is_mirrored(path):
            raise ShardError("in a bucket, only plates that `sslprofiler convert` wrote can be read; this is another")
        if spec is None:
            image = _read_with_zarr(found, planes)
        else:
            fits = out is not None and out.shape == (len(planes), *found.shape[1:])
            image = read_shard(spec, planes, out if fits else None)
    except (HeaderError, ShardError) as error:
        raise UserError(f"Cannot read {path}: {error}. {_ADVICE}") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}. {_ADVICE}") from error
    if image.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path} holds {image.dtype} pixels, not 8 or 16 bits without sign. {_ADVICE}")
    return image


def _read_with_zarr(found: ArrayMetadata, planes: Sequence[int]) -> NDArray[Any]:
    import zarr

    leading = found.shape[:-2]
    try:
        image: Any
        places = np.unravel_index(np.asarray(planes), leading) if leading else ()
        array = zarr.open_array(str(found.path), mode="r")
        if not leading:
            image = np.stack([array[...]] * len(planes))
        else:
            # Planes of one site differ along one axis: a chunk that holds several of them is decoded once.
            varying = [axis for axis, place in enumerate(places) if len(set(place.tolist())) > 1]
            if len(varying) <= 1:
                axis = varying[0] if varying else 0
                index = tuple(np.asarray(place) if i == axis else int(place[0]) for i, place in enumerate(places))
                image = array.oindex[(*index, slice(None), slice(None))]
            else:
                image = np.stack([array[tuple(int(place[k]) for place in places)] for k in range(len(planes))])
    except (IndexError, ValueError, TypeError, KeyError, RuntimeError, OSError, NotImplementedError) as error:
        raise ShardError(" ".join(str(error).split()) or type(error).__name__) from error
    pixels = np.asarray(image)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
