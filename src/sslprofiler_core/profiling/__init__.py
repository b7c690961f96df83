"""From images to well profiles: embedding, tables, merging, alignment, and features made by hand to compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .alignment import align, align_plates
    from .embed import embed_plates, load_models
    from .embed_sites import forward_sites
    from .handmade import feature_names, intensity_features, texture_features
    from .merging import SiteCountWarning, merge_granularities, merge_sites
    from .normalise import sphere, standardise_plates, weight_groups
    from .profile import profile_sites
    from .tables import (
        SitesTable,
        WellsTable,
        read_info,
        read_metadata,
        read_sites,
        read_wells,
        sites_parts,
        write_sites_part,
        write_wells,
    )

__all__ = [
    "SiteCountWarning",
    "SitesTable",
    "WellsTable",
    "align",
    "align_plates",
    "embed_plates",
    "feature_names",
    "forward_sites",
    "intensity_features",
    "load_models",
    "merge_granularities",
    "merge_sites",
    "profile_sites",
    "read_info",
    "read_metadata",
    "read_sites",
    "read_wells",
    "sites_parts",
    "sphere",
    "standardise_plates",
    "texture_features",
    "weight_groups",
    "write_sites_part",
    "write_wells",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "alignment": ["align", "align_plates"],
        "embed": ["embed_plates", "load_models"],
        "embed_sites": ["forward_sites"],
        "handmade": ["feature_names", "intensity_features", "texture_features"],
        "merging": ["SiteCountWarning", "merge_granularities", "merge_sites"],
        "normalise": ["sphere", "standardise_plates", "weight_groups"],
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
