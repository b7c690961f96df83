"""Training: the paper's self-supervision with local aggregation, from plates to a run folder."""

from __future__ import annotations

from sslprofiler_core._lazy import attach

__getattr__, __dir__ = attach(
    __name__,
    {
        "start": ["train"],
        "run_folder": ["RunFolder", "RunFacts"],
        "loop": ["TrainingOutcome"],
    },
)
