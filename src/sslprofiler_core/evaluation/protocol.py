"""The challenge's protocol: k-NN from compounds of training plates to compounds of test plates, controls left out.

On many plates a compound always sits at the same position, so position and compound are confounded, and an alignment
that knows a test well's position knows its label. Scores of aligned profiles name their mode and come with the score of
random features that went the same way; the position control says what position alone would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring.nearest import Metric
from sslprofiler_core.profiling import WellsTable, align

from .bootstrap import accuracy_interval
from .classify import knn_predict
from .folds import ALL, CELL_LINE, cell_lines, splits, transfers
from .labels import choose_label, control_wells

Alignment = Literal["none", "training", "transductive"]
ALIGNMENTS: tuple[Alignment, ...] = ("none", "training", "transductive")

KS = (1, 5, 10, 20)
COLUMNS = ["metric", "k", "distance", "alignment", "train", "test", "value", "low", "high", "n"]

# Wide enough that random rows are nearly orthogonal; more would only cost time.
RANDOM_WIDTH = 512


@dataclass(frozen=True, slots=True)
class Score:
    """One accuracy and the wells it is made of.

    ``rows`` are the tested rows of the wells table, ``labels`` their labels, ``folds`` the fold in which each was
    tested, ``correct`` whether it was right.
    """

    metric: str
    k: int
    distance: str
    alignment: str
    train: str
    test: str
    rows: NDArray[np.int64]
    labels: NDArray[Any]
    folds: NDArray[np.int64]
    correct: NDArray[np.bool_]

    @property
    def value(self) -> float:
        """Accuracy, a fraction."""
        return float(self.correct.mean())


@dataclass(slots=True)
class Scores:
    """Scores of one evaluation, and what their reader must know (``notes``)."""

    scores: list[Score] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seed: int = 0

    def table(self) -> pd.DataFrame:
        """One row a score: ``metric, k, distance, alignment, train, test, value, low, high, n``.

        Values are fractions, ``low`` and ``high`` bound 95 % of 1,000 draws of labels; notes are in ``attrs["notes"]``.
        """
        rows = []
        for score in self.scores:
            low, high = accuracy_interval(score.correct, score.labels, self.seed)
            own = {name: value for name, value in asdict(score).items() if name in COLUMNS}
            rows.append({**own, "value": score.value, "low": low, "high": high, "n": len(score.rows)})
        table = pd.DataFrame(rows, columns=COLUMNS)
        table.attrs["notes"] = list(self.notes)
        return table


Profiles: TypeAlias = WellsTable | tuple[pd.DataFrame, NDArray[np.floating[Any]]]


def knn_transfer(
    profiles: Profiles,
    *,
    label: str | None = None,
    control: str | None = None,
    ks: Sequence[int] = KS,
    metrics: Sequence[Metric] = ("cosine",),
    alignments: Sequence[Alignment] = ("none",),
    alpha: float = 0.5,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Score how well neighbours on other plates give a well's label.

    Parameters
    ----------
    profiles
        A wells table, or (metadata, (W, D)); unaligned.
    label
        Column of labels; None as in `choose_label`.
    control
        ``COLUMN=VALUE`` of the wells to leave out; None as in `control_wells`.
    ks
        Numbers of neighbours.
    metrics
        Distances, ``"cosine"`` and ``"euclidean"``.
    alignments
        ``"none"``; ``"training"``: in each fold the training wells move to their centres, and a test well stays, since
        its position is its label; ``"transductive"``: the paper's, every well of the table moves to its position's
        mean over all plates. Each but ``"none"`` brings ``knn_accuracy_random_features`` beside ``knn_accuracy``.
    alpha
        Of the alignment, paper 3.3.3.
    folds
        Folds by plate; at most so many plates are a fold each.
    seed
        Of the folds, the random features and the intervals.

    Returns
    -------
    One row a score; see `Scores.table`. ``train`` and ``test`` are cell lines where ``Metadata_CellType`` has several,
    every pair and ``all``.

    Raises
    ------
    UserError
        For a missing column, one plate only, or an unknown setting.

    Notes
    -----
    Paper 4.1 and the challenge; k-NN as scikit-learn's ``weights="distance"``. A test well whose label no training
    well has counts as wrong, as with scikit-learn: ``n`` is all tested wells. A k above the number of training wells
    gives no row, but a note.
    """
    return score_transfers(
        profiles,
        label=label,
        control=control,
        ks=ks,
        metrics=metrics,
        alignments=alignments,
        alpha=alpha,
        folds=folds,
        seed=seed,
    ).table()


