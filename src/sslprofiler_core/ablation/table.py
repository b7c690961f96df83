"""The table: the paper's column beside ours, with intervals, differences, the position control and the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sslprofiler_core.training import RunFolder

from .outcomes import POSITION, Mean, difference_of, mean_of
from .plan import Cell
from .rows import Row

K = 1

_COLUMNS = (
    "row",
    "paper",
    "ours",
    "against the row",
    "position",
    "alignment: training",
    "transductive",
    "seeds",
    "cost a seed",
)
_NOTE = (
    f"k-NN accuracy in percent, k = {K}, cosine, folds by plate, controls left out; brackets: 95 % of draws of seeds "
    "and plates. “Against the row” is the difference to the row that it names, paired by seed and plate. “Position” is "
    "the control: k-NN from control wells to their position on other plates. The paper's k and averaging are not "
    "public, and its score is of aligned profiles. “Transductive” moves test wells to the mean of their position, "
    "which gives their label away: random features beside it show how much."
)


@dataclass(frozen=True)
class Cost:
    """Of all models of a row at one seed.

    Parameters
    ----------
    pairs, flop
        Site pairs and floating-point operations.
    hours
        Of training, summed over models.
    memory_gb
        Of the largest, estimated.
    """

    pairs: int
    flop: float
    hours: float
    memory_gb: float


def hours_of(run: Path) -> float:
    """How long a run's steps took, by its own log."""
    folder = RunFolder(run)
    batch = folder.recipe().train.batch
    rates = [float(event["pairs_per_s"] or 0.0) for event in folder.events() if event["event"] == "step"]
    return sum(batch / rate for rate in rates if rate) / 3600.0


def write_table(
    out: Path, rows: Sequence[Row], cells: Sequence[Cell], costs: Mapping[str, Cost], facts: Sequence[str]
) -> Path:
    """Write ``table1.md`` and ``scores.csv`` of what has been scored so far; returns the first."""
    scored = {
        row.name: {c.seed: pd.read_parquet(c.scores) for c in cells if c.row is row and c.scores.is_file()}
        for row in rows
    }
    tidy = [table.assign(row=name, seed=seed) for name, seeds in scored.items() for seed, table in seeds.items()]
    if tidy:
        every = pd.concat(tidy, ignore_index=True)
        first = ["row", "seed"]
        every[first + [name for name in every if name not in first]].to_csv(out / "scores.csv", index=False)
    lines = [f"| {' | '.join(_COLUMNS)} |", "| --- |" + " ---: |" * (len(_COLUMNS) - 2) + " --- |"]
    for row in rows:
        seeds = scored[row.name]
        tables = list(seeds.values())
        beside = scored.get(row.against or "", {})
        common = [seed for seed in seeds if seed in beside]
        moved = difference_of([seeds[s] for s in common], [beside[s] for s in common], K) if common else None
        random = mean_of(tables, "knn_accuracy_random_features", K, "transductive")
        transductive = _words(mean_of(tables, "knn_accuracy", K, "transductive"))
        cells_of_row = [
            row.words,
            f"{row.paper:.1f}" if row.paper is not None else "",
            _words(mean_of(tables, "knn_accuracy", K)),
            _difference(moved, row.against),
            _words(mean_of(tables, POSITION, K)),
            _words(mean_of(tables, "knn_accuracy", K, "training")),
            transductive + (f" (random features {100 * random.value:.0f})" if random else ""),
            str(len(tables)),
            _cost(costs.get(row.name)),
        ]
        lines.append(f"| {' | '.join(cells_of_row)} |")
    text = "\n".join([*facts, "", *lines, "", _NOTE, ""])
    path = out / "table1.md"
    path.write_text(text, encoding="utf-8")
    return path


def _words(mean: Mean | None) -> str:
    return "" if mean is None else f"{100 * mean.value:.1f} [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"


def _difference(mean: Mean | None, against: str | None) -> str:
    if mean is None or against is None:
        return ""
    return f"{100 * mean.value:+.1f} [{100 * mean.low:+.1f}, {100 * mean.high:+.1f}] {against}"


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return ""
    return f"{cost.pairs:,} pairs, {cost.flop:.2g} FLOP, {cost.hours:.2g} h, about {cost.memory_gb:.2g} GB"
