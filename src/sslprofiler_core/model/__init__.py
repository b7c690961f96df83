"""The networks: a vision transformer that takes masks, projection heads, and the file that holds a trained teacher."""

from __future__ import annotations

from sslprofiler_core._lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "backbone": ["Backbone"],
        "heads": ["ProjectionHead"],
        "network": ["Network", "build_backbone", "build_network"],
        "files": ["LoadedModel", "load_model", "save_model"],
    },
)
