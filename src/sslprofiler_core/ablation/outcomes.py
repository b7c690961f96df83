"""What a row at a seed scored, well by well, as a file; and means with intervals over seeds and plates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.evaluation import Score, Scores, score_position_control, score_transfers
from sslprofiler_core.evaluation.protocol import ALIGNMENTS
from sslprofiler_core.profiling import WellsTable

KS = (1, 5, 10, 20)
POSITION = "position_control"
_DRAWS = 2000


@dataclass(frozen=True)
class Mean:
    """A mean and 95 % of its draws; fractions."""

    value: float
    low: float
    high: float


def score_wells(table: WellsTable, alpha: float, seed: int) -> pd.DataFrame:
    """Score a wells table in every mode.

    Returns
    -------
    One row a score and plate, over all cell lines together: ``metric, k, alignment, plate, right, n``. Chance is in
    ``attrs["chance"]``.
    """
    scores = score_transfers(table, ks=KS, alignments=ALIGNMENTS, alpha=alpha, seed=seed)
    control = score_position_control(table.metadata, table.profiles, ks=KS, seed=seed)
    plates = table.metadata["Metadata_Plate"].to_numpy()
    parts = [_by_plate(score, plates) for each in (scores, control) for score in _whole(each)]
    found = pd.concat(parts, ignore_index=True)
    labels = next(score for score in scores.scores if score.train == "all").labels
    found.attrs["chance"] = 1.0 / len(np.unique(labels))
    return found


def _whole(scores: Scores) -> list[Score]:
    return [score for score in scores.scores if score.train == "all" and score.test == "all"]


def _by_plate(score: Score, plates_W: NDArray[Any]) -> pd.DataFrame:
    own = pd.DataFrame({"plate": plates_W[score.rows], "right": score.correct.astype(np.float64)})
    table = own.groupby("plate", sort=True)["right"].agg(["sum", "size"]).reset_index()
    table.columns = ["plate", "right", "n"]
    return table.assign(metric=score.metric, k=score.k, alignment=score.alignment)[
        ["metric", "k", "alignment", "plate", "right", "n"]
    ]


def write_scores(path: Path, table: pd.DataFrame) -> None:
    """Write scores whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    table.to_parquet(beside)
    beside.replace(path)


def mean_of(tables: Sequence[pd.DataFrame], metric: str, k: int, alignment: str = "none") -> Mean | None:
    """Mean over seeds (a table each), with its interval over seeds and plates; None where nothing was scored."""
    grids = [_grid(table, metric, k, alignment) for table in tables]
    return None if not grids or any(grid.empty for grid in grids) else _interval(grids)


def difference_of(
    tables: Sequence[pd.DataFrame], others: Sequence[pd.DataFrame], k: int, alignment: str = "none"
) -> Mean | None:
    """Mean of a row's accuracy minus another's, paired by seed and plate: what both have in common cancels."""
    pairs = [
        (_grid(one, "knn_accuracy", k, alignment), _grid(other, "knn_accuracy", k, alignment))
        for one, other in zip(tables, others, strict=True)
    ]
    if not pairs or any(one.empty or not one.index.equals(other.index) for one, other in pairs):
        return None
    return _interval([one.assign(right=one["right"] - other["right"]) for one, other in pairs])


def _grid(table: pd.DataFrame, metric: str, k: int, alignment: str) -> pd.DataFrame:
    own = table[(table["metric"] == metric) & (table["k"] == k) & (table["alignment"] == alignment)]
    return own.set_index("plate")[["right", "n"]].sort_index()


def _interval(grids: Sequence[pd.DataFrame]) -> Mean:
    """Mean of right over n, and percentiles of draws of seeds and of plates with replacement."""
    right_SP = np.stack([grid["right"].to_numpy(np.float64) for grid in grids])
    wells_SP = np.stack([grid["n"].to_numpy(np.float64) for grid in grids])
    seeds, plates = right_SP.shape
    random = np.random.default_rng(0)
    seed_DS = random.multinomial(seeds, np.full(seeds, 1 / seeds), _DRAWS)
    plate_DP = random.multinomial(plates, np.full(plates, 1 / plates), _DRAWS)
    drawn = np.einsum("ds,sp,dp->d", seed_DS, right_SP, plate_DP) / np.einsum(
        "ds,sp,dp->d", seed_DS, wells_SP, plate_DP
    )
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Mean(float(right_SP.sum() / wells_SP.sum()), float(low), float(high))
