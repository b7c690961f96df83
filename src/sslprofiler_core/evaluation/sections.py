"""The report of an evaluation: headline, accuracy and method; and its short form for a terminal."""

from __future__ import annotations

import numpy as np

from .facts import MODE_TEXT, RANDOM, Evaluation
from .figures import accuracy_bars, transfer_matrix
from .folds import ALL
from .html import Report, Tile
from .sections_wells import labels_section, map_section, position_section, precision_section
from .style import STYLE

FEATURE_TEXT = {"knn_accuracy": "", f"knn_accuracy{RANDOM}": ", random features"}

# What can be quoted in colour, what cannot in grey.
COLOURS = {
    ("knn_accuracy", "none"): "#7fb0d9",
    ("knn_accuracy", "training"): STYLE.palette[0],
    (f"knn_accuracy{RANDOM}", "training"): STYLE.palette[1],
    ("knn_accuracy", "transductive"): "#8a959f",
    (f"knn_accuracy{RANDOM}", "transductive"): STYLE.palette[1],
}


def build(evaluation: Evaluation, *, umap: bool = True) -> Report:
    """The whole report."""
    table = evaluation.table
    plates = table.metadata["Metadata_Plate"].nunique()
    subtitle = (
        f"{len(table.metadata):,} wells on {plates} plate{'s' if plates > 1 else ''}, "
        f"{table.profiles.shape[1]:,} values a profile, labels from {evaluation.column}"
    )
    report = Report("How well do these profiles find their own kind?", subtitle)
    _headline(report, evaluation)
    if evaluation.headline is not None:
        _accuracy(report, evaluation)
        _transfers(report, evaluation)
        position_section(report, evaluation, evaluation.headline)
    precision_section(report, evaluation)
    if evaluation.headline is not None:
        labels_section(report, evaluation, evaluation.headline)
    if umap:
        map_section(report, evaluation)
    _method(report, evaluation)
    return report


def summary(evaluation: Evaluation) -> str:
    """A short table for the terminal."""
    ours = evaluation.overall()
    ours = ours[(ours.distance == "cosine") | ours.k.isna()]
    neighbours, others = ours[ours.k.notna()], ours[ours.k.isna() & (ours.alignment == "none")]
    if evaluation.folds == evaluation.table.metadata["Metadata_Plate"].nunique():
        neighbours = neighbours[~neighbours.metric.str.contains("_not_same_plate")]  # these folds are plates
    neighbours = neighbours[~neighbours.metric.str.contains(f"not_same_.*{RANDOM}")]
    ks = sorted(neighbours.k.unique())
    lines = [f"{evaluation.column}: {evaluation.labels} labels, {len(evaluation.main.rows)} wells"]
    if ks:
        lines[0] += f", chance {100 * evaluation.chance:.1f} %"
        lines.append(f"{'accuracy in %, cosine':<64}" + "".join(f"{f'k = {k}':>9}" for k in ks))
    for metric, mode in dict.fromkeys(zip(neighbours.metric, neighbours.alignment, strict=True)):
        rows = neighbours[(neighbours.metric == metric) & (neighbours.alignment == mode)].set_index("k")["value"]
        values = "".join(f"{100 * rows[k]:9.1f}" if k in rows else " " * 9 for k in ks)
        lines.append(f"{_row_name(metric, mode):<64}{values}")
    for metric, mode, value in zip(others.metric, others.alignment, others.value, strict=True):
        lines.append(f"{_row_name(metric, mode):<64}{value:9.3f}")
    return "\n".join(lines + [f"Note: {text}" for text in evaluation.warnings + evaluation.scores.notes])


def _row_name(metric: str, mode: str) -> str:
    random = ", random features" if metric.endswith(RANDOM) else ""
    plain = metric.removesuffix(RANDOM)
    if plain == "position_control":
        return "position control"
    if plain.startswith("knn_accuracy"):
        variant = plain.removeprefix("knn_accuracy").replace("_", " ").strip()
        return f"k-NN, {MODE_TEXT[mode]}{', ' if variant else ''}{variant}{random}"
    return f"{plain.removesuffix('_map').replace('_', ' ')} mAP, {MODE_TEXT[mode]}{random}"


def _headline(report: Report, evaluation: Evaluation) -> None:
    for text in evaluation.warnings:
        report.notice(text)
    score, tiles = evaluation.headline, []
    if score is None:
        report.notice(
            "All labelled wells are on one plate: whether profiles find their own kind on another plate, which is what "
            "tells treatments from the plate's own pattern, cannot be measured. Evaluate them together with a "
            "replicate plate to see it.",
            "note",
        )
    else:
        interval = evaluation.interval(score)
        tiles.append(
            Tile(
                "1-NN accuracy",
                f"{100 * score.value:.1f} %",
                f"{MODE_TEXT[evaluation.mode]}; chance {100 * evaluation.chance:.1f} %"
                + (f"; 95 % interval {interval}" if interval else ""),
            )
        )
    control = evaluation.find("position_control", "none")
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
    activity = evaluation.find("activity_map", "none", None)
    if activity is not None:
        tiles.append(Tile("Activity mAP", f"{activity.value:.3f}", "replicates before the plate's controls; best is 1"))
    tiles.append(
        Tile(
            "Tested wells",
            f"{len(evaluation.main.rows):,}",
            f"{evaluation.labels} labels; {int(evaluation.controls.sum()):,} controls left out",
            muted=True,
        )
    )
    report.tiles(tiles)


