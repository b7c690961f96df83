"""``evaluate``: a table of scores and a report that says what they rest on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring.nearest import Metric
from sslprofiler_core.profiling import WellsTable, read_wells
from sslprofiler_core.profiling.alignment import check_alpha

from .checks import check_wells
from .facts import Evaluation, Settings
from .labels import choose_group, choose_label
from .precision import score_precision
from .protocol import ALIGNMENTS, Alignment, NoTransferError, score_position_control, score_transfers
from .scores import Scores
from .sections import build, summary
from .tasks import VARIANTS

METRICS: tuple[Metric, ...] = ("cosine", "euclidean")


def evaluate(
    wells: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    label: str | None = None,
    control: str | None = None,
    group: str | None = None,
    align: float | None = None,
    clip: float | None = None,
    folds: int = 5,
    umap: bool = True,
    fast: bool = False,
    seed: int = 0,
) -> Path:
    """Evaluate well profiles: write ``metrics.csv`` and ``report.html``, and print a short table.

    Parameters
    ----------
    wells
        A wells table (or several), unaligned; see `read_wells`.
    out
        Folder of the report.
    label, control, group
        See `choose_label`, `control_wells` and `choose_group`.
    align
        Alpha of paper 3.3.3: scores the alignment modes ``training`` and ``transductive`` beside ``none``, each with
        random features. None: ``none`` only.
    clip
        Features are cut to plus and minus this; None leaves them.
    folds
        Folds by plate; at most so many plates are a fold each.
    umap
        Whether the report has a map.
    fast
        Leaves out what takes most time on many wells: mAP, intervals and the map.
    seed
        Of folds, random features, intervals and map.

    Returns
    -------
    The report's path.

    Raises
    ------
    UserError
        For what cannot be read, labelled, split or written.
    """
    out = Path(out)
    _make_folder(out)
    if align is not None:
        check_alpha(align)
    if folds < 2:
        raise UserError(f"--folds {folds} leaves nothing to train on. Give 2 or more.")
    table, warnings, notes = check_wells(_clipped(read_wells(wells), clip))
    found = score_all(table, label=label, control=control, group=group, align=align, folds=folds, seed=seed, fast=fast)
    found.notes[:0] = notes
    numbers = found.table(intervals=not fast)
    numbers.to_csv(out / "metrics.csv", index=False)
    evaluation = Evaluation(table, found, numbers, Settings(label, control, group, align, clip, seed), warnings)
    path = build(evaluation, umap=umap and not fast).write(out / "report.html")
    print(summary(evaluation))
    return path


def score_all(
    table: WellsTable,
    *,
    label: str | None = None,
    control: str | None = None,
    group: str | None = None,
    align: float | None = None,
    folds: int = 5,
    seed: int = 0,
    fast: bool = False,
) -> Scores:
    """Every score that `evaluate` writes, of a table of unaligned wells; parameters as there."""
    choose_group(table.metadata, choose_label(table.metadata, label), group)  # said now, not after the neighbours
    modes: tuple[Alignment, ...] = ALIGNMENTS if align is not None else ("none",)
    alpha = 1.0 if align is None else align
    nothing: NoTransferError | None = None
    try:
        scores = score_transfers(
            table,
            label=label,
            control=control,
            metrics=METRICS,
            alignments=modes,
            alpha=alpha,
            variants=VARIANTS,
            folds=folds,
            seed=seed,
        )
    except NoTransferError as error:  # one plate: whether its wells differ from their controls can still be told
        nothing, scores = error, error.scores
    others = [
        score_position_control(table.metadata, table.profiles, control=control, metrics=METRICS, folds=folds, seed=seed)
    ]
    if not fast:
        others.append(
            score_precision(table, label=label, control=control, group=group, alignments=modes, alpha=alpha, seed=seed)
        )
    for other in others:
        scores.scores += other.scores
        scores.notes += other.notes
    if nothing is not None and not any(score.metric == "activity_map" for score in scores.scores):
        raise UserError(f"{nothing} Without --fast, activity is scored on one plate, too.") if fast else nothing
    return scores


def _clipped(table: WellsTable, clip: float | None) -> WellsTable:
    if clip is None:
        return table
    if not clip > 0:
        raise UserError(f"--clip {clip} is not positive. Give the largest absolute value to keep, such as 10.")
    own = table.profiles if table.profiles.flags.writeable else None  # in place: it may fill half the memory
    return WellsTable(table.metadata, np.clip(table.profiles, -clip, clip, out=own), table.info)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {out}: {error.strerror}. Choose another --out.") from error
    if not os.access(out, os.W_OK):
        raise UserError(f"The folder {out} cannot be written. Choose another --out.")
