"""From a row's images to its picture: planes out of the cache or the files, then colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .thumbnails_cache import DiskCache, plane_key
from .thumbnails_paint import channel_colours, compose, montage, own_limits
from .thumbnails_sites import Missing, Pictured

if TYPE_CHECKING:
    from sslprofiler_core.plates import Plate, Site

MOST_SITES = 16  # of a montage
ENOUGH = 64  # pixels of a side at which cells can be told apart in a thumbnail


@dataclass(frozen=True, slots=True)
class Choice:
    """What thumbnails show: channels by name (those that a plate lacks are passed over), and one site or all."""

    channels: tuple[str, ...] = ()
    whole_well: bool = False


def picture_of(
    pictured: Pictured,
    choice: Choice,
    scale: Mapping[str, Mapping[str, tuple[float, float]]],
    cache: DiskCache | None = None,
) -> NDArray[np.uint8] | Missing:
    """Make a row's thumbnail.

    Parameters
    ----------
    pictured
        Its images.
    choice
        Channels, and whether a well is shown as a montage of its sites or by its first.
    scale
        Plate -> channel -> raw intensities of black and of the full colour. Of a plate that is not measured yet, the
        picture's own percentiles stand in.
    cache
        Where planes are kept between sessions.

    Returns
    -------
    (H, W, 3) uint8, or why there is none.

    Raises
    ------
    UserError
        Naming a file that cannot be read.
    """
    plate = pictured.plate
    colours = channel_colours(plate)
    wanted = [i for i, channel in enumerate(colours) if channel.name in choice.channels]
    if not wanted:
        return Missing("no such channel", f"Plate {plate.name} has none of the channels that are shown.")
    sites = pictured.sites[: MOST_SITES if choice.whole_well else 1]
    known = scale.get(plate.name, {})
    pictures = []
    for site in sites:
        planes_CHW = read_planes(plate, site, wanted, cache)
        names = [colours[i].name for i in wanted]
        limits = [known[name] for name in names] if all(n in known for n in names) else own_limits(planes_CHW)
        pictures.append(compose(planes_CHW, limits, [colours[i].colour for i in wanted]))
    return montage(pictures)


def read_planes(plate: Plate, site: Site, channels: Sequence[int], cache: DiskCache | None) -> NDArray[np.uint16]:
    """Some of a site's channels, made small, ``(C, h, w)``: from the cache, the others from their files."""
    if cache is None:
        return read_small(plate, site, channels)
    keys = {
        i: f"{plane_key(site.paths[i], site.tile, plate.channels[i].name)}|{site.well}|{site.site}" for i in channels
    }
    planes = cache.get(list(keys.values()))
    absent = [i for i in channels if keys[i] not in planes]
    if absent:
        read = read_small(plate, site, absent)
        fresh = {keys[i]: plane for i, plane in zip(absent, read, strict=True)}
        cache.put(fresh)
        planes |= fresh
    return np.stack([planes[keys[i]] for i in channels])


def read_small(plate: Plate, site: Site, channels: Sequence[int]) -> NDArray[np.uint16]:
    """A site at one eighth; small sites (of a simulation, or tiles) less reduced, so that something is left to see."""
    from sslprofiler_core.plates import read_site, read_thumbnail

    side = max(plate.shape or (0, 0))
    if not side or side >= 8 * ENOUGH:
        return read_thumbnail(site, channels)
    step = max(1, side // (2 * ENOUGH))
    whole = read_site(site, channels)
    height, width = whole.shape[1] // step, whole.shape[2] // step
    blocks = whole[:, : height * step, : width * step].reshape(-1, height, step, width, step)
    return np.rint(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint16)
