"""Read a site's pixels, once, as the instrument stored them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .headers import HeaderError, read_header
from .types import Plate, Site


def read_site(site: Site, channels: Sequence[int] | None = None) -> NDArray[np.uint16]:
    """Read a site.

    Parameters
    ----------
    channels
        Indices into the plate's channels, in the order wanted; None reads all.

    Returns
    -------
    (C, H, W) uint16 in raw units. 8-bit images are widened, not scaled: their units stay 0 to 255. Of a pseudo-site,
    its piece (the whole planes are decoded for it).

    Raises
    ------
    UserError
        Naming the file that can't be read, is not a grey image of 8 or 16 bits, or differs in shape from the site's
        first.
    """
    paths = site.paths if channels is None else [site.paths[channel] for channel in channels]
    image: NDArray[np.uint16] | None = None
    for i, path in enumerate(paths):
        plane = cut_tile(read_plane(path), site, path)
        if image is None:
            image = np.empty((len(paths), *plane.shape), np.uint16)
        elif plane.shape != image.shape[1:]:
            raise UserError(
                f"{path} is {_size(plane.shape)} pixels, but {paths[0].name} is {_size(image.shape[1:])}. "
                "Run `sslprofiler inspect` to find such files, and take them out."
            )
        image[i] = plane
    if image is None:
        raise ValueError("no channels asked for")
    return image


def read_plane(path: Path) -> NDArray[np.uint16] | NDArray[np.uint8]:
    """Decode one file: (H, W), uint8 or uint16 as stored.

    imagecodecs (libtiff) decodes a CPJUMP1 plane in half of tifffile's time and releases the GIL; tifffile takes what
    libtiff can't.

    Raises
    ------
    UserError
        Naming the file and what is wrong with it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}. {_ADVICE}") from error
    try:
        plane = imagecodecs.tiff_decode(data)
    except (imagecodecs.TiffError, ValueError, IndexError, RuntimeError, NotImplementedError) as error:
        plane = _read_with_tifffile(path, data, error)
    if plane.ndim != 2 or plane.dtype not in (np.uint8, np.uint16) or not plane.size:
        raise UserError(f"{path} is a {_size(plane.shape)} {plane.dtype} image, not one grey plane. {_ADVICE}")
    return plane


_ADVICE = "Run `sslprofiler inspect` to find such files, and take them out."


def _read_with_tifffile(path: Path, data: bytes, first: Exception) -> NDArray[np.uint16]:
    import tifffile

    try:
        # First: tifffile fills what a truncated file lacks, or warns and returns nothing.
        read_header(path)
        plane: NDArray[np.uint16] = tifffile.imread(io.BytesIO(data))
    except HeaderError as error:
        raise UserError(f"Cannot read {path}: {error}. {_ADVICE}") from error
    except Exception as error:  # whatever a broken file makes a decoder raise
        raise UserError(f"Cannot read {path}: {first}. {_ADVICE}") from error
    return plane


def cut_tile(plane: NDArray[np.uint16] | NDArray[np.uint8], site: Site, path: Path) -> NDArray[np.uint16]:
    """Cut a pseudo-site's piece from a plane: floor(H / n) x floor(W / n); what n does not divide is left over."""
    if site.tile is None:
        return plane.astype(np.uint16, copy=False)
    row, column, n = site.tile
    height, width = plane.shape[0] // n, plane.shape[1] // n
    if not (height and width):
        raise UserError(f"{path} is {_size(plane.shape)} pixels: too small for {n} x {n} tiles. Use a smaller tile.")
    piece = plane[row * height : (row + 1) * height, column * width : (column + 1) * width]
    return piece.astype(np.uint16, copy=False)


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def tile_plate(plate: Plate, n: int) -> Plate:
    """Cut each site into n x n pseudo-sites, to train on pairs where wells have one site.

    The pseudo-sites of one site share its illumination, focus and stain, so they are more alike than true sites of
    one well: say so wherever a figure rests on them. Pseudo-site k (row by row from the top left, from 0) of site s
    is numbered (s - 1) n^2 + k + 1. Positions are the pieces' centres.

    Raises
    ------
    UserError
        For n below 1, a plate that is tiled already, or sites smaller than n pixels.
    """
    if n < 1:
        raise UserError(f"plates.tile is {n}. Use 1 for whole sites, or 2 and more.")
    if n == 1:
        return plate
    if any(site.tile for site in plate.sites):
        raise UserError(f"Plate {plate.name} is tiled already. Tile it once.")
    shape = plate.shape and (plate.shape[0] // n, plate.shape[1] // n)
    if shape and not all(shape):
        raise UserError(f"Sites of plate {plate.name} are too small for {n} x {n} tiles. Use a smaller plates.tile.")
    sites = tuple(
        replace(
            site,
            site=(site.site - 1) * n * n + k + 1,
            position_um=_tile_position(site, plate, shape, k, n),
            tile=(k // n, k % n, n),
        )
        for site in plate.sites
        for k in range(n * n)
    )
    return replace(plate, sites=sites, shape=shape)


def _tile_position(
    site: Site, plate: Plate, shape: tuple[int, int] | None, k: int, n: int
) -> tuple[float, float] | None:
    if site.position_um is None or plate.pixel_size_um is None or shape is None or plate.shape is None:
        return None
    row, column = divmod(k, n)
    right = (column + 0.5) * shape[1] - plate.shape[1] / 2
    down = (row + 0.5) * shape[0] - plate.shape[0] / 2
    x, y = site.position_um
    return (x + plate.pixel_size_um * right, y - plate.pixel_size_um * down)
