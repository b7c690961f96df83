"""Decode image files: TIFF with libtiff, or tifffile where libtiff can't; PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .headers import HeaderError, Pages, read_header, read_pages

ADVICE = "Run `sslprofiler inspect` to find such files, and take them out."

_PNG = b"\x89PNG"
# What libtiff and libpng raise for a broken file, by way of imagecodecs.
_BROKEN = (imagecodecs.TiffError, imagecodecs.PngError, ValueError, IndexError, RuntimeError, NotImplementedError)


def read_file_planes(path: Path, planes: Sequence[int | None]) -> list[NDArray[Any]]:
    """Decode planes of one file: each (H, W), uint8 or uint16 as stored.

    imagecodecs (libtiff) decodes a CPJUMP1 plane in half of tifffile's time and releases the GIL; tifffile takes what
    libtiff can't.

    Parameters
    ----------
    planes
        Which (see ``types.Source``); None where the file holds one.

    Raises
    ------
    UserError
        Naming the file and what is wrong with it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}. {ADVICE}") from error
    if all(plane is None for plane in planes):
        return [_grey(path, _decode(path, data, 0, None))]
    try:
        pages = read_pages(path) if data[:4] != _PNG else Pages(1, False)
    except HeaderError as error:
        raise UserError(f"Cannot read {path}: {error}. {ADVICE}") from error
    decoded: dict[int, NDArray[Any]] = {}
    found = []
    for plane in planes:
        page, sample = divmod(plane or 0, pages.samples)
        if page not in decoded:
            decoded[page] = _decode(path, data, page, plane)
        image = decoded[page]
        if pages.samples > 1 and image.ndim == 3:
            image = image[sample] if pages.separate else image[..., sample]
        found.append(_grey(path, image))
    return found


def _decode(path: Path, data: bytes, page: int, plane: int | None) -> NDArray[Any]:
    try:
        if data[:4] == _PNG:
            image: NDArray[Any] = imagecodecs.png_decode(data)
        else:
            image = imagecodecs.tiff_decode(data, index=page)
    except _BROKEN as error:
        return _decode_with_tifffile(path, data, page, plane, error)
    return image


def _decode_with_tifffile(path: Path, data: bytes, page: int, plane: int | None, first: Exception) -> NDArray[Any]:
    import tifffile

    try:
        # First: tifffile fills what a truncated file lacks, or warns and returns nothing.
        read_header(path, plane)
        image: NDArray[Any] = tifffile.imread(io.BytesIO(data), key=page)
    except HeaderError as error:
        raise UserError(f"Cannot read {path}: {error}. {ADVICE}") from error
    except Exception as error:  # whatever a broken file makes a decoder raise
        raise UserError(f"Cannot read {path}: {first}. {ADVICE}") from error
    return image


def _grey(path: Path, image: NDArray[Any]) -> NDArray[Any]:
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16) or not image.size:
        size = " x ".join(map(str, image.shape))
        raise UserError(f"{path} is a {size} {image.dtype} image, not one grey plane. {ADVICE}")
    return image
