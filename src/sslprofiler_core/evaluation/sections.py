"""The sections of an evaluation's report, and its short form for a terminal."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import WellsTable

from .figures import accuracy_bars, accuracy_per_label, replicate_similarities, replicate_similarity, transfer_matrix
from .folds import ALL, CELL_LINE
from .html import Report, Tile
from .labels import choose_label, control_wells
from .maps import plate_heat_maps, umap_panels
from .protocol import Score, Scores
from .style import STYLE

MODE_TEXT = {
    "none": "no alignment",
    "training": "training wells aligned",
    "transductive": "all wells aligned",
}
FEATURE_TEXT = {"knn_accuracy": "", "knn_accuracy_random_features": ", random features"}

# What can be quoted in colour, what cannot in grey.
COLOURS = {
    ("knn_accuracy", "none"): "#7fb0d9",
    ("knn_accuracy", "training"): STYLE.palette[0],
    ("knn_accuracy_random_features", "training"): STYLE.palette[1],
    ("knn_accuracy", "transductive"): "#8a959f",
    ("knn_accuracy_random_features", "transductive"): STYLE.palette[1],
}


class Evaluation:
    """What a report is made of; each method adds one section."""

    def __init__(
        self,
        table: WellsTable,
        scores: Scores,
        position: Scores,
        numbers: pd.DataFrame,
        label: str | None,
        control: str | None,
        align: float | None,
        clip: float | None,
        seed: int,
    ) -> None:
        self.table, self.scores, self.position, self.numbers = table, scores, position, numbers
        self.column = choose_label(table.metadata, label)
        self.controls = control_wells(table.metadata, control)
        self.align, self.clip, self.seed = align, clip, seed
        self.headline_mode = "training" if align is not None else "none"
        self.headline = self._score("knn_accuracy", 1, self.headline_mode)
        self.labels = len(np.unique(self.headline.labels))
        self.chance = 1.0 / self.labels

    @property
    def notes(self) -> list[str]:
        """What was left out, and why."""
        return [*self.scores.notes, *self.position.notes]

    def warnings(self) -> list[str]:
        """What the reader must know before any figure."""
        texts = []
        done = self.table.info.get("alignment")
        if done:
            texts.append(
                f"These profiles were already aligned (alpha {done.get('alpha')}, {done.get('mode')}): every well, "
                "tested ones included, was moved toward its position, which is its label. No score below is an honest "
                "one. Profile without --align and evaluate again."
            )
        return texts

    def summary(self) -> str:
        """A short table for the terminal."""
        ours = self.numbers[(self.numbers.distance == "cosine") & (self.numbers.train == self.headline.train)]
        ours = ours[ours.test == self.headline.test]
        lines = [
            f"{self.column}: {self.labels} labels, {len(self.headline.rows)} wells, chance {100 * self.chance:.1f} %"
        ]
        ks = sorted(ours.k.unique())
        lines.append(f"{'accuracy in %, cosine':<48}" + "".join(f"{f'k = {k}':>9}" for k in ks))
        for key in dict.fromkeys(zip(ours.metric, ours.alignment, strict=True)):
            by_k = ours[(ours.metric == key[0]) & (ours.alignment == key[1])].set_index("k")["value"]
            control = key[0] == "position_control"
            name = "position control" if control else f"k-NN, {MODE_TEXT[key[1]]}{FEATURE_TEXT[key[0]]}"
            lines.append(f"{name:<48}" + "".join(f"{100 * by_k[k]:9.1f}" if k in by_k else " " * 9 for k in ks))
        return "\n".join(lines + [f"Note: {text}" for text in self.warnings() + self.notes])

    def build(self, *, umap: bool = True) -> Report:
        """The whole report."""
        metadata = self.table.metadata
        plates = metadata["Metadata_Plate"].nunique()
        subtitle = (
            f"{len(metadata):,} wells on {plates} plates, {self.table.profiles.shape[1]:,} values a profile, "
            f"labels from {self.column}"
        )
        report = Report("How well do these profiles find their own kind?", subtitle)
        self._headline(report)
        self._accuracy(report)
        self._position(report)
        self._labels(report)
        if umap:
            self._map(report)
        self._method(report)
        return report

    def _headline(self, report: Report) -> None:
        for text in self.warnings():
            report.notice(text)
        score = self.headline
        low, high = self._interval(score)
        aligned = " with training wells aligned" if self.headline_mode == "training" else ""
        tiles = [
            Tile(
                "1-NN accuracy",
                f"{100 * score.value:.1f} %",
                f"95 % interval {low:.1f} to {high:.1f};{aligned or ' no alignment'}",
            ),
            Tile("Chance", f"{100 * self.chance:.1f} %", f"{self.labels} labels", muted=True),
        ]
        control = self._find(self.position, "position_control", 1, "none")
        if control is not None:
            positions = len(np.unique(control.labels))
            tiles.append(
                Tile(
                    "Position control",
                    f"{100 * control.value:.1f} %",
                    f"controls to their well position; chance {100 / positions:.1f} %",
                    muted=True,
                )
            )
        tiles.append(
            Tile("Tested wells", f"{len(score.rows):,}", f"{int(self.controls.sum()):,} controls left out", muted=True)
        )
        report.tiles(tiles)

    def _accuracy(self, report: Report) -> None:
        report.heading("Accuracy")
        cosine = self.numbers[(self.numbers.distance == "cosine") & self._overall(self.numbers)]
        names = {key: MODE_TEXT[mode] + FEATURE_TEXT[metric] for key in COLOURS for metric, mode in [key]}
        own = cosine[cosine.metric != "position_control"]
        own = own.assign(
            series=[names[metric, mode] for metric, mode in zip(own.metric, own.alignment, strict=True)],
            group="k = " + own.k.astype(str),
        )
        report.figure(
            accuracy_bars(
                own,
                chance=self.chance,
                colours=[COLOURS[key] for key in names if names[key] in set(own.series)],
                hatched=[names[key] for key in names if key[1] == "transductive"],
            ),
            "k-NN on other plates: does the label of a well's nearest neighbours match its own? Whiskers are 95 % "
            "intervals over labels. Bars whose whiskers overlap by much are not told apart by these data."
            + (" Hollow bars are no evidence: see below." if self.align is not None else ""),
            alt="Bars of accuracy by number of neighbours and alignment mode",
        )
        if self.align is not None:
            self._alignment_warning(report)
        wide = (
            self.numbers[self._overall(self.numbers) & (self.numbers.metric != "position_control")]
            .assign(
                features=lambda f: f.metric.map(
                    {"knn_accuracy": "these profiles", "knn_accuracy_random_features": "random features"}
                ),
                alignment=lambda f: f.alignment.map(MODE_TEXT),
                k=lambda f: "k = " + f.k.astype(str),
            )
            .pivot_table(index=["alignment", "features", "distance"], columns="k", values="value", sort=False)
        )
        wide = (100 * wide).reset_index()
        wide.columns.name = None
        formats = {name: "{:.1f}" for name in wide.columns if str(name).startswith("k = ")}
        honest = [i for i, (mode, kind) in enumerate(zip(wide.alignment, wide.features, strict=True))
                  if mode == MODE_TEXT[self.headline_mode] and kind == "these profiles"]  # fmt: skip
        report.table(wide, "Accuracy in %. The shaded rows are the ones to quote.", formats=formats, strong=honest)
        pairs = self.numbers[
            (self.numbers.metric == "knn_accuracy")
            & (self.numbers.distance == "cosine")
            & (self.numbers.alignment == self.headline_mode)
            & (self.numbers.train != ALL)
        ]
        if len(pairs):
            report.heading("From one cell line to another")
            with report.row():
                for k in (1, 5):
                    at = pairs[pairs.k == k]
                    if len(at):
                        report.figure(
                            transfer_matrix(at, title=f"k = {k}", chance=self.chance),
                            f"Accuracy in %, {MODE_TEXT[self.headline_mode]}. On the diagonal a cell line is tested on "
                            "its own other plates; off it, what is lost did not carry over.",
                        )

    def _alignment_warning(self, report: Report) -> None:
        fooled = self._find(self.scores, "knn_accuracy_random_features", 1, "transductive")
        if fooled is None:
            return
        score = f"random features score {100 * fooled.value:.1f} % that way, chance being {100 * self.chance:.1f} %"
        if self._interval(fooled)[0] <= 100 * self.chance:
            report.notice(
                f"Alignment over all wells also moves the tested ones toward their position. Here {score}: positions "
                "do not give the labels away.",
                "note",
            )
            return
        report.notice(
            [
                "Alignment over all wells also moves the tested ones toward their position, and here a position gives "
                f"its label away: {score}. A score of that mode says nothing about the profiles.",
                "With training wells aligned, a tested well stays where it is: that score can be quoted.",
            ]
        )

    def _position(self, report: Report) -> None:
        report.heading("Is it the compound, or the position?")
        if not self.position.scores:
            report.notice(self.position.notes, "note")
        rows = self.numbers[(self.numbers.metric == "position_control") & (self.numbers.distance == "cosine")]
        grid = {"1-NN accuracy of the labels, %": self._per_well(self.headline)}
        control = self._find(self.position, "position_control", 1, "none")
        if control is not None:
            positions = len(np.unique(control.labels))
            report.paragraph(
                "All control wells hold the same. The nearest neighbour of a control well, among the controls of other "
                f"plates, sits at the same position in {100 * control.value:.1f} % of cases; chance is "
                f"{100 / positions:.1f} %. Whatever is above chance is a position effect, and compounds that sit at "
                "the same position on every plate profit from it."
            )
            grid["Position control, %"] = self._per_well(control)
            report.table(
                rows.assign(**{"accuracy (%)": 100 * rows.value, "low": 100 * rows.low, "high": 100 * rows.high})[
                    ["k", "accuracy (%)", "low", "high", "n"]
                ],
                "Position control, with 95 % intervals.",
                formats={"accuracy (%)": "{:.1f}", "low": "{:.1f}", "high": "{:.1f}"},
            )
        report.figure(
            plate_heat_maps(grid, label="right (%)", limits=(0.0, 100.0)),
            "Mean over plates, where the wells lie. Borders, rows or columns that stand out are effects of position. "
            "Grey: no such well.",
            alt="Plate heat maps of accuracy",
        )

    def _labels(self, report: Report) -> None:
        report.heading("Which labels are found")
        rows = self.headline.rows
        plates = self.table.metadata["Metadata_Plate"].astype(str).to_numpy(str)[rows]
        pairs = replicate_similarities(self.table.profiles[rows], self.headline.labels, plates, seed=self.seed)
        with report.row():
            report.figure(
                accuracy_per_label(
                    self.headline.labels, self.headline.correct, chance=self.chance, title="Accuracy of each label"
                ),
                f"1-NN, {MODE_TEXT[self.headline_mode]}. A few labels that are always found and many that never are "
                "have the same mean as many that sometimes are.",
            )
            report.figure(
                replicate_similarity(*pairs, title="Similarity of replicates"),
                "Pairs of wells on different plates, each plate's mean profile subtracted, no alignment. The further "
                "the blue stands to the right of the grey, the more reproducible the phenotypes.",
            )

    def _map(self, report: Report) -> None:
        from sslprofiler_core.exploring import umap_layout

        report.heading("Map of wells")
        metadata = self.table.metadata
        rows = np.arange(len(metadata))
        if len(rows) > 5000:  # more points hide each other
            rows = np.sort(np.random.default_rng(self.seed).choice(rows, 5000, replace=False))
        layout = umap_layout(self.table.profiles[rows], seed=self.seed)
        labels = metadata[self.column].astype("string").fillna("no label").to_numpy(str)
        labels = np.where(self.controls, "control", labels)[rows]
        panels = {self.column.removeprefix("Metadata_"): labels}
        if CELL_LINE in metadata and metadata[CELL_LINE].nunique() > 1:
            panels["Cell line"] = metadata[CELL_LINE].astype(str).to_numpy(str)[rows]
        panels["Plate"] = metadata["Metadata_Plate"].astype(str).to_numpy(str)[rows]
        wells = metadata["Metadata_Well"].astype(str)
        columns = pd.to_numeric(wells.str.extract(r"(\d+)$")[0], errors="coerce")
        if columns.notna().all():
            panels["Column on the plate"] = columns.to_numpy(float)[rows]
        report.figure(
            umap_panels(layout, panels, columns=3 if len(panels) == 3 else 2, background="control"),
            "Wells near each other have similar profiles (UMAP, cosine, 15 neighbours, no alignment). Islands of one "
            "label are phenotypes; islands of one plate or a drift along columns are not. Axes and distances between "
            "islands mean nothing.",
            alt="UMAP of wells by label, plate and position",
            image="png",
        )

    def _method(self, report: Report) -> None:
        report.heading("How this was measured")
        folds = len(np.unique(self.headline.folds))
        clip = f" Features were cut to ±{self.clip:g}." if self.clip is not None else ""
        alpha = f" Alignment with alpha = {self.align:g}." if self.align is not None else ""
        report.paragraph(
            f"k-NN with votes weighted by 1 / distance; {folds} folds by plate, so that no plate is on both sides; "
            f"{int(self.controls.sum())} control wells left out; a tested well whose label is on no training plate "
            f"counts as wrong.{clip}{alpha} Intervals: 1,000 draws of labels with replacement. Seed {self.seed}. "
            "All scores: `metrics.csv` beside this file."
        )
        if self.notes:
            report.notice(self.notes, "note")

    def _per_well(self, score: Score) -> tuple[list[str], NDArray[np.float64]]:
        wells = self.table.metadata["Metadata_Well"].astype(str).to_numpy(str)[score.rows]
        return [str(name) for name in wells], 100.0 * score.correct.astype(np.float64)

    def _overall(self, frame: pd.DataFrame) -> pd.Series[bool]:
        return (frame["train"] == self.headline.train) & (frame["test"] == self.headline.test)

    def _interval(self, score: Score) -> tuple[float, float]:
        rows = self.numbers[
            self._overall(self.numbers)
            & (self.numbers.metric == score.metric)
            & (self.numbers.k == score.k)
            & (self.numbers.distance == score.distance)
            & (self.numbers.alignment == score.alignment)
        ]
        return 100 * float(rows.low.iloc[0]), 100 * float(rows.high.iloc[0])

    def _score(self, metric: str, k: int, alignment: str) -> Score:
        found = self._find(self.scores, metric, k, alignment)
        if found is None:
            raise UserError(f"Nothing could be scored with k = {k}: {' '.join(self.scores.notes)}")
        return found

    @staticmethod
    def _find(scores: Scores, metric: str, k: int, alignment: str) -> Score | None:
        """The cosine score over all wells, or over what comes closest to all."""
        found = [s for s in scores.scores if (s.metric, s.k, s.alignment) == (metric, k, alignment)]
        found = [s for s in found if s.distance == "cosine"]
        return max(found, key=lambda s: len(s.rows), default=None)
