"""Mean average precision: do replicates come before the controls of their plate, and like compounds before others?

As copairs computes them (Kalinin et al. 2025, "A versatile information retrieval framework for evaluating profile
strength and similarity"), which is the oracle of the tests; only the similarities that are asked for are computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.profiling import WellsTable

from .folds import ALL, cell_lines
from .labels import choose_group, choose_label, control_wells
from .protocol import Alignment, Profiles, random_features
from .scores import Score, Scores

Floats = NDArray[np.float64]


def average_precision(positive_P: Floats, negative_N: Floats) -> float:
    """Average precision of a query from its similarities to positives and negatives.

    Returns
    -------
    Mean over the positives of (rank among positives) / (rank among all), most similar first. A negative that ties with
    a positive counts half (our choice: copairs puts positives first, by which constant profiles are perfect).
    """
    positive, negative = np.sort(positive_P)[::-1], np.sort(negative_N)
    above = len(negative) - np.searchsorted(negative, positive, "right")
    level = len(negative) - np.searchsorted(negative, positive, "left") - above
    rank = np.arange(1, len(positive) + 1)
    return float((rank / (rank + above + 0.5 * level)).mean())


def score_precision(
    profiles: Profiles,
    *,
    label: str | None = None,
    control: str | None = None,
    group: str | None = None,
    alignments: Sequence[Alignment] = ("none",),
    alpha: float = 0.5,
    seed: int = 0,
) -> Scores:
    """Score activity, consistency and position by mean average precision, cosine similarity.

    Parameters
    ----------
    profiles, label, control, alpha, seed
        As `knn_transfer`.
    group
        What labels have in common, such as the gene that compounds hit; see `choose_group`.
    alignments
        Of these, ``none`` and ``transductive`` are scored: mAP has no folds, so nothing is ``training``.

    Returns
    -------
    Scores, each the mean over labels (or groups) of the mean over their wells:

    ``activity_map``
        Positives: wells of the same label, except another row of the same well; negatives: controls of the same plate.
    ``consistency_map``
        Of the labels' mean profiles. Positives: other labels of the same group; negatives: labels of other groups.
    ``position_control_map``
        Of control wells. Positives: controls at the same position of other plates; negatives: the other controls of the
        same plate. What position alone does for ``activity_map``.
    ``..._random_features``
        The same of features that hold nothing: chance, and what an alignment alone scores.

    Within each cell line where there are several, and over all.
    """
    table, values = _parts(profiles)
    column, controls = choose_label(table, label), control_wells(table, control)
    scores = Scores(seed=seed)
    grouped = choose_group(table, column, group)
    wells = _Wells(table, column, grouped, controls)
    random = random_features(len(values), values.shape[1], seed)
    for suffix, features in (("", values), ("_random_features", random)):
        for mode in alignments:
            if mode == "training":
                continue
            source = _Source(features, wells, alpha if mode == "transductive" else 1.0)
            found = [*_activity(wells, source), *_consistency(wells, source)]
            if mode == "none":
                found += _position(wells, source)
            scores.scores += [_renamed(score, suffix, mode) for score in found]
    names = {score.metric for score in scores.scores}
    if "activity_map" not in names:
        scores.notes.append("No activity mAP: no plate has both control wells and wells with replicates.")
    elif wells.alone:
        scores.notes.append(
            f"Activity mAP leaves out {wells.alone} wells without a replicate or without controls on their plate."
        )
    if grouped is None:
        scores.notes.append("No consistency mAP: no column groups labels. Name one with --group.")
    elif "consistency_map" not in names:
        scores.notes.append(f"No consistency mAP: no two labels have the same {grouped}.")
    return scores


class _Wells:
    """What the metadata says, as arrays."""

    def __init__(self, table: pd.DataFrame, column: str, group: str | None, controls: NDArray[np.bool_]) -> None:
        self.plates = table["Metadata_Plate"].astype(str).to_numpy(str)
        self.positions = table["Metadata_Well"].astype(str).to_numpy(str)
        self.controls = controls
        self.treated = table[column].notna().to_numpy() & ~controls
        self.labels = table[column].astype("string").fillna("").to_numpy(str)
        self.groups = None if group is None else table[group].astype("string").fillna("").to_numpy(str)
        self.alone = 0
        lines = cell_lines(table)
        names = [str(name) for name in np.unique(lines)]
        self.lines = {name: lines == name for name in names}
        self.lines[ALL] = np.ones(len(table), bool)


class _Source:
    """Unit profiles of some rows, aligned over all wells where alpha is below 1."""

    def __init__(self, values: NDArray[np.floating[Any]], wells: _Wells, alpha: float) -> None:
        self.values, self.alpha = values, alpha
        if alpha < 1.0:
            _, self.place = np.unique(wells.positions, return_inverse=True)
            self.centres = np.empty((int(self.place.max()) + 1, values.shape[1]), np.float32)
            for place in range(len(self.centres)):
                rows = np.flatnonzero(self.place == place)
                _, plate, times = np.unique(wells.plates[rows], return_inverse=True, return_counts=True)
                weight = 1.0 / times[plate]  # a plate counts once
                self.centres[place] = (weight / weight.sum()) @ values[rows].astype(np.float64)

    def raw(self, rows: NDArray[np.int64]) -> Floats:
        own = self.values[rows].astype(np.float64)
        return own if self.alpha == 1.0 else self.alpha * own + (1.0 - self.alpha) * self.centres[self.place[rows]]

    def __getitem__(self, rows: NDArray[np.int64]) -> Floats:
        return _unit(self.raw(rows))


def _activity(wells: _Wells, source: _Source) -> Iterator[Score]:
    of_plate = {str(p): np.flatnonzero((wells.plates == p) & wells.controls) for p in np.unique(wells.plates)}
    treated = np.flatnonzero(wells.treated)
    negative: dict[int, Floats] = {}
    for plate, controls in of_plate.items():
        rows = treated[wells.plates[treated] == plate]
        if controls.size and rows.size:
            similar = source[rows] @ source[controls].T
            negative.update(zip(rows.tolist(), similar, strict=True))
    found: dict[str, dict[int, float]] = {line: {} for line in wells.lines}
    for rows in _groups(treated, wells.labels):
        unit = source[rows]
        similar = unit @ unit.T
        same_well = (wells.plates[rows][:, None] == wells.plates[rows]) & (
            wells.positions[rows][:, None] == wells.positions[rows]
        )
        for line, within in wells.lines.items():
            for i in np.flatnonzero(within[rows]):
                row = int(rows[i])
                others = within[rows] & ~same_well[i]
                own = within[of_plate[str(wells.plates[row])]]  # a plate may hold controls of several cell lines
                if own.any() and others.any():
                    found[line][row] = average_precision(similar[i, others], negative[row][own])
    wells.alone = len(treated) - len(found[ALL])
    for line, values in found.items():
        yield from _score("activity_map", line, values, wells.labels)


def _position(wells: _Wells, source: _Source) -> Iterator[Score]:
    found: dict[int, float] = {}
    controls = np.flatnonzero(wells.controls)
    if not controls.size:
        return
    similar = source[controls]
    similar = similar @ similar.T
    for i, row in enumerate(controls):
        same_plate = wells.plates[controls] == wells.plates[row]
        same_position = wells.positions[controls] == wells.positions[row]
        positive, negative = same_position & ~same_plate, same_plate & ~same_position
        if positive.any() and negative.any():
            found[int(row)] = average_precision(similar[i, positive], similar[i, negative])
    yield from _score("position_control_map", ALL, found, wells.positions)


def _consistency(wells: _Wells, source: _Source) -> Iterator[Score]:
    if wells.groups is None:
        return
    for line, within in wells.lines.items():
        members = _groups(np.flatnonzero(wells.treated & within & (wells.groups != "")), wells.labels)
        if len(members) < 3:
            continue
        first = np.array([rows[0] for rows in members])
        mean = _unit(np.stack([source.raw(rows).mean(axis=0) for rows in members]))
        similar = mean @ mean.T
        alike = wells.groups[first][:, None] == wells.groups[first]
        found = {}
        for i, row in enumerate(first):
            others = np.arange(len(first)) != i
            positive, negative = alike[i] & others, ~alike[i]
            if positive.any() and negative.any():
                found[int(row)] = average_precision(similar[i, positive], similar[i, negative])
        yield from _score("consistency_map", line, found, wells.groups)


def _score(metric: str, line: str, found: dict[int, float], names: NDArray[Any]) -> Iterator[Score]:
    if found:
        rows = np.array(sorted(found))
        values = np.array([found[row] for row in rows.tolist()])
        folds = np.zeros(len(rows), np.int64)
        yield Score(metric, None, "cosine", "none", line, line, rows, names[rows], folds, values, by_label=True)


def _renamed(score: Score, suffix: str, mode: str) -> Score:
    return replace(score, metric=score.metric + suffix, alignment=mode)


def _groups(rows: NDArray[np.int64], names: NDArray[Any]) -> list[NDArray[np.int64]]:
    if not rows.size:
        return []
    order = rows[np.argsort(names[rows], kind="stable")]
    return np.split(order, np.flatnonzero(names[order][1:] != names[order][:-1]) + 1)


def _unit(rows: Floats) -> Floats:
    norm = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Floats = rows / np.where(norm == 0.0, 1.0, norm)
    return unit


def _parts(profiles: Profiles) -> tuple[pd.DataFrame, NDArray[np.floating[Any]]]:
    if isinstance(profiles, WellsTable):
        return profiles.metadata, profiles.profiles
    return profiles[0], np.asarray(profiles[1])
