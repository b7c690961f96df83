"""What the panel of neighbours shows: who is near, how often they agree, and how much of it position alone would do.

No Qt. Features are read by the first question.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sslprofiler_core.exploring import NeighbourIndex, TableView
    from sslprofiler_core.exploring.queries import Same

Metric = Literal["cosine", "euclidean"]

_QUICK = 8_000_000  # numbers in the features of a table that is searched within some milliseconds
_MOST_CONTROLS = 5000  # of the position control; more are sampled


@dataclass(frozen=True, eq=False)
class Question:
    """Neighbours of one row, or of a group's mean; with ``centred``, after each plate's mean is taken away."""

    table: TableView
    rows: NDArray[np.int64]
    k: int = 12
    metric: Metric = "cosine"
    exclude: tuple[Same, ...] = ("well",)
    within: tuple[Same, ...] = ()
    centred: bool = False


@dataclass(frozen=True, eq=False)
class Answer:
    """Neighbours, nearest first.

    ``agree`` marks those whose label is the query's (or one of the group's), ``counted`` those that have a label at
    all. ``chance`` is the share of agreeing labels among all rows that the filters leave, None without labels.
    ``candidates`` is how many these are. ``empty`` says that the query itself has no features.
    """

    question: Question
    rows: NDArray[np.int64]
    distances: NDArray[np.float32]
    agree: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    chance: float | None
    candidates: int
    label: str
    empty: bool
    seconds: float

    def words(self) -> str:
        """How often the neighbours agree, in a sentence."""
        if self.empty:
            return "The query has no features, so it has no neighbours."
        if not len(self.rows):
            return "The filters leave no row that could be a neighbour."
        if not self.label:
            return f"{len(self.rows)} nearest of {self.candidates:,} candidates."
        if self.chance is None:
            return f"{len(self.rows)} nearest of {self.candidates:,} candidates without a label to compare."
        agreeing, counted = int(self.agree.sum()), int(self.counted.sum())
        return f"{agreeing} of {counted} neighbours are {self.label} (by chance {self.chance * counted:.2g})."


@dataclass(frozen=True, slots=True)
class Position:
    """How much of nearness is position: 1-NN from control wells to their own well position on other plates."""

    value: float | None
    low: float
    high: float
    chance: float
    count: int
    note: str = ""

    @property
    def strong(self) -> bool:
        """Whether position is recognised beyond chance, at 95 %."""
        return self.value is not None and self.low > self.chance

    def words(self) -> str:
        """In a sentence."""
        if self.value is None:
            return self.note or "No position control."
        text = f"Position control {100 * self.value:.0f} % (chance {100 * self.chance:.1f} %, {self.count:,} wells)"
        return text + (": position is part of what is near." if self.strong else ".")


class Finder:
    """Answers questions on one table after the other, from any thread; keeps what can be asked again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table: TableView | None = None
        self._indices: dict[tuple[Metric, bool], NeighbourIndex] = {}
        self._positions: dict[tuple[Metric, bool], Position] = {}
        self._codes: dict[Same, NDArray[np.int64]] = {}
        self._asked: set[tuple[Metric, bool]] = set()

    def _of(self, table: TableView) -> None:
        if self._table is not table:
            self._table = table
            self._indices.clear()
            self._positions.clear()
            self._codes = {}
            self._asked.clear()

    def quick(self, question: Question) -> bool:
        """Whether an answer takes some milliseconds: one was given before, and the table is small."""
        table = question.table
        if not self._lock.acquire(blocking=False):
            return False  # another index is being made
        known = self._table is table and (question.metric, question.centred) in self._asked
        self._lock.release()
        return known and table.features().size <= _QUICK

    def codes(self, table: TableView) -> dict[Same, NDArray[np.int64]]:
        """What rows share; see ``exploring.queries.row_codes``."""
        from sslprofiler_core.exploring.queries import row_codes

        with self._lock:
            self._of(table)
            if not self._codes:
                self._codes = row_codes(table.metadata, table.roles)
            return self._codes

    def index(self, table: TableView, metric: Metric, centred: bool = False) -> NeighbourIndex:
        """The table's index; reads its features when it is the first."""
        from sslprofiler_core.exploring import NeighbourIndex

        if metric == "cosine" and not centred:
            return table.index()
        with self._lock:
            self._of(table)
            if (metric, centred) not in self._indices:
                features = features_of(table, centred)
                self._indices[metric, centred] = NeighbourIndex(features, table.metadata, metric, table.roles)
            return self._indices[metric, centred]

    def answer(self, question: Question) -> Answer:
        """Find neighbours.

        Raises
        ------
        UserError
            For a filter that the table has no column for.
        """
        from sslprofiler_core.exploring import allowed_rows

        table, rows = question.table, question.rows
        index = self.index(table, question.metric, question.centred)
        start = time.perf_counter()
        ask = index.query if len(rows) == 1 else index.query_group
        found, distances = ask(rows, question.k, question.exclude, question.within).of()
        seconds = time.perf_counter() - start
        codes = self.codes(table)
        allowed = allowed_rows(codes, index.finite, rows, question.exclude, question.within)
        with self._lock:
            if self._table is table:
                self._asked.add((question.metric, question.centred))
        labels = codes.get("compound")
        if labels is None:
            labels = np.full(len(table), -1, np.int64)
        own = np.unique(labels[rows])
        own = own[own >= 0]
        known = allowed & (labels >= 0)
        chance = float(np.isin(labels[known], own).mean()) if own.size and known.any() else None
        name = ""
        if own.size and table.label is not None:
            name = (
                str(table.metadata[table.label].iloc[int(rows[labels[rows] >= 0][0])]) if own.size == 1 else "of these"
            )
        return Answer(
            question,
            found,
            distances,
            np.isin(labels[found], own) & (labels[found] >= 0),
            labels[found] >= 0,
            chance,
            int(allowed.sum()),
            name,
            not bool(index.finite[rows].any()),
            seconds,
        )

    def position(self, table: TableView, metric: Metric, centred: bool = False) -> Position:
        """The position control of a table; computed once."""
        with self._lock:
            self._of(table)
            if (metric, centred) in self._positions:
                return self._positions[metric, centred]
        found = position_of(table, metric, centred)
        with self._lock:
            self._of(table)
            self._positions[metric, centred] = found
        return found