def score_transfers(
    profiles: Profiles,
    *,
    label: str | None = None,
    control: str | None = None,
    ks: Sequence[int] = KS,
    metrics: Sequence[Metric] = ("cosine",),
    alignments: Sequence[Alignment] = ("none",),
    alpha: float = 0.5,
    folds: int = 5,
    seed: int = 0,
) -> Scores:
    """`knn_transfer` with the tested wells of each score, for plots of labels and plates."""
    unknown = [mode for mode in alignments if mode not in ALIGNMENTS]
    if unknown:
        raise UserError(f"Unknown alignment {unknown[0]!r}. Choose from {', '.join(ALIGNMENTS)}.")
    metadata, values = _parts(profiles)
    column = choose_label(metadata, label)
    scores = Scores(seed=seed)
    controls = control_wells(metadata, control)
    labelled = metadata[column].notna().to_numpy()
    blank = int((~labelled & ~controls).sum())
    if blank:
        scores.notes.append(f"{blank} wells have no {column} and are left out.")
    rows = np.flatnonzero(labelled & ~controls)
    if not rows.size:
        raise UserError(f"No well but controls has a {column}. Choose another --label or --control.")
    wells = _Wells.of(metadata.iloc[rows], rows, metadata[column].iloc[rows].astype(str).to_numpy(str))
    kept = values[rows]
    random = None
    for alignment in alignments:
        _score_all(scores, "knn_accuracy", wells, kept, ks, metrics, alignment, alpha, folds)
        if alignment != "none":
            if random is None:
                width = min(RANDOM_WIDTH, values.shape[1])
                random = np.random.default_rng(seed).standard_normal((len(values), width), np.float32)[rows]
            name = "knn_accuracy_random_features"
            _score_all(scores, name, wells, random, ks, metrics, alignment, alpha, folds)
    if not scores.scores:
        raise UserError(
            "Nothing could be scored: " + " ".join(scores.notes) + " Give the wells of at least two plates."
        )
    scores.notes[:] = dict.fromkeys(scores.notes)
    return scores


