"""Scores: figures with the wells they are made of, as rows of ``metrics.csv``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .bootstrap import label_interval

COLUMNS = ["metric", "k", "distance", "alignment", "train", "test", "value", "low", "high", "n"]


@dataclass(frozen=True, slots=True)
class Score:
    """One figure and the wells it is made of.

    ``rows`` are the tested rows of the wells table, ``labels`` their labels, ``folds`` the fold in which each was
    tested, ``correct`` whether it was right (of a mean average precision: its average precision). ``k`` is None where
    nothing has neighbours to count. ``by_label``: the mean of the labels' means, and ``n`` counts labels, not wells.
    """

    metric: str
    k: int | None
    distance: str
    alignment: str
    train: str
    test: str
    rows: NDArray[np.int64]
    labels: NDArray[Any]
    folds: NDArray[np.int64]
    correct: NDArray[Any]
    by_label: bool = False

    @property
    def value(self) -> float:
        """Accuracy or mean average precision, a fraction."""
        if not self.by_label:
            return float(self.correct.mean())
        _, code, sizes = np.unique(self.labels, return_inverse=True, return_counts=True)
        return float((np.bincount(code, weights=self.correct) / sizes).mean())

    @property
    def n(self) -> int:
        """How many wells, or labels, the figure is a mean of."""
        return len(np.unique(self.labels)) if self.by_label else len(self.rows)


@dataclass(slots=True)
class Scores:
    """Scores of one evaluation, and what their reader must know (``notes``)."""

    scores: list[Score] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seed: int = 0

    def table(self, intervals: bool = True) -> pd.DataFrame:
        """One row a score: ``metric, k, distance, alignment, train, test, value, low, high, n``.

        Values are fractions, ``low`` and ``high`` bound 95 % of 1,000 draws of labels (empty without ``intervals``);
        notes are in ``attrs["notes"]``.
        """
        rows = []
        for score in self.scores:
            low, high = np.nan, np.nan
            if intervals:
                low, high = label_interval(score.correct, score.labels, self.seed, by_label=score.by_label)
            own = {name: getattr(score, name) for name in COLUMNS if name not in ("low", "high")}
            rows.append({**own, "low": low, "high": high})
        table = pd.DataFrame(rows, columns=COLUMNS)
        table["k"] = table["k"].astype("Int64")
        table.attrs["notes"] = list(self.notes)
        return table
