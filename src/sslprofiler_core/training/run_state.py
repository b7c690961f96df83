"""What a watched run looks like at one moment: plain values, for a widget, a script or a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


def _none() -> NDArray[np.float64]:
    return np.zeros(0)


class RunStatus(Enum):
    """Where a run is in its life."""

    ABSENT = "absent"  # no run here, or no folder
    STARTING = "starting"  # a process is there, and has done no step yet
    RUNNING = "running"
    PAUSING = "pausing"  # asked to, and at its last step
    STOPPING = "stopping"
    PAUSED = "paused"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"  # and said why
    LOST = "lost"  # gone without a word: killed, crashed, or its machine is down

    @property
    def alive(self) -> bool:
        """Whether a process is at work."""
        return self in (RunStatus.STARTING, RunStatus.RUNNING, RunStatus.PAUSING, RunStatus.STOPPING)

    @property
    def can_resume(self) -> bool:
        """Whether a run that ended here may go on."""
        return self in (RunStatus.PAUSED, RunStatus.STOPPED, RunStatus.FAILED, RunStatus.LOST)


@dataclass(frozen=True)
class KnnCurve:
    """Accuracy of the nearest other site, over the checks of a run; NaN where a check had none.

    Attributes
    ----------
    steps_N
        After how many steps.
    well_N, compound_N
        Share of sites whose nearest other site is of the same well, or, on another plate, of the same compound.
    well_chance, compound_chance
        What a random neighbour scores; NaN when not known.
    well_sites, compound_sites
        How many sites were asked.
    seconds, share
        What the last check took, and the share of the time since the run's last start that checks took; NaN when not
        known.
    """

    steps_N: NDArray[np.float64] = field(default_factory=_none)
    well_N: NDArray[np.float64] = field(default_factory=_none)
    compound_N: NDArray[np.float64] = field(default_factory=_none)
    well_chance: float = float("nan")
    compound_chance: float = float("nan")
    well_sites: int = 0
    compound_sites: int = 0
    seconds: float = float("nan")
    share: float = float("nan")


@dataclass(frozen=True)
class RunState:
    """A run as its folder tells it.

    Attributes
    ----------
    run, status
        The folder, and where the run is in its life.
    message
        One sentence for a person; for a failure, with a way on.
    group, steps
        Channel group and length of the run; empty and 0 while not known.
    step, checkpoint
        Steps done, and how many the last checkpoint holds.
    steps_N, curves
        Steps, and each value that step events give (losses by their names, ``gradient_norm``, ``lr``, ``pairs_per_s``,
        ``utilisation``), float64 with NaN where there was none; at most about 5,000 points of a long run, evenly.
    knn
        The nearest-neighbour checks.
    pairs_per_s, utilisation, eta_s
        Of late; None when nothing is at work. Utilisation is the model's operations a second as a share of what matrix
        products reach on the machine.
    warnings
        The last ones, oldest first.
    log
        The last lines of ``log.txt``.
    pid, host, since
        Who is, or was last, at work, and since when (seconds since 1970); None when nobody is known.
    device
        That it computes on, as torch names it.
    """

    run: Path
    status: RunStatus = RunStatus.ABSENT
    message: str = ""
    group: str = ""
    steps: int = 0
    step: int = 0
    checkpoint: int = 0
    steps_N: NDArray[np.float64] = field(default_factory=_none)
    curves: Mapping[str, NDArray[np.float64]] = field(default_factory=lambda: MappingProxyType({}))
    knn: KnnCurve = field(default_factory=KnnCurve)
    pairs_per_s: float | None = None
    utilisation: float | None = None
    eta_s: float | None = None
    warnings: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    pid: int | None = None
    host: str | None = None
    since: float | None = None
    device: str = ""


def duration_words(seconds: float) -> str:
    """A duration as people say it: "40 s", "3 min", "2 h 10 min", "4 days 3 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 36:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days {hours % 24} h"
