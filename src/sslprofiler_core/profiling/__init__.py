"""From site embeddings to well profiles: tables, merging, alignment, and features made by hand to compare with."""

from __future__ import annotations

from sslprofiler_core._lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "alignment": ["align", "align_plates"],
        "handmade": ["feature_names", "intensity_features", "texture_features"],
        "merging": ["SiteCountWarning", "merge_granularities", "merge_sites"],
        "profile": ["profile_sites"],
        "tables": [
            "SitesTable",
            "WellsTable",
            "read_info",
            "read_metadata",
            "read_sites",
            "read_wells",
            "sites_parts",
            "write_sites_part",
            "write_wells",
        ],
    },
)
