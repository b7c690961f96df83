"""Colour a site's channels into one small picture: the colours of napari's layers, the contrast of the plate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sslprofiler.site_layers import channel_colours as layer_colours

if TYPE_CHECKING:
    from sslprofiler_core.plates import Plate

GREY = "#ffffff"


@dataclass(frozen=True, slots=True)
class ChannelColour:
    """A channel that can be shown: its name, its colour as ``#rrggbb``, and whether it fluoresces."""

    name: str
    colour: str
    fluorescent: bool


def channel_colours(plate: Plate) -> tuple[ChannelColour, ...]:
    """The plate's channels in the colours that their napari layers have; brightfield is grey."""
    colours = [GREY if colour == "gray" else colour for colour in layer_colours(plate.channels)]
    pairs = zip(plate.channels, colours, strict=True)
    return tuple(ChannelColour(channel.name, colour, channel.group != "brightfield") for channel, colour in pairs)


def rgb(colour: str) -> tuple[float, float, float]:
    """``"#3355ff"`` as fractions."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def compose(
    planes_CHW: NDArray[np.uint16], limits_C2: Sequence[tuple[float, float]], colours: Sequence[str]
) -> NDArray[np.uint8]:
    """Add up channels in their colours, as napari's additive blending does.

    Parameters
    ----------
    planes_CHW
        Raw intensities.
    limits_C2
        A channel's intensities of black and of the full colour.
    colours
        ``#rrggbb``, one a channel. A single channel is drawn in grey, which shows more than a dark colour does.

    Returns
    -------
    (H, W, 3) uint8; sums above white are white.
    """
    if len(planes_CHW) == 1:
        colours = [GREY]
    total = np.zeros((*planes_CHW.shape[1:], 3), np.float32)
    for plane_HW, (low, high), colour in zip(planes_CHW, limits_C2, colours, strict=True):
        part = plane_HW.astype(np.float32)
        part -= low
        part *= 255.0 / max(high - low, 1.0)
        np.clip(part, 0.0, 255.0, out=part)
        for i, share in enumerate(rgb(colour)):
            if share:
                total[..., i] += share * part
    return np.minimum(np.rint(total), 255.0).astype(np.uint8)


def own_limits(planes_CHW: NDArray[np.uint16]) -> list[tuple[float, float]]:
    """Contrast of a picture by itself, until its plate's is measured: percentiles 0.1 and 99.9 of each channel."""
    pairs: NDArray[Any] = np.percentile(planes_CHW, (0.1, 99.9), axis=(1, 2)).T
    return [(float(low), float(max(high, low + 1.0))) for low, high in pairs]


def montage(pictures: Sequence[NDArray[np.uint8]], gap: int = 2) -> NDArray[np.uint8]:
    """Lay pictures out row by row on a grid as square as may be: ``(h, w, 3)`` each -> ``(H, W, 3)``.

    Each is thinned so that the whole stays near one picture's size; smaller ones leave black below and to the right.
    """
    if len(pictures) == 1:
        return pictures[0]
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    step = max(1, columns // 2)
    small = [shrink(picture, step) for picture in pictures]
    height, width = max(p.shape[0] for p in small), max(p.shape[1] for p in small)
    whole = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.uint8)
    for i, picture in enumerate(small):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        whole[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return whole


def shrink(picture: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Block means of step x step pixels; what the step does not divide is left over."""
    height, width = picture.shape[0] // step, picture.shape[1] // step
    if step == 1 or not height or not width:
        return picture
    blocks = picture[: height * step, : width * step].reshape(height, step, width, step, 3)
    return np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
