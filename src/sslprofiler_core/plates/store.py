"""What a plate store writes: one OME-Zarr 0.5 HCS plate a plate, ``STORE.zarr/PLATE/row/column/field/level``.

Level 0 is one shard (C, H, W) a site, level 1 its 8 x 8 block means (see ``thumbnails``). The metadata is the
standard's, so that other programs open it; what the standard has no place for (channel groups and numbers, the list of
sites) lies in the plate's attribute ``sslprofiler``, and makes opening a plate one read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ome_zarr import OWN
from .remote import status_of
from .shards import ShardSpec, array_document, inner_size, write_shard
from .thumbnails import FACTOR, THUMBNAIL, block_means
from .types import Channel, Plate, Site, well_position

VERSION = "0.5"
FORMAT = 1

# Colours that stay apart for colour-blind eyes (Okabe and Ito 2008) and show on black; white for transmitted light.
_COLOURS = ("56B4E9", "009E73", "F0E442", "D55E00", "CC79A7", "E69F00", "0072B2")
_WHITE = "FFFFFF"


def write_group(path: Path, attributes: Mapping[str, Any]) -> None:
    """Write a Zarr v3 group's metadata."""
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON, the same bytes for the same document."""
    path.write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def site_specs(field: Path, shape: tuple[int, int, int], compressed: bool) -> tuple[ShardSpec, ShardSpec]:
    """How a site's two levels are stored."""
    channels, height, width = shape
    inner = (inner_size(height), width) if compressed else (height, width)
    low = -(-height // FACTOR), -(-width // FACTOR)
    low_inner = (inner_size(low[0]), low[1]) if compressed else low
    return (
        ShardSpec(field / "0", shape, inner, compressed),
        ShardSpec(field / THUMBNAIL, (channels, *low), low_inner, compressed),
    )


def write_site(
    field: Path,
    image_CHW: NDArray[np.uint16],
    attributes: Mapping[str, Any],
    compressed: bool,
) -> tuple[ShardSpec, ShardSpec]:
    """Write a field: its metadata and both levels, on the disk when this returns. Returns how they are stored."""
    channels, height, width = image_CHW.shape
    specs = site_specs(field, (channels, height, width), compressed)
    write_group(field, attributes)
    for spec, pixels in zip(specs, (image_CHW, block_means(image_CHW)), strict=True):
        spec.file.parent.mkdir(parents=True)
        write_json(spec.path / "zarr.json", array_document(spec))
        write_shard(pixels, spec)
    return specs


def field_path(site: Site) -> str:
    """Where a site lies in its plate: "D/08/5"."""
    return f"{well_path(site.well)}/{site.site}"


def well_path(well: str) -> str:
    """Where a well lies in its plate: "D/08"."""
    letters = well.rstrip("0123456789")
    return f"{letters}/{well[len(letters) :]}"


def site_attributes(
    plate: Plate, site: Site, windows: Mapping[str, tuple[float, float]], source: str
) -> dict[str, Any]:
    """A field's attributes: axes, pixel size, position, and its channels' names, colours and contrast.

    The translation is that of a pixel's centre from the well's centre, y downwards, as images run.
    """
    height, width = plate.shape or (0, 0)
    pixel = plate.pixel_size_um or 1.0
    unit = {"unit": "micrometer"} if plate.pixel_size_um else {}
    datasets = []
    for level, factor in (("0", 1), (THUMBNAIL, FACTOR)):
        moves = [{"type": "scale", "scale": [1.0, factor * pixel, factor * pixel]}]
        if site.position_um is not None and plate.pixel_size_um:
            x, y = site.position_um
            left = x - pixel * (width - factor) / 2
            top = -y - pixel * (height - factor) / 2
            moves.append({"type": "translation", "translation": [0.0, top, left]})
        datasets.append({"path": level, "coordinateTransformations": moves})
    axes = [{"name": "c", "type": "channel"}, *({"name": name, "type": "space", **unit} for name in "yx")]
    name = f"{plate.name} {site.well} site {site.site}"
    ome = {
        "version": VERSION,
        "multiscales": [{"name": name, "axes": axes, "datasets": datasets, "type": "mean of 8 x 8 pixels"}],
        "omero": {"channels": _omero_channels(plate.channels, windows)},
    }
    return {"ome": ome, OWN: {"format": FORMAT, "thumbnail": THUMBNAIL, "source": source}}


def _omero_channels(channels: Sequence[Channel], windows: Mapping[str, tuple[float, float]]) -> list[dict[str, Any]]:
    coloured = [channel.name for channel in channels if channel.group != "brightfield"]
    shown = []
    for channel in channels:
        low, high = windows.get(channel.name, (0.0, 65535.0))
        colour = _COLOURS[coloured.index(channel.name) % len(_COLOURS)] if channel.name in coloured else _WHITE
        shown.append(
            {
                "label": channel.name,
                "color": colour,
                "active": channel.group != "brightfield" or not coloured,
                "window": {"min": 0.0, "max": 65535.0, "start": round(low, 1), "end": round(high, 1)},
            }
        )
    return shown


def plate_attributes(plate: Plate, sites: Sequence[Site]) -> dict[str, Any]:
    """A plate's attributes: the standard's, and this program's list of what is in it."""
    wells = list(dict.fromkeys(site.well for site in sites))
    rows = list(dict.fromkeys(well_path(well).partition("/")[0] for well in wells))
    columns = sorted({well_path(well).partition("/")[2] for well in wells})
    listed = [
        {
            "path": path,
            "rowIndex": rows.index(path.partition("/")[0]),
            "columnIndex": columns.index(path.partition("/")[2]),
        }
        for path in map(well_path, wells)
    ]
    ome = {
        "version": VERSION,
        "plate": {
            "version": VERSION,
            "name": plate.name,
            "field_count": max(Counter(site.well for site in sites).values()),
            "rows": [{"name": row} for row in rows],
            "columns": [{"name": column} for column in columns],
            "wells": listed,
        },
    }
    own = {
        "format": FORMAT,
        "plate": plate.name,
        "channels": [{"number": c.number, "name": c.name, "group": c.group} for c in plate.channels],
        "pixel_size_um": plate.pixel_size_um,
        "shape": list(plate.shape or ()),
        "sites": [
            [*(well_position(site.well) or ()), site.site, f"{field_path(site)}/0", site.position_um] for site in sites
        ],
    }
    return {"ome": ome, OWN: own}


def well_attributes(sites: Sequence[Site]) -> dict[str, Any]:
    """A well's attributes: its fields."""
    return {
        "ome": {
            "version": VERSION,
            "well": {"version": VERSION, "images": [{"path": str(site.site)} for site in sites]},
        }
    }


def source_digest(site: Site) -> str:
    """A digest of which files a site was made from, with their sizes and times of change. Raises OSError."""
    parts = []
    for path, plane in site.sources:
        size, changed = status_of(path)
        parts.append(f"{path.name}\0{plane}\0{size}\0{changed}")
    return blake2b("\n".join(parts).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
