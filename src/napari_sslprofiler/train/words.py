"""How a run's state reads: headline, progress, names of curves. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core.training.run_state import RunStatus, duration_words

if TYPE_CHECKING:
    from sslprofiler_core.training import RunState

HEADLINES = {
    RunStatus.ABSENT: "No run here",
    RunStatus.STARTING: "Starting",
    RunStatus.RUNNING: "Training",
    RunStatus.PAUSING: "Pausing",
    RunStatus.STOPPING: "Stopping",
    RunStatus.PAUSED: "Paused",
    RunStatus.STOPPED: "Stopped",
    RunStatus.FINISHED: "Finished",
    RunStatus.FAILED: "Failed",
    RunStatus.LOST: "Ended without a word",
}
# What step events call the losses, in the order of the legend; see the paper's 3.2.1.
LOSSES = {
    "loss": "total",
    "dino_masked": "DINO, masked",
    "dino_local": "DINO, other site",
    "dino_crops": "DINO, crops",
    "ibot": "iBOT",
    "koleo": "KoLeo",
}


def progress_words(state: RunState) -> str:
    """How far, how long still, how fast: one line, whose end a narrow dock cuts off."""
    if not state.steps:
        return ""
    parts = [f"step {state.step:,} of {state.steps:,}"]
    if state.eta_s is not None and state.status is RunStatus.RUNNING:
        parts.append(f"{duration_words(state.eta_s)} left")
    if state.pairs_per_s is not None:
        parts.append(f"{state.pairs_per_s:,.{0 if state.pairs_per_s >= 10 else 1}f} pairs/s")
    if state.utilisation is not None:
        parts.append(f"{_percent(state.utilisation)} of peak")
    return " · ".join(parts)


def knn_words(state: RunState) -> str:
    """What the last nearest-neighbour check found, beside chance."""
    knn, parts = state.knn, []
    if knn.well_sites:
        parts.append(
            f"same well {_percent(knn.well_N[-1])} (chance {_percent(knn.well_chance)}, {knn.well_sites} sites)"
        )
    if knn.compound_sites:
        parts.append(
            f"same compound {_percent(knn.compound_N[-1])} "
            f"(chance {_percent(knn.compound_chance)}, {knn.compound_sites} sites)"
        )
    return "Nearest other site: " + "; ".join(parts) + "." if parts else "No check so far."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"
