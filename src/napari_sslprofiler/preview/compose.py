"""Views to pictures: channels in their colours added up, masked patches greyed. Numbers in, bytes out; no Qt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_sslprofiler.site_layers import channel_colours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from sslprofiler_core.plates import Plate

COMPOSITE = ""  # in place of a channel's name
_GREY = 96.0


def colours_of(plate: Plate) -> dict[str, NDArray[np.float32]]:
    """Each channel's colour in [0, 1], as its layer has it; white for brightfield and others without a colour."""
    found: dict[str, NDArray[np.float32]] = {}
    for channel, code in zip(plate.channels, channel_colours(plate.channels), strict=True):
        digits = code if code.startswith("#") else "#ffffff"
        found[channel.name] = np.array([int(digits[i : i + 2], 16) / 255.0 for i in (1, 3, 5)], np.float32)
    return found


def shown_channels(plate: Plate, names: Sequence[str], channel: str = COMPOSITE) -> list[int]:
    """Places in ``names`` of what a picture shows: one channel, or a composite's.

    A composite is of the fluorescence channels, as the layers are at first, or of all where there are none.
    """
    if channel in names:
        return [names.index(channel)]
    bright = {each.name for each in plate.channels if each.group == "brightfield"}
    coloured = [place for place, name in enumerate(names) if name not in bright]
    return coloured or list(range(len(names)))


def display_range(standardised: bool) -> tuple[float, float]:
    """Values drawn as black and as the full colour: views are in [0, 1]; standardised ones have deviation 1."""
    return (-1.0, 4.0) if standardised else (0.0, 1.0)


def picture(
    view_CSS: NDArray[np.float32],
    colours_C3: NDArray[np.float32],
    shown: Sequence[int],
    limits: tuple[float, float] = (0.0, 1.0),
) -> NDArray[np.uint8]:
    """Add up some of a view's channels in their colours: (S, S, 3) uint8.

    A single channel is white, for its grey levels to be seen.
    """
    low, high = limits
    part_cSS = (view_CSS[list(shown)] - np.float32(low)) * np.float32(1.0 / (high - low))
    np.clip(part_cSS, 0.0, 1.0, out=part_cSS)
    colours_c3: NDArray[np.float32] = np.ones((1, 3), np.float32) if len(shown) == 1 else colours_C3[list(shown)]
    if len(shown) > 1 and (colours_c3 == 1.0).all():
        colours_c3 = colours_c3 / np.float32(len(shown))  # greys alone: their mean
    flat_cN = part_cSS.reshape(len(shown), -1)
    rgb_3N = colours_c3.T @ flat_cN
    np.clip(rgb_3N, 0.0, 1.0, out=rgb_3N)
    rgb_3N *= 255.0
    return np.ascontiguousarray(np.rint(rgb_3N).astype(np.uint8).T.reshape(*view_CSS.shape[1:], 3))


def mask_pixels(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """A mask of patches as one of pixels: (rows, columns) -> (side, side)."""
    rows = np.arange(side) * mask.shape[0] // side
    columns = np.arange(side) * mask.shape[1] // side
    return mask[rows[:, None], columns]


def masked_picture(rgb_SS3: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The masked twin of a picture: masked patches are grey, a shade of the picture's mean colour in it."""
    hidden = mask_pixels(mask, len(rgb_SS3))
    mean_3 = rgb_SS3.reshape(-1, 3).mean(0)
    twin = rgb_SS3.copy()
    twin[hidden] = np.rint(0.6 * _GREY + 0.4 * mean_3).astype(np.uint8)
    return twin


def mosaic(pictures: Sequence[NDArray[np.uint8]], gap: int = 2) -> NDArray[np.uint8]:
    """Lay pictures (s, s, 3) out in a square, row by row, with grey between them."""
    columns = math.ceil(math.sqrt(len(pictures)))
    side = len(pictures[0])
    whole = np.full((columns * (side + gap) - gap,) * 2 + (3,), round(_GREY), np.uint8)
    for place, picture_ss3 in enumerate(pictures):
        row, column = (part * (side + gap) for part in divmod(place, columns))
        whole[row : row + side, column : column + side] = picture_ss3
    return whole
