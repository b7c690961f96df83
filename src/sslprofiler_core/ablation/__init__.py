"""The paper's Table 1 as one command: a ladder of trainings, each one ingredient further, and what is beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .rows import BEYOND, LADDER, Row, choose_rows
    from .run import ablate
    from .scale import recipe_of

__all__ = ["BEYOND", "LADDER", "Row", "ablate", "choose_rows", "recipe_of"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "rows": ["BEYOND", "LADDER", "Row", "choose_rows"],
        "run": ["ablate"],
        "scale": ["recipe_of"],
    },
)
