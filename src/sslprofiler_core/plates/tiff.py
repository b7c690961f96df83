"""Decode image files: TIFF with our own loop for LZW, libtiff, or tifffile where libtiff can't; PNG."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import local
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .compiled import loops_for
from .headers import HeaderError, Pages, read_header, read_pages
from .lzw import SLACK, decode_lzw
from .remote import open_file

ADVICE = "Run `sslprofiler inspect --pixels` to find such files, and take them out."

_LOCAL = local()
_MAX_KEPT = 64 * 2**20
_PNG = b"\x89PNG"
# What libtiff and libpng raise for a broken file, by way of imagecodecs.
_BROKEN = (
    imagecodecs.TiffError,
    imagecodecs.PngError,
    ValueError,
    IndexError,
    RuntimeError,
    NotImplementedError,
    MemoryError,  # for pixels that a broken header claims
)


def read_file_planes(
    path: Path, planes: Sequence[int | None], out: NDArray[np.uint16] | None = None
) -> list[NDArray[Any]]:
    """Decode planes of one file: each (H, W), uint8 or uint16 as stored.

    imagecodecs (libtiff) decodes a CPJUMP1 plane in half of tifffile's time and releases the GIL; tifffile takes what
    libtiff can't. Large LZW planes, after a process's first, are decoded by a compiled loop in a third of libtiff's
    (see ``lzw``).

    Parameters
    ----------
    planes
        Which (see ``types.Source``); None where the file holds one.
    out
        What a file's only plane is decoded into, where it has its shape and type; else it is returned beside it.

    Raises
    ------
    UserError
        Naming the file and what is wrong with it.
    """
    try:
        file = _read(path)
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}. {ADVICE}") from error
    if all(plane is None for plane in planes):
        return [_grey(path, _decode(path, file, 0, None, out))]
    try:
        pages = read_pages(path) if file.data[:4] != _PNG else Pages(1, False)
    except HeaderError as error:
        raise UserError(f"Cannot read {path}: {error}. {ADVICE}") from error
    decoded: dict[int, NDArray[Any]] = {}
    found = []
    for plane in planes:
        page, sample = divmod(plane or 0, pages.samples)
        if page not in decoded:
            decoded[page] = _decode(path, file, page, plane)
        image = decoded[page]
        if pages.samples > 1 and image.ndim == 3:
            image = image[sample] if pages.separate else image[..., sample]
        found.append(_grey(path, image))
    return found


class _File(NamedTuple):
    """A file in memory: its bytes, and the same with what lies behind them, at least ``SLACK`` bytes."""

    data: Any  # a memoryview, which imagecodecs takes and its types leave out
    held: NDArray[np.uint8]


def _read(path: Path) -> _File:
    """Read a file into memory that this thread uses again: new memory for each costs as much as the reading."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        held: NDArray[np.uint8] | None = getattr(_LOCAL, "held", None)
        if held is None or len(held) < size + SLACK:
            held = np.zeros(min(2 * size, max(size, _MAX_KEPT)) + SLACK, np.uint8)
            if size <= _MAX_KEPT:
                _LOCAL.held = held
        read = file.readinto(held[:size].data) if size else 0
        return _File(held[:read].data, held)


def _decode(
    path: Path, file: _File, page: int, plane: int | None, out: NDArray[np.uint16] | None = None
) -> NDArray[Any]:
    if file.data[:4] == _PNG:
        try:
            return imagecodecs.png_decode(file.data)
        except _BROKEN as error:
            return _decode_with_tifffile(path, file.data, page, plane, error)
    # By the bytes it is packed in: what little there is of a small or an empty plane is decoded at once either way.
    loops = loops_for(len(file.data))
    if loops is not None:
        image = decode_lzw(loops, file.held, len(file.data), page, out)
        if image is not None:
            return image
    if out is not None:
        # Straight into its place: 6 ms less a site of CPJUMP1 than by way of new memory (62 and 56 ms).
        with suppress(*_BROKEN):
            imagecodecs.tiff_decode(file.data, out=out)
            return out
    try:
        image = imagecodecs.tiff_decode(file.data, index=page)
    except _BROKEN as error:
        return _decode_with_tifffile(path, file.data, page, plane, error)
    return image


def _decode_with_tifffile(path: Path, data: Any, page: int, plane: int | None, first: Exception) -> NDArray[Any]:
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
