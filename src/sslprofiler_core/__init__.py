"""Self-supervised well profiles from Cell Painting plates, headless.

Importing this package is cheap: torch, umap and pandas are imported by the functions that use them.
"""

from __future__ import annotations

__version__ = "0.1.0"
