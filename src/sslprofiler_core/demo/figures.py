"""Figures of a training: its losses, its health, and what its views look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.evaluation.maps import composite_image
from sslprofiler_core.evaluation.style import STYLE, bare, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .views import ShownViews

TERMS = {
    "dino_local": "DINO between sites",
    "dino_masked": "DINO masked",
    "ibot": "iBOT",
}
_SMOOTH = 15
_MASK_GREY = 0.62
# Where the 99.5th percentile of a view's channel is shown: stains that lie over each other add up to white above it.
_BRIGHTEST = 0.6


@styled
def training_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], guess: float) -> Figure:
    """Losses and effective rank over the steps, a column a run.

    Parameters
    ----------
    runs
        Channel group -> events of its run folder.
    guess
        The cross-entropy of guessing, ln K.

    Returns
    -------
    A term that stays at the line has learned nothing yet. An effective rank near 1 is collapse: every site gets the
    same embedding.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.6, 4.9), layout="constrained")
    panels = figure.subplots(2, len(runs), squeeze=False, sharex="col", height_ratios=[3, 2])
    for column, (name, events) in enumerate(runs.items()):
        _losses(panels[0][column], events, guess)
        panels[0][column].set_title(name.capitalize())
        health = pd.DataFrame(
            [event for event in events if event["event"] == "health"], columns=["step", "effective_rank"]
        )
        axes = panels[1][column]
        axes.plot(
            health["step"], health["effective_rank"], color=STYLE.palette[4], marker="." if len(health) < 5 else None
        )
        axes.axhline(1.0, color=STYLE.chance, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_ylim(0, 1.15 * float(np.nanmax(health["effective_rank"].to_numpy(float), initial=2.0)))
        axes.set_xlabel("step")
        axes.grid(axis="y")
    panels[0][0].set_ylabel("loss")
    panels[1][0].set_ylabel("effective rank")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    return figure


def _losses(axes: Axes, events: Sequence[Mapping[str, Any]], guess: float) -> None:
    steps = pd.DataFrame([event for event in events if event["event"] == "step"], columns=["step", *TERMS])
    for (term, label), colour in zip(TERMS.items(), STYLE.palette, strict=False):
        values = steps[term].astype(float)
        axes.plot(steps["step"], values, color=colour, alpha=0.2, linewidth=0.8)
        mean = values.rolling(_SMOOTH, min_periods=1, center=True).mean()
        axes.plot(steps["step"], mean, color=colour, label=label)
    axes.axhline(guess, color=STYLE.chance, linewidth=1.0, linestyle=(0, (4, 3)), label="even guess")
    axes.grid(axis="y")


@styled
def view_rows(shown: ShownViews) -> Figure:
    """Pairs of sites and the views made of them, a row a pair, as colour composites.

    Parameters
    ----------
    shown
        From ``views.training_views``.

    Returns
    -------
    The student sees the last two columns and must say what the teacher says of the second.
    """
    from matplotlib.figure import Figure

    titles = ["Site", "View 1 (teacher)", "View 1, masked (student)", "View 2 (student)", "Other site of the well"]
    rows = len(shown.first)
    figure = Figure(figsize=(10.6, 2.15 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, len(titles), squeeze=False)
    channels = range(len(shown.names))
    for row in range(rows):
        v1, v2 = (_unit(view[row]) for view in (shown.v1, shown.v2))
        images = [
            composite_image(shown.first[row], shown.names, channels),
            composite_image(v1, shown.names, channels),
            composite_image(v1, shown.names, channels),
            composite_image(v2, shown.names, channels),
            composite_image(shown.second[row], shown.names, channels),
        ]
        images[2] = np.where(shown.masks[row][..., None], _MASK_GREY, images[2])
        for axes, image, title in zip(panels[row], images, titles, strict=True):
            bare(axes)
            axes.imshow(image, interpolation="nearest")
            if row == 0:
                axes.set_title(title, fontsize=9.5, weight="normal", loc="center")
        panels[row][0].set_ylabel(shown.titles[row], fontsize=9, color=STYLE.ink)
    return figure


def _unit(view_CHW: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Stretch each channel for the eye: standardised views have no brightness of their own."""
    low, high = np.percentile(view_CHW, [0.5, 99.5], axis=(1, 2))
    span = np.maximum(high - low, 1e-6)[:, None, None] / _BRIGHTEST
    scaled: NDArray[np.float64] = np.clip((view_CHW - low[:, None, None]) / span, 0.0, 1.0)
    return scaled
