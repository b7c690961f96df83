"""What a browser asks of a table: who is near, and where everything lies on a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .clusters import cluster_rows
    from .exports import export_table
    from .launch import browse
    from .layout import umap_layout
    from .nearest import neighbours
    from .queries import NeighbourIndex, allowed_rows, control_distances, label_agreement, query_neighbours
    from .roles import control_rows, short_name
    from .tables import TableView, open_table

__all__ = [
    "NeighbourIndex",
    "TableView",
    "allowed_rows",
    "browse",
    "cluster_rows",
    "control_distances",
    "control_rows",
    "export_table",
    "label_agreement",
    "neighbours",
    "open_table",
    "query_neighbours",
    "short_name",
    "umap_layout",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "clusters": ["cluster_rows"],
        "exports": ["export_table"],
        "launch": ["browse"],
        "layout": ["umap_layout"],
        "nearest": ["neighbours"],
        "queries": ["NeighbourIndex", "allowed_rows", "control_distances", "label_agreement", "query_neighbours"],
        "roles": ["control_rows", "short_name"],
        "tables": ["TableView", "open_table"],
    },
)
