"""Figures of scores: data in, matplotlib figure out. Each docstring says how to read it; so should each caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .style import STYLE, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating[Any]]


@styled
def accuracy_bars(
    frame: pd.DataFrame,
    *,
    series: str = "series",
    group: str = "group",
    chance: float | None = None,
    title: str = "",
    group_label: str = "",
    colours: Sequence[str] | None = None,
    hatched: Sequence[str] = (),
    width: float = 10.6,
) -> Figure:
    """Bars of accuracies with their intervals.

    Parameters
    ----------
    frame
        One row a bar: ``value`` (a fraction), ``low`` and ``high`` (may be missing or NaN), and the columns named by
        ``series`` (a colour each) and ``group`` (a cluster of bars each), both in the order of first appearance.
    chance
        A fraction to mark with a line.
    colours
        One a series; the palette when None.
    hatched
        Series to draw hollow: those that are no fair comparison.
    width
        Inches.

    Returns
    -------
    Higher is better. Where the whiskers of two bars overlap by much, the data do not tell them apart.
    """
    names, groups = list(dict.fromkeys(frame[series])), list(dict.fromkeys(frame[group]))
    colours = colours or STYLE.palette
    figure, axes = _one(width, 3.5)
    each = 0.8 / len(names)
    crowded = len(names) * len(groups) > 24
    top = 0.0
    for i, name in enumerate(names):
        rows = frame[frame[series] == name].drop_duplicates(group).set_index(group).reindex(groups)
        at = np.arange(len(groups)) + (i - (len(names) - 1) / 2) * each
        values = rows["value"].to_numpy(float)
        low = rows["low"].to_numpy(float) if "low" in rows else np.full(len(rows), np.nan)
        high = rows["high"].to_numpy(float) if "high" in rows else np.full(len(rows), np.nan)
        reach = np.clip(np.nan_to_num(np.stack([values - low, high - values])), 0.0, None)
        hatch = "////" if str(name) in hatched else None
        axes.bar(
            at,
            100 * values,
            0.88 * each,
            color="white" if hatch else colours[i % len(colours)],
            edgecolor=colours[i % len(colours)],
            hatch=hatch,
            linewidth=0.8,
            label=str(name),
        )
        axes.errorbar(at, 100 * values, 100 * reach, fmt="none", ecolor=STYLE.ink, elinewidth=0.9, capsize=2)
        tops = values + reach[1]
        top = max(top, float(np.nanmax(tops, initial=0.0)))
        for x, y, value in zip(at, tops, values, strict=True):
            if np.isfinite(value) and not crowded:
                text = f"{100 * value:.1f}" if value < 0.9995 else "100"
                axes.annotate(text, (x, 100 * y), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    if chance is not None:
        axes.axhline(100 * chance, color=STYLE.chance, linewidth=1.0, linestyle=(0, (4, 3)), label="chance")
    axes.set_xticks(range(len(groups)), [str(name) for name in groups])
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel(group_label)
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, min(112.0, 100 * top * 1.14 + 0.5))
    axes.grid(axis="y")
    if title:
        axes.set_title(title, pad=30)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] == "chance")
    axes.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower left",
        bbox_to_anchor=(-0.01, 1.0),
        ncols=len(labels) if sum(map(len, labels)) < 9 * width else 3,
        columnspacing=1.4,
        handlelength=1.4,
    )
    return figure


@styled
def transfer_matrix(frame: pd.DataFrame, *, title: str = "", chance: float | None = None) -> Figure:
    """Accuracies from training cell lines (rows) to tested cell lines (columns).

    Parameters
    ----------
    frame
        One row a pair: ``train``, ``test``, ``value`` (a fraction).

    Returns
    -------
    The diagonal is within a cell line. Off it, what is lost is what does not carry over to another line.
    """
    lines = [name for name in dict.fromkeys([*frame["train"], *frame["test"]]) if name != "all"] or ["all"]
    grid = frame.drop_duplicates(["train", "test"]).pivot(index="train", columns="test", values="value")
    values = 100 * grid.reindex(index=lines, columns=lines).to_numpy(float)
    side = 1.6 + 0.85 * len(lines)
    figure, axes = _one(side + 0.8, side)
    peak = float(np.nanmax(values, initial=1e-9))
    axes.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=0.0, vmax=1.25 * peak)
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.1f}" if np.isfinite(value) else "–"
        axes.text(column, row, text, ha="center", va="center", fontsize=12, weight="bold", color=_on(value / peak))
    axes.set_xticks(range(len(lines)), lines)
    axes.set_yticks(range(len(lines)), lines)
    axes.tick_params(length=0)
    axes.set_xlabel("tested on" if chance is None else f"tested on     (chance {100 * chance:.1f} %)")
    axes.set_ylabel("trained on")
    axes.set_title(title)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


@styled
def accuracy_per_label(
    labels: NDArray[Any],
    correct: NDArray[Any],
    *,
    chance: float | None = None,
    title: str = "",
    most: int = 40,
    axis: str = "accuracy",
) -> Figure:
    """Accuracy of each label, best first.

    Parameters
    ----------
    labels, correct
        Of each tested well; ``correct`` may hold fractions.
    most
        Up to so many labels get a named bar; more are shown as a curve over their rank.
    axis
        What is averaged.

    Returns
    -------
    A model that finds a few labels every time and the others never has the same mean as one that finds all sometimes;
    here they differ.
    """
    table = pd.DataFrame({"label": labels, "correct": correct}).groupby("label")["correct"].agg(["mean", "size"])
    table = table.sort_values(["mean", "size"], ascending=False, kind="stable")
    values = 100 * table["mean"].to_numpy()
    if len(table) <= most:
        figure, axes = _one(5.2, 1.0 + 0.24 * len(table))
        axes.barh(range(len(table)), values, color=STYLE.palette[0], height=0.75)
        axes.set_yticks(range(len(table)), [_short(f"{name}") for name in table.index])
        axes.invert_yaxis()
        axes.set_xlim(0, 102)
        axes.set_xlabel(f"{axis} (%)")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        if chance is not None:
            axes.axvline(100 * chance, color=STYLE.chance, linewidth=1.0, linestyle=(0, (4, 3)))
    else:
        figure, axes = _one(5.2, 3.2)
        rank = np.arange(len(table) + 1)
        axes.fill_between(
            rank, np.append(values, values[-1]), step="post", color=STYLE.palette[0], alpha=0.85, linewidth=0
        )
        axes.set_xlim(0, len(table))
        axes.set_ylim(0, 102)
        axes.set_xlabel(f"labels, best first ({len(table)})")
        axes.set_ylabel(f"{axis} (%)")
        axes.grid(axis="y")
        never, always = int((values == 0).sum()), int((values == 100).sum())
        text = f"always right: {always}, never: {never}"
        if not np.issubdtype(np.asarray(correct).dtype, np.bool_):
            text = f"above 90 %: {int((values > 90).sum())}, below 30 %: {int((values < 30).sum())}"
        axes.set_title(text, loc="right", fontsize=9.5, weight="normal")
        if chance is not None:
            axes.axhline(100 * chance, color=STYLE.chance, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.set_title(title)
    return figure


@styled
def replicate_similarity(same: Floats, different: Floats, *, title: str = "") -> Figure:
    """Distributions of cosine similarity between wells of one label, and of different labels, on different plates.

    Parameters
    ----------
    same, different
        Similarities, as `replicate_similarities` gives them.

    Returns
    -------
    The further the two stand apart, the more reproducible the phenotypes; where they overlap, wells look alike whatever
    they hold.
    """
    figure, axes = _one(5.2, 3.2)
    both = np.concatenate([same, different])
    # Of wide profiles all similarities may lie near zero.
    low, high = np.quantile(both, [0.0005, 0.9995]) if both.size else (-1.0, 1.0)
    room = 0.05 * (high - low) + 0.01
    edges = np.linspace(max(-1.0, low - room), min(1.0, high + room), 81)
    for values, colour, name in (
        (different, STYLE.grey, "different labels"),
        (same, STYLE.palette[0], "same label"),
    ):
        if not len(values):
            continue
        density = np.histogram(values, edges)[0] / len(values)
        axes.stairs(
            100 * density, edges, fill=True, color=colour, alpha=0.75, label=f"{name} (median {np.median(values):.2f})"
        )
        axes.axvline(float(np.median(values)), color=STYLE.ink, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.set_xlabel("cosine similarity of profiles on different plates")
    axes.set_ylabel("pairs (%)")
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)
    axes.set_xlim(edges[0], edges[-1])
    axes.grid(axis="y")
    axes.set_title(title)
    axes.legend(loc="upper left")
    return figure


def replicate_similarities(
    profiles_WD: Floats, labels_W: NDArray[Any], plates_W: NDArray[Any], *, most: int = 2000, seed: int = 0
) -> tuple[Floats, Floats]:
    """Cosine similarities of wells on different plates: of one label, and of different ones.

    Each plate's mean profile is subtracted first, which takes out what all its wells share. Beyond ``most`` wells a
    random sample is taken.
    """
    rows = np.arange(len(profiles_WD))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    profiles, plates = np.asarray(profiles_WD[rows], np.float64), plates_W[rows]
    _, label = np.unique(labels_W[rows], return_inverse=True)
    _, plate = np.unique(plates, return_inverse=True)
    for number in range(plate.max(initial=-1) + 1):
        profiles[plate == number] -= profiles[plate == number].mean(axis=0)
    norm = np.linalg.norm(profiles, axis=1, keepdims=True)
    profiles /= np.where(norm == 0.0, 1.0, norm)
    a, b = np.triu_indices(len(rows), 1)
    apart = plate[a] != plate[b]
    similarity = (profiles @ profiles.T)[a, b]
    alike = label[a] == label[b]
    return similarity[apart & alike], similarity[apart & ~alike]


@styled
def map_bars(frame: pd.DataFrame, *, title: str = "") -> Figure:
    """Bars of mean average precision, those of random features thin below them.

    Parameters
    ----------
    frame
        One row a bar: ``group`` (what was asked), ``series`` ("random features" or any other), ``value``, ``low`` and
        ``high`` (may be NaN).

    Returns
    -------
    The longer the blue bar beyond the orange one, the more there is in the profiles.
    """
    groups = list(dict.fromkeys(frame["group"]))
    figure, axes = _one(5.2, 3.2)
    end = 0.0
    numbers = frame[["value", "low", "high"]].to_numpy(float)
    for group, series, (value, low, high) in zip(frame["group"], frame["series"], numbers, strict=True):
        random = series == "random features"
        at = groups.index(group) + (0.3 if random else -0.08)
        colour = STYLE.palette[1] if random else STYLE.palette[0]
        axes.barh(at, value, 0.16 if random else 0.5, color=colour, zorder=2)
        reach = value
        if np.isfinite(low):
            axes.plot([low, high], [at, at], color=STYLE.ink, linewidth=0.9, zorder=3)
            reach = max(value, high)
        axes.annotate(f"{value:.3f}", (reach, at), (4, 0), textcoords="offset points", va="center", fontsize=8.5)
        end = max(end, reach)
    for name, colour in (("these profiles", STYLE.palette[0]), ("random features", STYLE.palette[1])):
        axes.barh(0, 0, color=colour, label=name)
    axes.set_yticks(range(len(groups)), groups)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, min(1.12, 1.16 * end + 0.02))
    axes.set_xlabel("mean average precision")
    axes.grid(axis="x")
    axes.set_title(title, pad=24)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, handlelength=1.4)
    return figure


@styled
def loss_curves(
    runs: dict[str, pd.DataFrame], *, columns: Sequence[str] = ("loss",), title: str = "", smooth: int = 1
) -> Figure:
    """Losses over training steps, one panel a run.

    Parameters
    ----------
    runs
        Name -> table with a column ``step`` and the loss columns.
    columns
        Which losses to draw.
    smooth
        Width in records of a running mean; the records themselves stay visible behind it.

    Returns
    -------
    Falling and then level is learning. A loss that stays at its start from the first step has collapsed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(10.5, 4.6 * len(runs) + 0.6), 3.0), layout="constrained")
    panels = figure.subplots(1, len(runs), squeeze=False)[0]
    for axes, (name, table) in zip(panels, runs.items(), strict=True):
        for column, colour in zip((c for c in columns if c in table), STYLE.palette, strict=False):
            own = table[["step", column]].dropna()
            if smooth > 1:
                axes.plot(own["step"], own[column], color=colour, alpha=0.22, linewidth=0.9)
            mean = own[column].rolling(smooth, min_periods=1, center=True).mean()
            axes.plot(own["step"], mean, color=colour, label=column)
        axes.set_title(name or title)
        axes.set_xlabel("step")
        axes.grid(axis="y")
        axes.legend(loc="upper right")
    panels[0].set_ylabel("loss")
    if title and any(runs):
        figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def _one(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _on(shade: float) -> str:
    """Text colour on a cell of ``Blues`` that is ``shade`` of the darkest one used."""
    return "white" if shade > 0.72 else STYLE.ink


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
