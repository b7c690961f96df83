"""The networks: a vision transformer that takes masks, projection heads, and the file that holds a trained teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .backbone import Backbone
    from .files import LoadedModel, load_model, save_model
    from .heads import ProjectionHead
    from .network import Network, build_backbone, build_network, start_networks

__all__ = [
    "Backbone",
    "LoadedModel",
    "Network",
    "ProjectionHead",
    "build_backbone",
    "build_network",
    "load_model",
    "save_model",
    "start_networks",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "backbone": ["Backbone"],
        "files": ["LoadedModel", "load_model", "save_model"],
        "heads": ["ProjectionHead"],
        "network": ["Network", "build_backbone", "build_network", "start_networks"],
    },
)
