"""The report's numbers: what the models score, beside what; how to do the same; settings."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sslprofiler_core.evaluation.figures import accuracy_bars, transfer_matrix
from sslprofiler_core.evaluation.folds import ALL
from sslprofiler_core.evaluation.html import Report, Tile

from .features import BOTH
from .scores import ALPHA, KS
from .words import FEATURES, NAMES, percent, points, verdicts

if TYPE_CHECKING:
    from .report import Findings


def headline(report: Report, findings: Findings) -> None:
    """The figures that count, and what they say."""
    results = findings.results
    tiles = []
    for name, label in FEATURES.items():
        row = results.row(name)
        detail = f"95 % interval {100 * row.low:.1f} to {100 * row.high:.1f}"
        tiles.append(Tile(label, percent(row.value), detail, muted=name != "trained"))
    difference = results.difference("trained", "untrained")
    gain = Tile("Trained − untrained", points(difference), "points ± standard error, paired over wells")
    report.tiles([tiles[0], gain, *tiles[1:]])
    report.notice(verdicts(results, findings.full), "note")
    wells = len(results.score("trained").rows)
    report.paragraph(
        f"Accuracy here is the part of the {wells} compound wells whose nearest neighbour on the other plates (1-NN, "
        f"cosine distance) holds the same compound; guessing would be right in {percent(results.chance)}. DMSO wells "
        "are left out. Intervals come from drawing compounds with replacement."
    )


def accuracy(report: Report, findings: Findings) -> None:
    """Bars of the four kinds of features, and the networks' channel groups alone."""
    results = findings.results
    table = results.numbers
    rows = table[(table.metric == "knn_accuracy") & (table.train == ALL) & (table.channels == BOTH)]
    rows = rows.sort_values(["centred", "k"], kind="stable")
    group = [f"{k}-NN{', centred per plate' * centred}" for k, centred in zip(rows.k, rows.centred, strict=True)]
    bars = rows.assign(series=rows.features.map(FEATURES), group=group)
    report.heading("Does training help?")
    report.figure(
        accuracy_bars(bars, chance=results.chance),
        "Higher is better; whiskers are 95 % intervals. Centred per plate means that each plate's mean profile was "
        "subtracted first, which takes out what all its wells share, such as their stain. Intensity and texture are "
        "textbook statistics of each channel.",
        alt="Bars of accuracy of trained and untrained networks and hand-made features",
    )
    report.table(
        _comparisons(findings),
        "The trained models minus the others, in points, ± one standard error, paired over wells: a difference of more "
        "than two standard errors is unlikely to be chance.",
    )
    report.table(
        _groups(findings),
        "1-NN and 5-NN accuracy in % by what the networks saw. Each channel group has a model of its own; a profile "
        "of both holds one after the other.",
        formats={f"{k}-NN, {name}": "{:.1f}" for k in KS for name in ("trained", "untrained")},
        strong=[0],
    )


def _comparisons(findings: Findings) -> pd.DataFrame:
    results = findings.results
    rows = []
    for name in ("untrained", "intensity", "texture"):
        row: dict[str, Any] = {"Trained models minus": NAMES[name].removeprefix("the ")}
        for centred in (False, True):
            for k in KS:
                head = f"{k}-NN{', centred' * centred}"
                row[head] = points(results.difference("trained", name, k, centred=centred))
        rows.append(row)
    return pd.DataFrame(rows)


def _groups(findings: Findings) -> pd.DataFrame:
    results = findings.results
    rows = []
    for channels in (BOTH, *findings.runs):
        row: dict[str, Any] = {"Channels": channels}
        for k in KS:
            for name in ("trained", "untrained"):
                row[f"{k}-NN, {name}"] = 100 * results.score(name, k, channels=channels).value
        row["Trained − untrained, 1-NN"] = points(results.difference("trained", "untrained", channels=channels))
        rows.append(row)
    return pd.DataFrame(rows)


def transfer(report: Report, findings: Findings) -> None:
    """Within and across cell lines."""
    results = findings.results
    table = results.numbers
    pairs = table[
        (table.metric == "knn_accuracy")
        & (table.k == 1)
        & (table.train != ALL)
        & (table.channels == BOTH)
        & ~table.centred
    ]
    report.heading("From one cell line to another")
    with report.row():
        for name, caption in (
            (
                "trained",
                "Accuracy in %, trained models. On the diagonal a cell line is tested on its own other plates.",
            ),
            ("texture", "The same with hand-made texture features. Off the diagonal, what is lost did not carry over."),
        ):
            figure = transfer_matrix(pairs[pairs.features == name], title=FEATURES[name], chance=results.chance)
            report.figure(figure, caption)
    # The two lines' plates lie apart, so a neighbour of the other line is a rare one: this is the harder question.
    across = pairs.pivot_table(index=["train", "test"], columns="features", values="value", sort=False) * 100
    across = across[[name for name in FEATURES if name in across]].rename(columns=FEATURES).reset_index()
    sizes = pairs.drop_duplicates(["train", "test"]).set_index(["train", "test"])["n"]
    across["Wells"] = [int(sizes[train, test]) for train, test in zip(across.train, across.test, strict=True)]
    across = across.rename(columns={"train": "Trained on", "test": "Tested on"})
    across.columns.name = None
    formats = dict.fromkeys(FEATURES.values(), "{:.1f}")
    report.table(
        across, "1-NN accuracy in % of all four kinds of features, and how many wells were tested.", formats=formats
    )


