"""Plates: files become plates, wells and sites; channels, metadata and intensity scaling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .channels import require_same_channels, select_channels
    from .convert import Converted, convert_plates, describe_conversion
    from .flat_field import FlatFields, measure_flat_field
    from .inspect import inspect_plates
    from .intensity import IntensityScale, measure_scale
    from .looks import looks_like_plates
    from .metadata import load_metadata
    from .open import open_plates
    from .reading import read_plane, read_site
    from .report import format_inspection
    from .simulated import simulate_plates
    from .thumbnails import read_thumbnail
    from .tiling import tile_plate
    from .types import Channel, Gap, Plate, Site, Source, well_name, well_position

__all__ = [
    "Channel",
    "Converted",
    "FlatFields",
    "Gap",
    "IntensityScale",
    "Plate",
    "Site",
    "Source",
    "convert_plates",
    "describe_conversion",
    "format_inspection",
    "inspect_plates",
    "load_metadata",
    "looks_like_plates",
    "measure_flat_field",
    "measure_scale",
    "open_plates",
    "read_plane",
    "read_site",
    "read_thumbnail",
    "require_same_channels",
    "select_channels",
    "simulate_plates",
    "tile_plate",
    "well_name",
    "well_position",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "channels": ["require_same_channels", "select_channels"],
        "convert": ["Converted", "convert_plates", "describe_conversion"],
        "flat_field": ["FlatFields", "measure_flat_field"],
        "inspect": ["inspect_plates"],
        "intensity": ["IntensityScale", "measure_scale"],
        "looks": ["looks_like_plates"],
        "metadata": ["load_metadata"],
        "open": ["open_plates"],
        "reading": ["read_plane", "read_site"],
        "report": ["format_inspection"],
        "simulated": ["simulate_plates"],
        "thumbnails": ["read_thumbnail"],
        "tiling": ["tile_plate"],
        "types": ["Channel", "Gap", "Plate", "Site", "Source", "well_name", "well_position"],
    },
)