def _accuracy(report: Report, evaluation: Evaluation) -> None:
    report.heading("Accuracy")
    own = evaluation.overall()
    own = own[own.metric.isin(FEATURE_TEXT)]
    names = {key: MODE_TEXT[key[1]] + FEATURE_TEXT[key[0]] for key in COLOURS}
    cosine = own[own.distance == "cosine"]
    order = [list(names).index(key) for key in zip(cosine.metric, cosine.alignment, strict=True)]
    cosine = cosine.iloc[np.argsort(order, kind="stable")]
    cosine = cosine.assign(
        series=[names[metric, mode] for metric, mode in zip(cosine.metric, cosine.alignment, strict=True)],
        group="k = " + cosine.k.astype(str),
    )
    aligned = evaluation.settings.align is not None
    report.figure(
        accuracy_bars(
            cosine,
            chance=evaluation.chance,
            colours=[COLOURS[key] for key in names if names[key] in set(cosine.series)],
            hatched=[names[key] for key in names if key[1] == "transductive"],
        ),
        "k-NN on other plates: does the label of a well's nearest neighbours match its own? Whiskers are 95 % "
        "intervals over labels. Bars whose whiskers overlap by much are not told apart by these data."
        + (" Hollow bars are no evidence: see below." if aligned else ""),
        alt="Bars of accuracy by number of neighbours and alignment mode",
    )
    if aligned:
        _alignment_warning(report, evaluation)
    texts = {metric: "random features" if metric.endswith(RANDOM) else "these profiles" for metric in FEATURE_TEXT}
    wide = own.assign(
        features=own.metric.map(texts), alignment=own.alignment.map(MODE_TEXT), k="k = " + own.k.astype(str)
    ).pivot_table(index=["alignment", "features", "distance"], columns="k", values="value", sort=False)
    wide = (100 * wide).reset_index()
    wide.columns.name = None
    formats = {str(name): "{:.1f}" for name in wide.columns if str(name).startswith("k = ")}
    honest = [
        i
        for i, (mode, kind) in enumerate(zip(wide.alignment, wide.features, strict=True))
        if mode == MODE_TEXT[evaluation.mode] and kind == "these profiles"
    ]
    report.table(wide, "Accuracy in %. The shaded rows are the ones to quote.", formats=formats, strong=honest)


def _alignment_warning(report: Report, evaluation: Evaluation) -> None:
    fooled = evaluation.find(f"knn_accuracy{RANDOM}", "transductive")
    if fooled is None:
        return
    chance = 100 * evaluation.chance
    score = f"random features score {100 * fooled.value:.1f} % that way, chance being {chance:.1f} %"
    error = (evaluation.chance * (1.0 - evaluation.chance) / len(fooled.rows)) ** 0.5
    if fooled.value <= evaluation.chance + 4.0 * error:
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


def _transfers(report: Report, evaluation: Evaluation) -> None:
    numbers = evaluation.numbers
    pairs = numbers[
        (numbers.metric == "knn_accuracy")
        & (numbers.distance == "cosine")
        & (numbers.alignment == evaluation.mode)
        & (numbers.train != ALL)
    ]
    if not len(pairs):
        return
    report.heading("From one cell line to another")
    with report.row():
        for k in (1, 5):
            at = pairs[pairs.k == k]
            if len(at):
                report.figure(
                    transfer_matrix(at, title=f"k = {k}", chance=evaluation.chance),
                    f"Accuracy in %, {MODE_TEXT[evaluation.mode]}. On the diagonal a cell line is tested on "
                    "its own other plates; off it, what is lost did not carry over.",
                )


def _method(report: Report, evaluation: Evaluation) -> None:
    report.heading("How this was measured")
    settings = evaluation.settings
    clip = f" Features were cut to ±{settings.clip:g}." if settings.clip is not None else ""
    alpha = f" Alignment with alpha = {settings.align:g}." if settings.align is not None else ""
    intervals = "" if evaluation.numbers.low.isna().all() else " Intervals: 1,000 draws of labels with replacement."
    neighbours = (
        f"k-NN with votes weighted by 1 / distance; {evaluation.folds} folds by plate, so that no plate is on both "
        f"sides; {int(evaluation.controls.sum())} control wells left out; a tested well whose label is on no training "
        "plate counts as wrong."
    )
    report.paragraph(
        f"{neighbours if evaluation.folds else 'Mean average precision by cosine similarity.'}"
        f"{clip}{alpha}{intervals} Seed {settings.seed}. All scores: `metrics.csv` beside this file."
    )
    if evaluation.scores.notes:
        report.notice(evaluation.scores.notes, "note")
