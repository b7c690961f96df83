"""The paper's Table 1 as one command: a ladder of trainings, each one ingredient further, and what is beyond it."""

from __future__ import annotations

from sslprofiler_core._lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "rows": ["BEYOND", "LADDER", "Row", "choose_rows"],
        "run": ["ablate"],
        "scale": ["recipe_of"],
    },
)