def position_control(
    metadata: pd.DataFrame,
    profiles_WD: NDArray[np.floating[Any]],
    *,
    control: str | None = None,
    ks: Sequence[int] = KS,
    metrics: Sequence[Metric] = ("cosine",),
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Score how well position alone is recognised: k-NN from control wells to their well position on other plates.

    All these wells hold the same vehicle, so whatever is above chance (one over the number of positions) is a position
    effect, which a compound that always sits at one position profits from.

    Parameters and returns as `knn_transfer`, ``metric`` being ``position_control``; no rows, and a note, where controls
    are on fewer than two plates.
    """
    return score_position_control(
        metadata, profiles_WD, control=control, ks=ks, metrics=metrics, folds=folds, seed=seed
    ).table()


def score_position_control(
    metadata: pd.DataFrame,
    profiles_WD: NDArray[np.floating[Any]],
    *,
    control: str | None = None,
    ks: Sequence[int] = KS,
    metrics: Sequence[Metric] = ("cosine",),
    folds: int = 5,
    seed: int = 0,
) -> Scores:
    """`position_control` with the tested wells of each score."""
    scores = Scores(seed=seed)
    rows = np.flatnonzero(control_wells(metadata, control))
    own = metadata.iloc[rows]
    if own["Metadata_Plate"].nunique() < 2:
        scores.notes.append("No position control: fewer than two plates have control wells.")
        return scores
    wells = _Wells.of(own.drop(columns=CELL_LINE, errors="ignore"), rows, own["Metadata_Well"].to_numpy(str))
    values = np.asarray(profiles_WD)[rows]
    _score_all(scores, "position_control", wells, values, ks, metrics, "none", 1.0, folds)
    scores.notes[:] = [f"Position control: {note}" for note in dict.fromkeys(scores.notes)]
    return scores


@dataclass(frozen=True, slots=True)
class _Wells:
    rows: NDArray[np.int64]
    plates: NDArray[Any]
    positions: NDArray[Any]
    lines: NDArray[Any]
    labels: NDArray[Any]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, metadata: pd.DataFrame, rows: NDArray[np.int64], labels: NDArray[Any]) -> _Wells:
        return cls(
            rows,
            metadata["Metadata_Plate"].astype(str).to_numpy(str),
            metadata["Metadata_Well"].astype(str).to_numpy(str),
            cell_lines(metadata),
            labels,
            np.unique(labels, return_inverse=True)[1].astype(np.int64),
        )


def _parts(profiles: Profiles) -> tuple[pd.DataFrame, NDArray[np.floating[Any]]]:
    if isinstance(profiles, WellsTable):
        return profiles.metadata, profiles.profiles
    metadata, values = profiles
    values = np.asarray(values)
    if values.ndim != 2 or len(values) != len(metadata):
        raise ValueError(f"profiles of shape {values.shape} do not fit {len(metadata)} rows of metadata")
    return metadata, values


def _score_all(
    scores: Scores,
    metric: str,
    wells: _Wells,
    values: NDArray[np.floating[Any]],
    ks: Sequence[int],
    distances: Sequence[Metric],
    alignment: Alignment,
    alpha: float,
    folds: int,
) -> None:
    if alignment == "transductive":
        values = align(values, wells.plates, wells.positions, alpha)
    for train, test in transfers(wells.lines):
        cuts = list(splits(wells.plates, wells.lines, train, test, folds, scores.seed))
        name = "the table" if train == ALL else f"cell line {train}"
        if not cuts:
            scores.notes.append(f"{train} -> {test} is not scored: {name} has one plate only, and folds are by plate.")
            continue
        fewest = min(int(training.sum()) for training, _ in cuts)
        fitting = [k for k in ks if k <= fewest]
        for k in ks:
            if k > fewest:
                scores.notes.append(f"{train} -> {test}: no score for k = {k}, a fold has {fewest} training wells.")
        if not fitting:
            continue
        strange = sum(int((~np.isin(wells.codes[te], wells.codes[tr])).sum()) for tr, te in cuts)
        if strange:
            total = sum(int(te.sum()) for _, te in cuts)
            scores.notes.append(
                f"{train} -> {test}: {strange} of {total} test wells have a label that no training well has; "
                "they count as wrong."
            )
        for distance in distances:
            correct: dict[int, list[NDArray[np.bool_]]] = {k: [] for k in fitting}
            for training, tested in cuts:
                moved = values
                if alignment == "training":
                    moved = align(values, wells.plates, wells.positions, alpha, training)
                found = knn_predict(moved[training], wells.codes[training], moved[tested], fitting, distance)
                for k in fitting:
                    correct[k].append(found[k] == wells.codes[tested])
            at = np.concatenate([np.flatnonzero(tested) for _, tested in cuts])
            number = np.repeat(np.arange(len(cuts)), [int(tested.sum()) for _, tested in cuts])
            for k in fitting:
                scores.scores.append(
                    Score(
                        metric,
                        k,
                        distance,
                        alignment,
                        train,
                        test,
                        wells.rows[at],
                        wells.labels[at],
                        number,
                        np.concatenate(correct[k]),
                    )
                )
