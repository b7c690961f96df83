"""What a browser asks of a table: who is near, and where everything lies on a map."""

from __future__ import annotations

from sslprofiler_core._lazy import attach

__getattr__, __dir__ = attach(__name__, {"layout": ["umap_layout"], "nearest": ["neighbours"]})
