"""Training: the paper's self-supervision with local aggregation, from plates to a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .count import NetworkCount, RunCount, count_network, count_run
    from .detached import start_training
    from .estimate import Estimate, estimate_run
    from .loop import TrainingOutcome
    from .run_folder import RunFacts, RunFolder
    from .run_state import KnnCurve, RunState, RunStatus
    from .start import train
    from .watch import RunWatcher

__all__ = [
    "Estimate",
    "KnnCurve",
    "NetworkCount",
    "RunCount",
    "RunFacts",
    "RunFolder",
    "RunState",
    "RunStatus",
    "RunWatcher",
    "TrainingOutcome",
    "count_network",
    "count_run",
    "estimate_run",
    "start_training",
    "train",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "count": ["NetworkCount", "RunCount", "count_network", "count_run"],
        "detached": ["start_training"],
        "estimate": ["Estimate", "estimate_run"],
        "loop": ["TrainingOutcome"],
        "run_folder": ["RunFacts", "RunFolder"],
        "run_state": ["KnnCurve", "RunState", "RunStatus"],
        "start": ["train"],
        "watch": ["RunWatcher"],
    },
)