def features_of(table: TableView, centred: bool) -> NDArray[np.float32]:
    """A table's features, less each plate's mean when ``centred``.

    Raises
    ------
    UserError
        When they are to be centred, and the table has no column of plates.
    """
    from sslprofiler_core.exploring.derived import centred_features

    return centred_features(table) if centred else table.features()


def position_of(table: TableView, metric: Metric = "cosine", centred: bool = False, seed: int = 0) -> Position:
    """Score position alone on a table's controls: see ``evaluation.position_control``."""
    import pandas as pd

    from sslprofiler_core.evaluation import position_control
    from sslprofiler_core.exploring import control_rows
    from sslprofiler_core.exploring.queries import finite_rows

    roles = table.roles
    nothing = (None, 0.0, 0.0, 0.0, 0)
    if roles.plate is None or roles.well is None:
        return Position(*nothing, "No position control: the table has no columns of plates and wells.")
    controls = control_rows(table.metadata, roles)
    if not controls.any():
        return Position(*nothing, "No position control: no control wells are known.")
    features = features_of(table, centred)
    keys = table.metadata[[roles.plate, roles.well]]
    rows = np.flatnonzero(controls & finite_rows(features) & keys.notna().all(axis=1).to_numpy())
    if len(rows) > _MOST_CONTROLS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_CONTROLS, replace=False))
    own = keys.iloc[rows].astype(str).set_axis(["Metadata_Plate", "Metadata_Well"], axis=1)
    own = pd.DataFrame(own.assign(Metadata_control_type="negcon")).reset_index(drop=True)
    if own["Metadata_Plate"].nunique() < 2:
        return Position(*nothing, "No position control: fewer than two plates have control wells.")
    scores = position_control(own, features[rows], ks=(1,), metrics=(metric,), seed=seed)
    if scores.empty:
        return Position(*nothing, " ".join(scores.attrs.get("notes", [])) or "No position control.")
    first = scores.iloc[0]
    chance = 1.0 / max(1, own["Metadata_Well"].nunique())
    return Position(float(first["value"]), float(first["low"]), float(first["high"]), chance, int(first["n"]))


def alignment_warning(table: TableView) -> str:
    """What must be known of a table whose own wells took part in its alignment; "" for others."""
    done = table.alignment
    if done is None:
        return ""
    alpha = done.get("alpha")
    kept = f" (alpha {alpha})" if alpha is not None else ""
    return f"This table was aligned with its own wells{kept}: neighbours agree more than they should."


def features_bytes(table: TableView) -> int:
    """About how much reading the features takes, from the table's size on the disk; 0 when they have been read."""
    if table.features.loaded:
        return 0
    files = [table.path] if table.path.is_file() else list(table.path.glob("*.parquet"))
    return sum(file.stat().st_size for file in files)
