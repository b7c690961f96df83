"""What a training says of itself: ``events.jsonl`` and the progress bar."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from torch import Tensor
from tqdm import tqdm

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe

from .health import collapse_warning, effective_rank
from .loader import PairBatch
from .objective import TERMS
from .pace import Pace
from .run_folder import EventLog, RunFolder
from .schedules import step_settings

_MAX_BAD_STEPS = 3


class Report:
    """The events of a run's steps; values wait on the device until a flush, so that the host need not."""

    def __init__(self, run: RunFolder, recipe: Recipe, steps: int, log: EventLog, bar: tqdm[Any], pace: Pace) -> None:
        self._run, self._recipe, self._steps = run, recipe, steps
        self._log, self._bar, self._pace = log, bar, pace
        self.pending: list[tuple[int, Tensor, list[str]]] = []
        self._bad: list[list[str]] = []  # the sites of each of the last steps in a row that were not finite
        self._told: set[str] = set()
        self._collapsing = False
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave out of the throughput what came before."""
        self._since = time.monotonic()

    def add(self, step: int, terms: Tensor, batch: PairBatch) -> None:
        """Note a step that was done, and at once the sites that it lacked."""
        self.pending.append((step, terms, batch.names))
        for problem in batch.problems:
            self._log.write("bad_site", step, text=problem)
            site = problem.partition(" left out")[0]
            if site not in self._told:  # each epoch meets it again
                self._told.add(site)
                self._warn(problem)

    def flush(self, cls_BD: Tensor | None = None) -> None:
        """Wait for the device and write what is pending; with embeddings, the signs of collapse too.

        Raises
        ------
        UserError
            After three steps in a row with a non-finite loss or gradient.
        """
        if not self.pending:
            return
        rows = [(step, terms.tolist(), names) for step, terms, names in self.pending]
        rank = effective_rank(cls_BD) if cls_BD is not None else math.nan
        pairs_per_s = len(rows) * self._recipe.train.batch / max(time.monotonic() - self._since, 1e-9)
        self.pending = []
        for step, values, names in rows:
            finite = all(math.isfinite(value) for value in values)
            self._bad = [] if finite else [*self._bad, names]
            self._write_step(step, values, pairs_per_s, finite)
            if len(self._bad) == _MAX_BAD_STEPS:
                # The weights are those before the first of them: they are not worth a new checkpoint.
                raise UserError(
                    f"Loss or gradient was not finite {_MAX_BAD_STEPS} steps in a row, up to step {step} (sites: "
                    f"{_shared(self._bad)}). Lower train.lr, or check those sites, and train again; the last good "
                    f"checkpoint is in {self._run.checkpoints}."
                )
        latest = rows[-1][1]
        if cls_BD is not None:
            self._watch_collapse(rows[-1][0], latest[TERMS.index("entropy")], rank)
        self._bar.set_postfix_str(self._postfix(latest, pairs_per_s), refresh=False)
        self._bar.update(rows[-1][0] - self._bar.n)
        self.restart_clock()

    def _write_step(self, step: int, values: list[float], pairs_per_s: float, finite: bool) -> None:
        settings = step_settings(self._recipe, step - 1, self._steps)
        terms: dict[str, Any] = {name: _number(value) for name, value in zip(TERMS, values, strict=False)}
        self._log.write(
            "step",
            step,
            **terms,
            gradient_norm=_number(values[-1]),
            lr=settings.lr,
            momentum=settings.momentum,
            pairs_per_s=round(pairs_per_s, 2),
            utilisation=float(f"{self._pace.utilisation(pairs_per_s):.4g}"),
            time=round(time.time(), 3),
            **({} if finite else {"skipped": True}),
        )

    def _watch_collapse(self, step: int, entropy: float, rank: float) -> None:
        self._log.write("health", step, effective_rank=_number(rank), entropy=_number(entropy))
        warning = collapse_warning(entropy, rank) if step > self._steps // 4 else None
        if warning and not self._collapsing:
            self._collapsing = True
            self._log.write("warning", step, text=warning)
            self._warn(warning)

    def _postfix(self, values: list[float], pairs_per_s: float) -> str:
        shown = {name: values[TERMS.index(name)] for name in ("loss", "dino_masked", "dino_local", "ibot", "koleo")}
        text = " ".join(f"{name} {value:.3f}" for name, value in shown.items())
        share = 100 * self._pace.utilisation(pairs_per_s)
        return f"{text} | {pairs_per_s:.{0 if pairs_per_s >= 10 else 1}f} pairs/s, {share:.0f} % of peak"

    def _warn(self, text: str) -> None:
        self._bar.write(f"Warning: {text}", file=sys.stderr)


def _shared(steps: list[list[str]], most: int = 8) -> str:
    """Name sites of some steps: those that all of them had, since these are the suspects, or else the last step's."""
    names = sorted(set.intersection(*map(set, steps)) or set(steps[-1]))
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
