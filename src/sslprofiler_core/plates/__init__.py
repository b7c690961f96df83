"""Plates: files become plates, wells and sites; channels, metadata and intensity scaling."""

from __future__ import annotations

from sslprofiler_core._lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "types": ["Channel", "Gap", "Plate", "Site", "well_name", "well_position"],
        "open": ["open_plates"],
        "channels": ["require_same_channels", "select_channels"],
        "reading": ["read_plane", "read_site", "tile_plate"],
        "metadata": ["load_metadata"],
        "intensity": ["IntensityScale", "measure_scale"],
        "inspect": ["inspect_plates"],
        "report": ["format_report"],
        "simulated": ["simulate_plates"],
    },
)
