"""The challenge's protocol: k-NN from compounds of training plates to compounds of test plates, controls left out.

On many plates a compound always sits at the same position, so position and compound are confounded, and an alignment
that knows a test well's position knows its label. Scores of aligned profiles name their mode and come with the score of
random features that went the same way; the position control says what position alone would do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring.nearest import Metric
from sslprofiler_core.profiling import WellsTable

from .labels import choose_label, control_wells
from .products import Products
from .scores import COLUMNS, Score, Scores
from .tasks import VARIANTS, Beside, Variant, Wells, run_tasks, tasks_of

__all__ = [
    "ALIGNMENTS",
    "COLUMNS",
    "KS",
    "Alignment",
    "Profiles",
    "Score",
    "Scores",
    "knn_transfer",
    "position_control",
    "random_features",
    "score_position_control",
    "score_transfers",
]

Alignment = Literal["none", "training", "transductive"]
ALIGNMENTS: tuple[Alignment, ...] = ("none", "training", "transductive")

KS = (1, 5, 10, 20)

# Wide enough that random rows are nearly orthogonal; more would only cost time.
RANDOM_WIDTH = 512


class NoTransferError(UserError):
    """No well could be tested on another plate; ``scores`` has the notes that say why."""

    def __init__(self, scores: Scores) -> None:
        super().__init__(f"Nothing could be scored: {' '.join(scores.notes)} Give the wells of at least two plates.")
        self.scores = scores


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
    variants: Sequence[Variant] = (),
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
        ``"none"``; ``"training"``: in each fold the training plates' wells move to their centres, and a test well
        stays, since its position is its label; ``"transductive"``: the paper's, every well of the table, controls
        included, moves to its position's mean over all plates. Each but ``"none"`` brings
        ``knn_accuracy_random_features`` beside ``knn_accuracy``.
    alpha
        Of the alignment, paper 3.3.3.
    variants
        ``"not_same_plate"``: every plate is a fold of its own, all other plates train.
        ``"not_same_well"``: training wells at a tested well's position do not vote on it, so that position cannot give
        its label away; tested are the wells whose label a training plate also has at another position. Both over all
        cell lines together, as ``knn_accuracy_not_same_plate`` and ``knn_accuracy_not_same_well``.
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
        variants=variants,
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
    variants: Sequence[Variant] = (),
    folds: int = 5,
    seed: int = 0,
) -> Scores:
    """`knn_transfer` with the tested wells of each score, for plots of labels and plates."""
    unknown = [mode for mode in alignments if mode not in ALIGNMENTS]
    if unknown:
        raise UserError(f"Unknown alignment {unknown[0]!r}. Choose from {', '.join(ALIGNMENTS)}.")
    strange = [name for name in variants if name not in VARIANTS]
    if strange:
        raise UserError(f"Unknown variant {strange[0]!r}. Choose from {', '.join(VARIANTS)}.")
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
    wells = Wells.of(metadata.iloc[rows], rows, metadata[column].iloc[rows].astype(str).to_numpy(str))
    tasks = list(tasks_of("knn_accuracy", wells, ks, folds, variants, scores))
    aligned = [mode for mode in alignments if mode != "none"]
    beside = Beside.of(metadata, wells) if aligned else None
    taken = rows if beside is None else np.concatenate([rows, beside.rows])
    products = Products(values if len(rows) == len(values) else values[taken])
    run_tasks(scores, tasks, wells, products, metrics, alignments, alpha, beside=beside)
    if aligned:
        # The same random number in the same row whatever is left out.
        random = Products(random_features(len(values), values.shape[1], seed)[taken])
        run_tasks(scores, tasks, wells, random, metrics, aligned, alpha, "_random_features", beside)
    scores.notes[:] = dict.fromkeys(scores.notes)
    if not scores.scores:
        raise NoTransferError(scores)
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
    # Over all cell lines: a position is a position.
    wells = Wells.of(own[["Metadata_Plate", "Metadata_Well"]], rows, own["Metadata_Well"].astype(str).to_numpy(str))
    tasks = list(tasks_of("position_control", wells, ks, folds, (), scores))
    run_tasks(scores, tasks, wells, Products(np.asarray(profiles_WD)[rows]), metrics, ["none"], 1.0)
    scores.notes[:] = [f"Position control: {note}" for note in dict.fromkeys(scores.notes)]
    return scores


def random_features(wells: int, width: int, seed: int) -> NDArray[np.float32]:
    """Features that hold nothing, in the place of profiles: what an alignment alone scores."""
    return np.random.default_rng(seed).standard_normal((wells, min(RANDOM_WIDTH, width)), np.float32)


def _parts(profiles: Profiles) -> tuple[pd.DataFrame, NDArray[np.floating[Any]]]:
    if isinstance(profiles, WellsTable):
        return profiles.metadata, profiles.profiles
    metadata, values = profiles
    values = np.asarray(values)
    if values.ndim != 2 or len(values) != len(metadata):
        raise ValueError(f"profiles of shape {values.shape} do not fit {len(metadata)} rows of metadata")
    return metadata, values
