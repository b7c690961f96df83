"""Training: the paper's self-supervision with local aggregation, from plates to a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .loop import TrainingOutcome
    from .run_folder import RunFacts, RunFolder
    from .start import train

__all__ = ["RunFacts", "RunFolder", "TrainingOutcome", "train"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "loop": ["TrainingOutcome"],
        "run_folder": ["RunFacts", "RunFolder"],
        "start": ["train"],
    },
)
