"""What the demo measures: each kind of features by the same protocol, and the trained model against the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.evaluation import Score, Scores, score_position_control, score_transfers
from sslprofiler_core.evaluation.folds import ALL

from .features import BOTH, centred_per_plate

Floats = NDArray[np.floating[Any]]

KS = (1, 5)
ALPHA = 0.5


@dataclass(frozen=True, slots=True)
class Difference:
    """Accuracy of one kind of features minus another's, well by well: fractions."""

    value: float
    error: float
    wells: int

    @property
    def errors(self) -> float:
        """The difference in standard errors."""
        if self.error == 0.0:
            return 0.0 if self.value == 0.0 else float(np.copysign(np.inf, self.value))
        return self.value / self.error

    @property
    def verdict(self) -> str:
        """``"better"`` or ``"worse"`` by more than two standard errors, else ``"level"``."""
        return "better" if self.errors > 2.0 else "worse" if self.errors < -2.0 else "level"


@dataclass(slots=True)
class Results:
    """All scores of a demo.

    Attributes
    ----------
    numbers
        One row a score: ``features``, ``channels`` (a group or ``"both"``), ``centred`` and the columns of
        `Scores.table`.
    scores
        The same with their wells: (features, channels, centred) -> scores.
    position
        Features -> position control.
    aligned
        Alignment modes of the trained profiles, with random features beside.
    labels
        How many compounds are told apart.
    notes
        What was left out.
    """

    numbers: pd.DataFrame
    scores: dict[tuple[str, str, bool], Scores]
    position: dict[str, Scores]
    aligned: pd.DataFrame
    labels: int
    notes: list[str] = field(default_factory=list)

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1.0 / self.labels

    def score(self, features: str, k: int = 1, *, channels: str = BOTH, centred: bool = False) -> Score:
        """One score over all wells."""
        return overall(self.scores[features, channels, centred], k)

    def row(self, features: str, k: int = 1, *, channels: str = BOTH, centred: bool = False) -> pd.Series[Any]:
        """The numbers of that score."""
        table = self.numbers
        found = table[
            (table.features == features)
            & (table.channels == channels)
            & (table.centred == centred)
            & (table.k == k)
            & (table.metric == "knn_accuracy")
            & (table.train == ALL)
        ]
        return found.iloc[0]

    def difference(
        self, features: str, other: str, k: int = 1, *, channels: str = BOTH, centred: bool = False
    ) -> Difference:
        """``features`` minus ``other``; hand-made features have both channel groups only."""
        return paired_difference(
            self.score(features, k, channels=channels, centred=centred),
            self.score(other, k, channels=channels, centred=centred),
        )


def paired_difference(one: Score, other: Score) -> Difference:
    """Mean over wells of (right by one) - (right by the other), with its standard error.

    Both were tested on the same wells, so that what makes a well easy or hard for both cancels.
    """
    first, second = np.argsort(one.rows), np.argsort(other.rows)
    if not np.array_equal(one.rows[first], other.rows[second]):
        raise ValueError("the two scores were not measured on the same wells")
    each = one.correct[first].astype(np.float64) - other.correct[second]
    error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else 0.0
    return Difference(float(each.mean()), error, len(each))


def measure(
    metadata: pd.DataFrame, networks: Mapping[str, Mapping[str, Floats]], handmade: Mapping[str, Floats], seed: int
) -> Results:
    """Score each kind of features.

    Parameters
    ----------
    metadata
        Of the wells.
    networks
        ``"trained"``, ``"untrained"`` -> channel group -> (W, D).
    handmade
        Kind -> (W, D).
    seed
        Of intervals and random features.
    """
    every = {name: dict(groups) for name, groups in networks.items()}
    every |= {name: {BOTH: values} for name, values in handmade.items()}
    scores: dict[tuple[str, str, bool], Scores] = {}
    tables, notes = [], []
    for name, groups in every.items():
        for group, values in groups.items():
            for centred in (False, True):
                own = centred_per_plate(values, metadata) if centred else values
                found = score_transfers((metadata, own), ks=KS, seed=seed)
                scores[name, group, centred] = found
                tables.append(found.table().assign(features=name, channels=group, centred=centred))
                notes += found.notes
    position = {}
    for name, groups in every.items():
        position[name] = score_position_control(metadata, groups[BOTH], ks=KS, seed=seed)
        if position[name].scores:
            tables.append(position[name].table().assign(features=name, channels=BOTH, centred=False))
        notes += position[name].notes
    trained = (metadata, every["trained"][BOTH])
    aligned = score_transfers(trained, ks=(1,), alignments=("none", "training", "transductive"), alpha=ALPHA, seed=seed)
    numbers = pd.concat(tables, ignore_index=True)
    first = ["features", "channels", "centred"]
    labels = len(np.unique(overall(scores["trained", BOTH, False], 1).labels))
    return Results(
        numbers[first + [name for name in numbers if name not in first]],
        scores,
        position,
        aligned.table(),
        labels,
        list(dict.fromkeys(notes)),
    )


def overall(scores: Scores, k: int) -> Score:
    """The score over all wells."""
    return next(s for s in scores.scores if s.k == k and s.train == ALL and s.metric == "knn_accuracy")
