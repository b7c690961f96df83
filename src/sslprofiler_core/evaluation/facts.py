"""What a report is made of: the table, its scores, and what follows from them for a reader."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import WellsTable

from .labels import choose_label, control_wells
from .scores import Score, Scores

MODE_TEXT = {
    "none": "no alignment",
    "training": "training wells aligned",
    "transductive": "all wells aligned",
}
RANDOM = "_random_features"
NAMES = ("Metadata_pert_iname", "Metadata_compound_name", "Metadata_Compound_Name")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the user asked for; see `evaluate`."""

    label: str | None = None
    control: str | None = None
    group: str | None = None
    align: float | None = None
    clip: float | None = None
    seed: int = 0


class Evaluation:
    """A table of wells, its scores and the score to quote.

    ``headline`` is the 1-NN accuracy on other plates, None where all wells are on one; ``main`` is it or, without it,
    activity's mAP.

    Parameters
    ----------
    table
        Wells as they were scored.
    scores, numbers
        The scores, and the table that was written of them.
    settings
        As asked for.
    warnings
        What makes scores wrong.
    """

    def __init__(
        self, table: WellsTable, scores: Scores, numbers: pd.DataFrame, settings: Settings, warnings: list[str]
    ) -> None:
        self.table, self.scores, self.numbers, self.settings = table, scores, numbers, settings
        self.column = choose_label(table.metadata, settings.label)
        self.controls = control_wells(table.metadata, settings.control)
        self.mode = "training" if settings.align is not None else "none"
        self.headline = self.find("knn_accuracy", self.mode)
        main = self.headline or self.find("activity_map", "none", None)
        if main is None:
            raise UserError(f"Nothing could be scored with k = 1: {' '.join(scores.notes)}")
        self.main = main
        self.labels = len(np.unique(main.labels))
        self.chance = 1.0 / self.labels
        self.warnings = list(warnings)
        done = table.info.get("alignment")
        if done:
            self.warnings.append(
                f"These profiles were already aligned (alpha {done.get('alpha')}, {done.get('mode')}): every well, "
                "tested ones included, was moved toward its position, which is its label. No score below is an honest "
                "one. Profile without --align and evaluate again."
            )

    @property
    def folds(self) -> int:
        """Folds by plate of the headline; 0 without one."""
        return 0 if self.headline is None else len(np.unique(self.headline.folds))

    def find(self, metric: str, alignment: str, k: int | None = 1) -> Score | None:
        """The cosine score over all wells, or over what comes closest to all."""
        found = [s for s in self.scores.scores if (s.metric, s.k, s.alignment) == (metric, k, alignment)]
        return max((s for s in found if s.distance == "cosine"), key=lambda s: len(s.rows), default=None)

    def overall(self) -> pd.DataFrame:
        """Rows of the numbers that are of the same wells as the main score."""
        same = (self.numbers.train == self.main.train) & (self.numbers.test == self.main.test)
        return self.numbers[same]

    def interval(self, score: Score) -> str:
        """``48.1 to 53.4`` in %, empty where intervals were not asked for."""
        rows = self.numbers
        for name in ("metric", "distance", "alignment", "train", "test"):
            rows = rows[rows[name] == getattr(score, name)]
        rows = rows[rows.k.isna()] if score.k is None else rows[rows.k == score.k]
        low, high = float(rows.low.iloc[0]), float(rows.high.iloc[0])
        return "" if np.isnan(low) else f"{100 * low:.1f} to {100 * high:.1f}"

    def readable(self) -> NDArray[np.str_]:
        """A name of each well that people know: the compound's, where the label is its catalogue number."""
        metadata = self.table.metadata
        labels = metadata[self.column].astype("string")
        for name in NAMES:
            if name in metadata:
                pairs = metadata[[self.column, name]].dropna().drop_duplicates()
                if not pairs[self.column].duplicated().any():
                    names = metadata[name].astype("string").fillna(labels)
                    shared = metadata[name].isin(pairs[name][pairs[name].duplicated()])
                    labels = names.where(~shared, names + " " + labels)  # two labels of one name stay two
                    break
        return np.where(self.controls, "control", labels.fillna("no label").to_numpy(str))
