"""A site as napari layers: one image a channel, coloured so that their sum can be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari.types import LayerData
    from numpy.typing import NDArray

    from sslprofiler_core.plates import Channel, Plate, Site

# Cell Painting's stains by name, and colours for other fluorescence channels in their order. Each is dark enough that
# five at half strength add up to less than white, where napari's own cycle saturates.
STAIN_COLOURS = {
    "dna": "#3355ff",
    "er": "#00986a",
    "rna": "#645e00",
    "agp": "#a84600",
    "mito": "#a00c78",
}
# How instruments and users call those stains: by dye, by laser, by filter. The first that fits counts.
_ALIASES = (
    ("dna", r"dna|hoechst|dapi|\b405\b|nucle(us|i)"),
    ("rna", r"rna|syto|488 ?long|\b5(14|32)\b"),
    ("mito", r"mito|\b6(33|40|42|47|60)\b|cy5|deep ?red"),
    ("agp", r"agp|actin|golgi|phalloidin|wga|\b5(55|61|68|94)\b|tritc|texas|cy3"),
    ("er", r"\ber\b|concanavalin|cona|\b488\b|fitc|gfp"),
)
OTHER_COLOURS = ("#b03030", "#00883c", "#3060e0", "#907000", "#8030b0", "#007c8c")


def channel_colours(channels: Sequence[Channel]) -> list[str]:
    """Choose a colour for each of a plate's channels: a stain's own, no colour twice; brightfield is grey."""
    free = dict(STAIN_COLOURS)
    others = iter(OTHER_COLOURS)
    colours = []
    for channel in channels:
        if channel.group == "brightfield":
            colours.append("gray")
            continue
        stain = next((s for s, words in _ALIASES if s in free and re.search(words, channel.name, re.IGNORECASE)), None)
        colours.append(free.pop(stain) if stain else next(others, "gray"))
    return colours


def site_layers(
    plate: Plate,
    site: Site,
    pixels_CHW: NDArray[np.uint16],
    scale: Mapping[str, tuple[float, float]],
) -> list[LayerData]:
    """Describe a site's channels as image layers.

    Parameters
    ----------
    plate, site
        Where the pixels come from; gives names, channel groups and the pixel size.
    pixels_CHW
        All the plate's channels in their order, raw intensities.
    scale
        Channel name -> raw intensities to draw as black and as the full colour (`measure_scale`'s, of this plate).

    Returns
    -------
    One ``(pixels_HW, settings, "image")`` a channel. Only the fluorescence channels start visible; with a known pixel
    size, layers are in micrometres.
    """
    layers: list[LayerData] = []
    colours = channel_colours(plate.channels)
    for channel, colour, file, pixels_HW in zip(plate.channels, colours, site.paths, pixels_CHW, strict=True):
        fluorescent = channel.group != "brightfield"
        low, high = scale[channel.name]
        settings: dict[str, Any] = {
            "name": channel.name,
            "colormap": colour,
            "blending": "additive",
            # napari refuses limits that do not ascend; a channel without signal has equal ones.
            "contrast_limits": (low, max(high, low + 1.0)),
            "visible": fluorescent,
            "metadata": {
                "plate": site.plate,
                "well": site.well,
                "site": site.site,
                "channel": channel.name,
                "file": str(file),
            },
        }
        if plate.pixel_size_um is not None:
            settings["scale"] = (plate.pixel_size_um, plate.pixel_size_um)
            settings["units"] = ("um", "um")
        layers.append((pixels_HW, settings, "image"))
    return layers
