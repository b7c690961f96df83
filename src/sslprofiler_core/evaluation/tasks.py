"""Who is tested against whom: transfers, folds and variants as tasks, and their scores from one table of products."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.exploring.nearest import Metric

from .folds import ALL, cell_lines, splits, transfers
from .products import Positions, Products, Rows, still
from .scores import Score, Scores
from .search import classify

Variant = Literal["not_same_plate", "not_same_well"]
VARIANTS: tuple[Variant, ...] = ("not_same_plate", "not_same_well")


@dataclass(frozen=True, slots=True)
class Wells:
    """Labelled wells: ``rows`` of the table, what the metadata says of them, and codes of labels and positions."""

    rows: NDArray[np.int64]
    plates: NDArray[Any]
    positions: NDArray[Any]
    lines: NDArray[Any]
    labels: NDArray[Any]
    codes: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, metadata: pd.DataFrame, rows: NDArray[np.int64], labels: NDArray[Any]) -> Wells:
        """Wells from their rows of metadata."""
        positions = metadata["Metadata_Well"].astype(str).to_numpy(str)
        return cls(
            rows,
            metadata["Metadata_Plate"].astype(str).to_numpy(str),
            positions,
            cell_lines(metadata),
            labels,
            np.unique(labels, return_inverse=True)[1].astype(np.int64),
            np.unique(positions, return_inverse=True)[1].astype(np.int64),
        )


@dataclass(frozen=True, slots=True)
class Beside:
    """Wells that are not scored and share a position with some that are: an alignment moves these by them, too."""

    rows: NDArray[np.int64]
    plates: NDArray[Any]
    positions: NDArray[Any]
    lines: NDArray[Any]

    @classmethod
    def of(cls, metadata: pd.DataFrame, wells: Wells) -> Beside:
        """Those of a whole table."""
        positions = metadata["Metadata_Well"].astype(str).to_numpy(str)
        shared = np.isin(positions, np.unique(wells.positions))
        shared[wells.rows] = False
        rows = np.flatnonzero(shared)
        plates = metadata["Metadata_Plate"].astype(str).to_numpy(str)
        lines = np.full(len(metadata), ALL) if (wells.lines == ALL).all() else cell_lines(metadata)
        return cls(rows, plates[rows], positions[rows], lines[rows])


@dataclass(frozen=True, slots=True)
class Cut:
    """Training and tested wells of one fold; with ``hide``, wells at a tested well's position do not vote on it."""

    training: NDArray[np.int64]
    tested: NDArray[np.int64]
    hide: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A metric between two cell lines, and the folds it is scored on."""

    metric: str
    train: str
    test: str
    cuts: tuple[Cut, ...]
    ks: tuple[int, ...]


def tasks_of(
    metric: str, wells: Wells, ks: Sequence[int], folds: int, variants: Sequence[Variant], scores: Scores
) -> Iterator[Task]:
    """Tasks of a metric: every transfer, and the variants over all wells. What cannot be scored becomes a note."""
    for train, test in transfers(wells.lines):
        cuts = _cuts(wells, train, test, folds, scores.seed)
        name = "the table" if train == ALL else f"cell line {train}"
        if not cuts:
            scores.notes.append(f"{train} -> {test} is not scored: {name} has one plate only, and folds are by plate.")
            continue
        fewest = min(len(cut.training) for cut in cuts)
        for k in ks:
            if k > fewest:
                scores.notes.append(f"{train} -> {test}: no score for k = {k}, a fold has {fewest} training wells.")
        fitting = tuple(k for k in ks if k <= fewest)
        if not fitting:
            continue
        strange = sum(int((~np.isin(wells.codes[c.tested], wells.codes[c.training])).sum()) for c in cuts)
        if strange:
            total = sum(len(cut.tested) for cut in cuts)
            scores.notes.append(
                f"{train} -> {test}: {strange} of {total} test wells have a label that no training well has; "
                "they count as wrong."
            )
        yield Task(metric, train, test, cuts, fitting)
        if (train, test) == (ALL, ALL):
            yield from _variants(Task(metric, train, test, cuts, fitting), wells, variants, scores)


def _variants(task: Task, wells: Wells, variants: Sequence[Variant], scores: Scores) -> Iterator[Task]:
    if "not_same_well" in variants:
        cuts = tuple(own for cut in task.cuts if len((own := _elsewhere(wells, cut)).tested))
        tested = sum(len(cut.tested) for cut in cuts)
        total = sum(len(cut.tested) for cut in task.cuts)
        if not tested:
            scores.notes.append("Not the same well: not scored, since no label sits at two positions.")
        else:
            if tested < total:
                scores.notes.append(
                    f"Not the same well: scored on the {tested:,} of {total:,} wells whose label training plates also "
                    "have at another position."
                )
            yield replace(task, metric=f"{task.metric}_not_same_well", cuts=cuts)
    if "not_same_plate" in variants:
        cuts = _cuts(wells, ALL, ALL, len(np.unique(wells.plates)), scores.seed)
        yield replace(task, metric=f"{task.metric}_not_same_plate", cuts=cuts)


def _cuts(wells: Wells, train: str, test: str, folds: int, seed: int) -> tuple[Cut, ...]:
    masks = splits(wells.plates, wells.lines, train, test, folds, seed)
    return tuple(Cut(np.flatnonzero(training), np.flatnonzero(tested)) for training, tested in masks)


def _elsewhere(wells: Wells, cut: Cut) -> Cut:
    """A fold's tested wells whose label training wells have at another position."""
    codes, places = wells.codes, wells.places
    count = int(places.max()) + 1
    known = np.unique(codes[cut.training] * count + places[cut.training])
    positions = np.bincount(known // count, minlength=int(codes.max()) + 1)
    own = np.isin(codes[cut.tested] * count + places[cut.tested], known)
    return Cut(cut.training, cut.tested[positions[codes[cut.tested]] - own > 0], hide=True)


def run_tasks(
    scores: Scores,
    tasks: Sequence[Task],
    wells: Wells,
    products: Products,
    metrics: Sequence[Metric],
    alignments: Sequence[str],
    alpha: float,
    suffix: str = "",
    beside: Beside | None = None,
) -> None:
    """Score every task in every alignment mode, and add the scores; ``products`` are of wells and those ``beside``."""
    every = [wells] if beside is None else [wells, beside]
    plates, positions, lines = (
        np.concatenate([getattr(part, name) for part in every]) for name in ("plates", "positions", "lines")
    )
    places = Positions(products, plates, positions)
    for alignment in alignments:
        seen: OrderedDict[bytes, Rows] = OrderedDict()
        same = still(products) if alignment == "none" else None
        if alignment == "transductive":
            same = places.moved(alpha)
        for task in tasks:
            correct: dict[tuple[Metric, int], list[NDArray[np.bool_]]] = {(m, k): [] for m in metrics for k in task.ks}
            for cut in task.cuts:
                rows = same
                if rows is None:
                    moving = np.isin(plates, plates[cut.training]) & np.isin(lines, lines[cut.training])
                    moving[: len(wells.rows)] = False
                    moving[cut.training] = True
                    rows = _trained(places, alpha, moving, seen)
                hidden = wells.places if cut.hide else None
                found = classify(rows, cut.tested, cut.training, wells.codes, task.ks, metrics, hidden)
                for key, classes in found.items():
                    correct[key].append(classes == wells.codes[cut.tested])
            at = np.concatenate([cut.tested for cut in task.cuts])
            number = np.repeat(np.arange(len(task.cuts)), [len(cut.tested) for cut in task.cuts])
            for (metric, k), right in correct.items():
                scores.scores.append(
                    Score(
                        task.metric + suffix,
                        k,
                        metric,
                        alignment,
                        task.train,
                        task.test,
                        wells.rows[at],
                        wells.labels[at],
                        number,
                        np.concatenate(right),
                    )
                )


def _trained(places: Positions, alpha: float, moving: NDArray[np.bool_], seen: OrderedDict[bytes, Rows]) -> Rows:
    """Training wells moved to their centres; those of the last folds are kept, since variants share their folds."""
    key = moving.tobytes()
    if key not in seen:
        seen[key] = places.moved(alpha, moving)
        if len(seen) > 5:
            seen.popitem(last=False)
    return seen[key]
