"""Sections of an evaluation's report on wells: positions, replicates, labels, and where everything lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .facts import MODE_TEXT, RANDOM, Evaluation
from .figures import accuracy_per_label, map_bars, replicate_similarities, replicate_similarity
from .folds import ALL, cell_lines
from .html import Report
from .labels import choose_group
from .maps import plate_heat_maps, umap_panels, well_place
from .scores import Score

MAPPED = 5000  # more points hide each other
COMPARED = 2000  # two million pairs are a smooth distribution


def position_section(report: Report, evaluation: Evaluation, headline: Score) -> None:
    """Position control, variants that hide positions and plates, and plate heat maps."""
    report.heading("Is it the compound, or the position?")
    grid = {"1-NN accuracy of the labels, %": _per_well(evaluation, headline)}
    control = evaluation.find("position_control", "none")
    if control is None:
        notes = [note for note in evaluation.scores.notes if note.startswith("No position control")]
        report.notice(notes or ["No position control."], "note")
    else:
        positions = len(np.unique(control.labels))
        report.paragraph(
            "All control wells hold the same. The nearest neighbour of a control well, among the controls of other "
            f"plates, sits at the same position in {100 * control.value:.1f} % of cases; chance is "
            f"{100 / positions:.1f} %. Whatever is above chance is a position effect, and compounds that sit at "
            "the same position on every plate profit from it."
        )
        grid["Position control, %"] = _per_well(evaluation, control)
    _variants(report, evaluation)
    report.figure(
        plate_heat_maps(grid, label="right (%)", limits=(0.0, 100.0)),
        "Mean over plates, where the wells lie. Borders, rows or columns that stand out are effects of position. "
        "Grey: no such well.",
        alt="Plate heat maps of accuracy",
    )


def _variants(report: Report, evaluation: Evaluation) -> None:
    texts = {
        "knn_accuracy": "folds by plate",
        "knn_accuracy_not_same_plate": "all other plates train",
        "knn_accuracy_not_same_well": "wells at the tested position do not vote",
        "position_control": "position control",
    }
    rows = []
    for metric, text in texts.items():
        mode = "none" if metric == "position_control" else evaluation.mode
        score = evaluation.find(metric, mode)
        if score is not None:
            # Whichever labels are tested, a neighbour may have any.
            chance = 1.0 / len(np.unique(score.labels)) if metric == "position_control" else evaluation.chance
            rows.append((text, MODE_TEXT[mode], 100 * score.value, evaluation.interval(score), 100 * chance, score.n))
    names = ["1-NN", "alignment", "accuracy (%)", "95 % interval", "chance (%)", "wells"]
    caption = "The same question, asked more strictly."
    if evaluation.find("knn_accuracy_not_same_well", evaluation.mode) is not None:
        caption += (
            " Where wells at the tested position do not vote, position cannot give a label away: what is left is what "
            "two positions of one label have in common. Only labels that sit at several positions are tested, which "
            "may be easier or harder than those of the rows above."
        )
    report.table(pd.DataFrame(rows, columns=names), caption, formats={"accuracy (%)": "{:.1f}", "chance (%)": "{:.1f}"})


def precision_section(report: Report, evaluation: Evaluation) -> None:
    """Mean average precision, with what features that hold nothing score."""
    activity = evaluation.find("activity_map", "none", None)
    if activity is None:
        return
    report.heading("Do replicates come before controls?")
    texts = {
        "activity_map": "activity",
        "position_control_map": "position control",
        "consistency_map": "consistency",
    }
    rows = evaluation.overall()
    rows = rows[rows.k.isna() & (rows.alignment == "none")]
    rows = rows.assign(
        series=np.where(rows.metric.str.endswith(RANDOM), "random features", "these profiles"),
        group=rows.metric.str.removesuffix(RANDOM).map(texts),
    )
    grouped = choose_group(evaluation.table.metadata, evaluation.column, evaluation.settings.group)
    with report.row():
        report.figure(
            map_bars(rows, title="Mean average precision"),
            "Activity: are a well's replicates more like it than the controls of its plate are?"
            + (
                " Position control: the same for controls at one position, which hold nothing: what position alone "
                "scores."
                if "position_control_map" in set(rows.metric)
                else ""
            )
            + " Orange: chance, at these numbers of wells."
            + (
                f" Consistency: are labels of one {grouped.removeprefix('Metadata_')} more alike than others?"
                if grouped is not None and "consistency_map" in set(rows.metric)
                else ""
            ),
            alt="Bars of mean average precision",
        )
        report.figure(
            accuracy_per_label(
                activity.labels, activity.correct, title="Activity of each label", most=0, axis="average precision"
            ),
            "Mean average precision of each label's wells. Labels at the right end cannot be told from controls, and "
            "no classifier will find them.",
            alt="Curve of average precision over labels",
        )
    fooled = evaluation.find(f"activity_map{RANDOM}", "transductive", None)
    if fooled is not None:
        report.paragraph(
            f"With all wells aligned, random features reach an activity mAP of {fooled.value:.2f}: as above, that "
            "alignment makes replicates alike whatever they hold, so mAP is shown without it."
        )


def labels_section(report: Report, evaluation: Evaluation, score: Score) -> None:
    """Accuracy of each label, and how alike replicates are."""
    report.heading("Which labels are found")
    some = np.arange(len(score.rows))
    if len(some) > COMPARED:
        some = np.sort(np.random.default_rng(evaluation.settings.seed).choice(some, COMPARED, replace=False))
    rows = score.rows[some]
    plates = evaluation.table.metadata["Metadata_Plate"].astype(str).to_numpy(str)[rows]
    pairs = replicate_similarities(evaluation.table.profiles[rows], score.labels[some], plates)
    with report.row():
        report.figure(
            accuracy_per_label(
                evaluation.readable()[score.rows],
                score.correct,
                chance=evaluation.chance,
                title="Accuracy of each label",
            ),
            f"1-NN, {MODE_TEXT[evaluation.mode]}. A few labels that are always found and many that never are "
            "have the same mean as many that sometimes are.",
        )
        report.figure(
            replicate_similarity(*pairs, title="Similarity of replicates"),
            "Pairs of wells on different plates, each plate's mean profile subtracted, no alignment. The further "
            "the blue stands to the right of the grey, the more reproducible the phenotypes.",
        )


def map_section(report: Report, evaluation: Evaluation) -> None:
    """UMAP by label, cell line, plate and position."""
    from sslprofiler_core.exploring import umap_layout

    report.heading("Map of wells")
    metadata, seed = evaluation.table.metadata, evaluation.settings.seed
    rows = np.arange(len(metadata))
    if len(rows) > MAPPED:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAPPED, replace=False))
    layout = umap_layout(evaluation.table.profiles[rows], seed=seed)
    names = evaluation.readable()
    title = evaluation.column.removeprefix("Metadata_")
    panels: dict[str, NDArray[np.str_] | NDArray[np.float64]] = {f"{title}: the best found": names[rows]}
    lines = cell_lines(metadata)
    if (lines != ALL).any():
        panels["Cell line"] = lines[rows]
    if metadata["Metadata_Plate"].nunique() > 1:
        panels["Plate"] = metadata["Metadata_Plate"].astype(str).to_numpy(str)[rows]
    wells = metadata["Metadata_Well"].astype(str)
    places = [well_place(name) for name in wells]
    known = [place for place in places if place is not None]
    if len(known) == len(places):
        panels["Column on the plate"] = np.array([column + 1.0 for _, column in known])[rows]
        if len(panels) < 4:
            panels["Row on the plate (1 is A)"] = np.array([row + 1.0 for row, _ in known])[rows]
    best = pd.Series(evaluation.main.correct).groupby(names[evaluation.main.rows]).agg(["mean", "size"])
    best = best.sort_values(["mean", "size"], ascending=False, kind="stable")
    report.figure(
        umap_panels(
            layout,
            panels,
            columns=2,
            background="control",
            chosen={next(iter(panels)): [str(name) for name in best.index[:10]]},
        ),
        "Wells near each other have similar profiles (UMAP, cosine, 15 neighbours, no alignment). Islands of one "
        "label are phenotypes; islands of one plate or a drift along columns or rows are not. Axes and distances "
        "between islands mean nothing.",
        alt="UMAP of wells by label, plate and position",
        image="png",
    )


def _per_well(evaluation: Evaluation, score: Score) -> tuple[list[str], NDArray[np.float64]]:
    wells = evaluation.table.metadata["Metadata_Well"].astype(str).to_numpy(str)[score.rows]
    return [str(name) for name in wells], 100.0 * score.correct.astype(np.float64)
