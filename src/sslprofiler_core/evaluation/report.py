"""``evaluate``: a table of scores and a report that says what they rest on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring.nearest import Metric
from sslprofiler_core.profiling import WellsTable, read_wells

from .protocol import ALIGNMENTS, Alignment, score_position_control, score_transfers
from .sections import Evaluation


def evaluate(
    wells: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    label: str | None = None,
    control: str | None = None,
    align: float | None = None,
    clip: float | None = None,
    umap: bool = True,
    seed: int = 0,
) -> Path:
    """Evaluate well profiles: write ``metrics.csv`` and ``report.html``, and print a short table.

    Parameters
    ----------
    wells
        A wells table (or several), unaligned; see `read_wells`.
    out
        Folder of the report.
    label, control
        See `choose_label` and `control_wells`.
    align
        Alpha of paper 3.3.3: scores the alignment modes ``training`` and ``transductive`` beside ``none``, each with
        random features. None: ``none`` only.
    clip
        Features are cut to plus and minus this; None leaves them.
    umap
        Whether the report has a map, which takes about ten seconds.
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
    table = read_wells(wells)
    if clip is not None:
        if not clip > 0:
            raise UserError(f"--clip {clip} is not positive. Give the largest absolute value to keep, such as 10.")
        table = WellsTable(table.metadata, np.clip(table.profiles, -clip, clip), table.info)
    modes: tuple[Alignment, ...] = ALIGNMENTS if align is not None else ("none",)
    metrics: tuple[Metric, ...] = ("cosine", "euclidean")
    alpha = 1.0 if align is None else align
    scores = score_transfers(
        table, label=label, control=control, metrics=metrics, alignments=modes, alpha=alpha, seed=seed
    )
    position = score_position_control(table.metadata, table.profiles, control=control, metrics=metrics, seed=seed)
    tables = [scored.table() for scored in (scores, position) if scored.scores]
    numbers = pd.concat(tables, ignore_index=True)
    numbers.to_csv(out / "metrics.csv", index=False)
    report = Evaluation(table, scores, position, numbers, label, control, align, clip, seed)
    path = report.build(umap=umap).write(out / "report.html")
    print(report.summary())
    return path


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder {out}: {error.strerror}. Choose another --out.") from error
    if not os.access(out, os.W_OK):
        raise UserError(f"The folder {out} cannot be written. Choose another --out.")
