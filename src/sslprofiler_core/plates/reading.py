"""Read a site's pixels, once, as the instrument stored them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .decoded import DECODED
from .tiff import read_file_planes
from .types import Site, Source

AnyPlane = NDArray[np.uint16] | NDArray[np.uint8]


def read_site(site: Site, channels: Sequence[int] | None = None) -> NDArray[np.uint16]:
    """Read a site.

    Parameters
    ----------
    channels
        Indices into the plate's channels, in the order wanted; None reads all.

    Returns
    -------
    (C, H, W) uint16 in raw units. 8-bit images are widened, not scaled: their units stay 0 to 255. Of a pseudo-site,
    its piece: the whole planes are decoded for it, and the last ones are kept for the other pieces of the same site.

    Raises
    ------
    UserError
        Naming the file that can't be read, is not a grey image of 8 or 16 bits, or differs in shape from the site's
        first.
    """
    sources = site.sources
    if channels is not None:
        sources = tuple(sources[channel] for channel in channels)
    if not sources:
        raise ValueError("no channels asked for")
    return _stack(
        sources, [cut_tile(plane, site, path) for plane, (path, _) in zip(_planes(site, sources), sources, strict=True)]
    )


def _planes(site: Site, sources: Sequence[Source]) -> list[AnyPlane]:
    """Decode planes in order; each file once."""
    if site.tile is not None:
        return [DECODED.get(source, read_plane) for source in sources]
    by_file: dict[Path, list[int]] = {}
    for i, (path, _) in enumerate(sources):
        by_file.setdefault(path, []).append(i)
    found: dict[int, AnyPlane] = {}
    for path, places in by_file.items():
        found |= zip(places, read_planes(path, [sources[i].plane for i in places]), strict=True)
    return [found[i] for i in range(len(sources))]


def _stack(sources: Sequence[Source], planes: Sequence[AnyPlane]) -> NDArray[np.uint16]:
    image = np.empty((len(planes), *planes[0].shape), np.uint16)
    for i, (plane, (path, _)) in enumerate(zip(planes, sources, strict=True)):
        if plane.shape != image.shape[1:]:
            raise UserError(
                f"{path} is {_size(plane.shape)} pixels, but {sources[0].path.name} is {_size(image.shape[1:])}. "
                "Run `sslprofiler inspect` to find such files, and take them out."
            )
        image[i] = plane
    return image


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


def read_planes(path: Path, planes: Sequence[int | None]) -> Sequence[AnyPlane] | AnyPlane:
    """Decode some planes of one file, opening it once: each (H, W), or all of them (planes, H, W)."""
    if path.is_dir():
        from .zarr_arrays import read_array_planes

        return read_array_planes(path, [plane or 0 for plane in planes])
    return read_file_planes(path, planes)


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
