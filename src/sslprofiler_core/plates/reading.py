"""Read a site's pixels, once, as the instrument stored them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .decoded import DECODED
from .headers import is_array
from .remote import fetch_all
from .tiff import read_file_planes
from .types import Site, Source

AnyPlane = NDArray[np.uint16] | NDArray[np.uint8]


def read_site(
    site: Site, channels: Sequence[int] | None = None, out: NDArray[np.uint16] | None = None
) -> NDArray[np.uint16]:
    """Read a site.

    Parameters
    ----------
    channels
        Indices into the plate's channels, in the order wanted; None reads all.
    out
        (C, H, W) uint16 to read into, such as pinned memory that is used again: new memory costs as much as reading it
        from a store.

    Returns
    -------
    (C, H, W) uint16 in raw units, ``out`` where that is given. 8-bit images are widened, not scaled: their units stay 0
    to 255. Of a pseudo-site, its piece: the whole planes are decoded for it, and the last ones are kept for the other
    pieces of the same site.

    Raises
    ------
    UserError
        Naming the file that can't be read, is not a grey image of 8 or 16 bits, or differs in shape from the site's
        first or from ``out``.
    """
    sources = site.sources
    if channels is not None:
        sources = tuple(sources[channel] for channel in channels)
    if not sources:
        raise ValueError("no channels asked for")
    if out is not None and (out.ndim != 3 or len(out) != len(sources) or out.dtype != np.uint16):
        raise ValueError(f"out is {out.shape} {out.dtype}: ({len(sources)}, height, width) uint16 is needed")
    fetch_all(path for path, _ in sources)
    if site.tile is not None:
        pieces = [cut_tile(DECODED.get(source, read_plane), site, source.path) for source in sources]
        return _stack(sources, pieces, out)
    if all(plane is None for _, plane in sources):
        return _read_files(sources, out)
    if len({path for path, _ in sources}) > 1:
        return _stack(sources, [read_plane(*source) for source in sources], out)
    planes = read_planes(sources[0].path, [plane for _, plane in sources], out)
    if isinstance(planes, np.ndarray) and out is None:
        return planes.astype(np.uint16, copy=False)
    return _stack(sources, planes, out)


def _read_files(sources: Sequence[Source], out: NDArray[np.uint16] | None) -> NDArray[np.uint16]:
    """Read a file a channel, each straight into its place where it fits there."""
    image = out
    for i, source in enumerate(sources):
        (plane,) = read_planes(source.path, [None], None if image is None else image[i : i + 1])
        if image is None:
            image = np.empty((len(sources), *plane.shape), np.uint16)
        _put(image, i, plane, sources)
    assert image is not None
    return image


def _stack(
    sources: Sequence[Source], planes: Sequence[AnyPlane] | AnyPlane, out: NDArray[np.uint16] | None
) -> NDArray[np.uint16]:
    image = np.empty((len(planes), *planes[0].shape), np.uint16) if out is None else out
    for i, plane in enumerate(planes):
        _put(image, i, plane, sources)
    return image


def _put(image: NDArray[np.uint16], i: int, plane: AnyPlane, sources: Sequence[Source]) -> None:
    if plane.shape != image.shape[1:]:
        first = sources[0].path.name if i else "the memory that it is read into"
        raise UserError(
            f"{sources[i].path} is {_size(plane.shape)} pixels, but {first} is {_size(image.shape[1:])}. "
            "Run `sslprofiler inspect` to find such files, and take them out."
        )
    if not np.may_share_memory(plane, image):  # else it was decoded straight into its place
        image[i] = plane


def read_plane(path: Path, plane: int | None = None) -> AnyPlane:
    """Decode one plane of a file: (H, W), uint8 or uint16 as stored.

    Parameters
    ----------
    plane
        Which of the file's planes (see ``Source``); None where it holds one.

    Raises
    ------
    UserError
        Naming the file and what is wrong with it.
    """
    return read_planes(path, [plane])[0]


def read_planes(
    path: Path, planes: Sequence[int | None], out: NDArray[np.uint16] | None = None
) -> Sequence[AnyPlane] | AnyPlane:
    """Decode some planes of one file, opening it once: each (H, W), or all of them (planes, H, W).

    What is returned lies in ``out`` (planes, H, W) where decoding into it saves a copy, and elsewhere where not.
    """
    if is_array(path):
        from .zarr_arrays import read_array_planes

        return read_array_planes(path, [plane or 0 for plane in planes], out)
    return read_file_planes(path, planes, None if out is None or planes != [None] else out[0])


def cut_tile(plane: AnyPlane, site: Site, path: Path) -> AnyPlane:
    """Cut a pseudo-site's piece from a plane: floor(H / n) x floor(W / n); what n does not divide is left over."""
    if site.tile is None:
        return plane
    row, column, n = site.tile
    height, width = plane.shape[0] // n, plane.shape[1] // n
    if not (height and width):
        raise UserError(f"{path} is {_size(plane.shape)} pixels: too small for {n} x {n} tiles. Use a smaller tile.")
    return plane[row * height : (row + 1) * height, column * width : (column + 1) * width]


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