def position(report: Report, findings: Findings) -> None:
    """What position alone would give, and why aligned scores need care."""
    results = findings.results
    report.heading("Is it the compound, or the position?")
    report.paragraph(
        "In CPJUMP1, and here, a compound sits at the same position on every plate. If position showed in the "
        "profiles, compounds would be found for the wrong reason. So DMSO wells, which all hold the same, are asked "
        "for their position: what is above chance is a position effect."
    )
    rows = []
    for name, scores in results.position.items():
        score = next((s for s in scores.scores if s.k == 1), None)
        if score is not None:
            own = scores.table().query("k == 1").iloc[0]
            rows.append(
                {
                    "Features": FEATURES[name],
                    "Position control, 1-NN (%)": 100 * own.value,
                    "95 % interval": f"{100 * own.low:.1f} to {100 * own.high:.1f}",
                    "Chance (%)": 100 / len(np.unique(score.labels)),
                    "DMSO wells": len(score.rows),
                }
            )
    if rows:
        formats = {"Position control, 1-NN (%)": "{:.1f}", "Chance (%)": "{:.1f}"}
        report.table(pd.DataFrame(rows), "DMSO wells named by position: at chance is good.", formats=formats)
    aligned = results.aligned[results.aligned.train == ALL]
    kinds = {"knn_accuracy": "trained models", "knn_accuracy_random_features": "random features"}
    modes = {
        "none": "none",
        "training": "training wells only: a tested well stays where it is",
        "transductive": "all wells, tested ones too, move toward their position's mean",
    }
    shown = pd.DataFrame(
        {
            "Alignment": [modes[mode] for mode in aligned.alignment],
            "Features": [kinds[metric] for metric in aligned.metric],
            "1-NN (%)": 100 * aligned.value.to_numpy(),
        }
    )
    fooled = aligned[(aligned.metric != "knn_accuracy") & (aligned.alignment == "transductive")]
    said = ""
    if len(fooled):
        random = float(fooled.value.iloc[0])
        said = f" Random numbers score {percent(random)} that way"
        said += ": such a score says nothing." if random > 2 * results.chance else "."
    report.table(
        shown,
        f"Alignment across plates (alpha {ALPHA:g}) moves wells toward the mean of their position. Done to all wells, "
        f"it moves a tested well toward wells of its own compound.{said} The shaded rows "
        "can be quoted.",
        formats={"1-NN (%)": "{:.1f}"},
        strong=[i for i, (m, a) in enumerate(zip(aligned.metric, aligned.alignment, strict=True))
                if m == "knn_accuracy" and a != "transductive"],
    )  # fmt: skip


def own_plates(report: Report) -> None:
    """The commands."""
    report.heading("The same on your own plates")
    report.paragraph(
        "`PLATES` is a folder of plates, `MAP` their plate map or a folder of metadata as CPJUMP1 has it. The first "
        "command says what is in them and what is missing."
    )
    report.code(
        """
sslprofiler inspect  PLATES --metadata MAP
sslprofiler train    PLATES --metadata MAP --channels fluorescence --out runs/fluorescence
sslprofiler train    PLATES --metadata MAP --channels brightfield  --out runs/brightfield
sslprofiler embed    PLATES --metadata MAP --run runs/fluorescence --run runs/brightfield --out sites.parquet
sslprofiler profile  sites.parquet --out wells.parquet
sslprofiler evaluate wells.parquet --out report --align 0.5
"""
    )
    report.paragraph(
        "Without a GPU, add `--recipe tiny` to the training, as in this demo. The default recipe is the paper's, at "
        "its full size."
    )


def settings(report: Report, findings: Findings) -> None:
    """What it was made with, and how long it took."""
    size, model = findings.settings, findings.models[0]
    report.heading("Settings and timings")
    report.paragraph(
        "Profiles are the mean over a well's sites (not the paper's concatenation: positions mean nothing on simulated "
        "plates) of `cls` and mean `patch`, both channel groups, unaligned. Folds are plates. Hand-made features are "
        "averaged over sites and standardised over all wells. The same networks untrained have the weights that "
        "training started from. "
        f"Recipe `{size.recipe}`, {'ten times as long at full resolution, ' * findings.full}"
        f"{', '.join(f'{m.step:,} steps of {m.recipe.train.batch} site pairs ({m.group})' for m in findings.models)}; "
        f"{model.recipe.augment.size} px views, width {model.recipe.model.width}, depth {model.recipe.model.depth}. "
        f"Seed {findings.seed}. One simulation and one training: other seeds give other figures."
    )
    # This page is not written yet: what an earlier call took for its own would not be this one's.
    seconds = {name: value for name, value in findings.seconds.items() if name != "report"}
    table = pd.DataFrame({"Stage": [name.capitalize() for name in seconds], "Seconds": list(seconds.values())})
    table.loc[len(table)] = ["All", sum(seconds.values())]
    with report.row():
        report.table(
            table,
            "Time by stage before this page was written; added up where a stage was stopped and went on.",
            formats={"Seconds": "{:.1f}"},
            strong=[len(table) - 1],
        )
        report.table(pd.DataFrame(_machine(), columns=["", "Version"]), "Machine and libraries.")
    if findings.results.notes:
        report.notice(findings.results.notes, "note")


def _machine() -> list[tuple[str, str]]:
    own = [
        ("System", f"{platform.system()}, {platform.machine()}, {os.cpu_count()} cores"),
        ("Python", ".".join(map(str, sys.version_info[:3]))),
    ]
    return own + [(name, version(name)) for name in ("torch", "timm", "numpy", "scikit-learn", "numba")]
