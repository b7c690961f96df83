"""Maps: UMAP panels, plate heat maps and montages of images. Data in, matplotlib figure out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .style import STYLE, bare, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.floating[Any]]

# Standard plates: rows x columns.
PLATES = ((2, 3), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))


@styled
def umap_panels(
    layout_W2: Floats,
    colour_by: Mapping[str, NDArray[Any]],
    *,
    columns: int = 3,
    shown: int = 10,
    background: str | None = None,
    chosen: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """One map of wells, coloured in each panel by something else.

    Parameters
    ----------
    layout_W2
        (W, 2), as ``umap_layout`` gives it.
    colour_by
        Panel title -> (W,) values. Numbers become a scale; of other values the ``shown`` most frequent get a colour
        each and the rest are grey.
    background
        A value that is drawn dark and small, such as the control.
    chosen
        Panel title -> the values that get a colour, in place of the most frequent.

    Returns
    -------
    Wells near each other have similar profiles. Islands of one label are phenotypes; islands of one plate are plate
    effects. Distances between islands, and the axes, mean nothing; wells far outside are drawn at the edge.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(colour_by))
    rows = math.ceil(len(colour_by) / columns)
    figure = Figure(figsize=(10.4 if columns > 1 else 5.2, (4.0 if columns > 2 else 4.6) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    size = float(np.clip(9000.0 / max(len(layout_W2), 1), 5.0, 40.0))
    layout_W2 = _reined(layout_W2)
    for axes, (title, values) in zip(panels, colour_by.items(), strict=False):
        bare(axes)
        axes.set_title(title)
        if np.issubdtype(np.asarray(values).dtype, np.number):
            points = axes.scatter(layout_W2[:, 0], layout_W2[:, 1], s=size, c=values, cmap="viridis", linewidths=0)
            figure.colorbar(points, ax=axes, location="bottom", shrink=0.6, aspect=28, pad=0.02)
        else:
            own = (chosen or {}).get(title)
            _categories(axes, layout_W2, np.asarray(values).astype(str), size, shown, background, own)
    for axes in panels[len(colour_by) :]:
        axes.set_visible(False)
    return figure


def _reined(layout_W2: Floats) -> Floats:
    """Bring wells far outside to the edge of the others: a few lost ones would make all the rest a dot."""
    low, high = np.quantile(layout_W2, [0.02, 0.98], axis=0) if len(layout_W2) else (0.0, 1.0)
    room = 0.12 * (high - low)
    reined: Floats = np.clip(layout_W2, low - room, high + room)
    return reined


def _categories(
    axes: Axes,
    layout: Floats,
    values: NDArray[Any],
    size: float,
    shown: int,
    background: str | None,
    chosen: Sequence[str] | None,
) -> None:
    names = sorted(set(values[values != background]), key=_natural)
    counts = pd.Series(values).value_counts().reindex(names)
    frequent = counts.sort_values(ascending=False, kind="stable").index[:shown]
    top = sorted(frequent if chosen is None else [name for name in chosen if name in counts], key=_natural)
    rest = ~np.isin(values, [*top, background])
    if rest.any():
        label = f"{len(counts) - len(top)} others"
        axes.scatter(
            layout[rest, 0], layout[rest, 1], s=0.7 * size, color=STYLE.grey, alpha=0.55, linewidths=0, label=label
        )
    if background is not None and (values == background).any():
        own = layout[values == background]
        axes.scatter(own[:, 0], own[:, 1], s=0.7 * size, color=STYLE.ink, linewidths=0, label=background)
    for name, colour in zip(top, _colours(len(top)), strict=True):
        own = layout[values == name]
        axes.scatter(own[:, 0], own[:, 1], s=size, color=colour, linewidths=0, label=name[:24])
    longest = max((len(name) for name in top), default=0)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0.0, 0.02),
        ncols=2 if longest > 12 else 4,
        markerscale=1.6,
        handletextpad=0.1,
        columnspacing=0.8,
        fontsize=8,
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Order by which ``compound-2`` comes before ``compound-10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _colours(count: int) -> list[Any]:
    if count <= len(STYLE.palette):
        return list(STYLE.palette[:count])
    import matplotlib as mpl

    return [mpl.colormaps["turbo"](x) for x in np.linspace(0.05, 0.95, count)]


@styled
def plate_heat_maps(
    panels: Mapping[str, tuple[Sequence[str], Floats]],
    *,
    label: str = "",
    cmap: str = "viridis",
    limits: tuple[float, float] | None = None,
    columns: int = 2,
) -> Figure:
    """Values of wells where they lie on the plate, all panels on one scale.

    Parameters
    ----------
    panels
        Title -> (well names such as ``"D08"``, values); wells that stand there several times, as on several plates, are
        averaged.
    label
        What the colour means.
    limits
        Of the colours; the range of the values when None.

    Returns
    -------
    Borders, rows or columns that stand out are effects of position, not of compounds. Grey: no such well.
    """
    from matplotlib.figure import Figure

    size = plate_size([name for wells, _ in panels.values() for name in wells])
    grids = {title: plate_grid(wells, values, size) for title, (wells, values) in panels.items()}
    columns = min(columns, len(grids))
    rows = math.ceil(len(grids) / columns)
    figure = Figure(figsize=(5.0 * columns + 0.6, 3.4 * rows), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    every = np.concatenate([grid[np.isfinite(grid)] for grid in grids.values()])
    low, high = limits or ((float(every.min()), float(every.max())) if every.size else (0.0, 1.0))
    image = None
    for axes, (title, grid) in zip(cells, grids.items(), strict=False):
        axes.set_facecolor("#eceff2")
        image = axes.imshow(np.ma.masked_invalid(grid), cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
        height, width = grid.shape
        step = 1 if height <= 16 else 4
        axes.set_yticks(range(0, height, step), [row_name(r) for r in range(0, height, step)])
        axes.set_xticks(range(0, width, 1 if width <= 12 else 2), range(1, width + 1, 1 if width <= 12 else 2))
        axes.tick_params(length=0, labelsize=7, pad=2, top=False)
        axes.set_xticks(np.arange(width + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(height + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=0.8)
        axes.tick_params(which="minor", length=0)
        axes.set_axisbelow(False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title(title)
    for axes in cells[len(grids) :]:
        axes.set_visible(False)
    if image is not None:
        figure.colorbar(image, ax=list(cells[: len(grids)]), label=label, shrink=0.75, aspect=28)
    return figure


def plate_size(wells: Sequence[str]) -> tuple[int, int]:
    """Rows and columns of the smallest standard plate that has these wells."""
    places = [place for place in map(well_place, wells) if place is not None]
    tallest = max((row for row, _ in places), default=0)
    widest = max((column for _, column in places), default=0)
    return next(((h, w) for h, w in PLATES if tallest < h and widest < w), (tallest + 1, widest + 1))


def plate_grid(wells: Sequence[str], values: Floats, size: tuple[int, int] | None = None) -> Floats:
    """Mean of the values in each well: ``size``, or the smallest standard plate that has the wells; NaN for no value.

    Wells are named ``A01`` to ``AF48``; other names are passed over.
    """
    height, width = size or plate_size(wells)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for name, value in zip(wells, np.asarray(values, np.float64), strict=True):
        place = well_place(name)
        if place is not None and np.isfinite(value):
            total[place] += value
            count[place] += 1
    grid: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return grid


def well_place(name: str) -> tuple[int, int] | None:
    """``"B03" -> (1, 2)``; None for other names."""
    match = re.fullmatch(r"([A-Za-z]{1,2})0*([1-9][0-9]?)", name.strip())
    if match is None:
        return None
    row = 0
    for letter in match[1].upper():
        row = 26 * row + ord(letter) - ord("A") + 1
    return row - 1, int(match[2]) - 1


def row_name(row: int) -> str:
    """``0 -> "A"``, ``25 -> "Z"``, ``26 -> "AA"``."""
    return chr(ord("A") + row) if row < 26 else row_name(row // 26 - 1) + chr(ord("A") + row % 26)


# Colours of a composite by what the stain shows, as the Cell Painting papers mostly have them.
COMPOSITE = {
    "dna": (0.25, 0.45, 1.0),
    "rna": (0.75, 0.9, 0.1),
    "er": (0.1, 0.9, 0.35),
    "agp": (1.0, 0.65, 0.1),
    "mito": (1.0, 0.15, 0.25),
}


@styled
def image_montage(
    sites: Mapping[str, Floats],
    names: Sequence[str],
    *,
    composite: Sequence[int] | None = None,
    side: float = 1.28,
) -> Figure:
    """Sites as rows, their channels as columns in grey, and a colour composite first.

    Parameters
    ----------
    sites
        Title -> (C, H, W), intensities scaled to [0, 1] (values outside are clipped).
    names
        One a channel.
    composite
        Channels that the composite is made of; None for the fluorescence channels by name, and no composite where
        fewer than two are known.
    side
        Inches an image.

    Returns
    -------
    All images of a column share one scale, so that brightness can be compared down a column.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
    if composite is None:
        composite = [i for i, name in enumerate(names) if _stain(name) is not None]
    extra = 1 if len(composite) > 1 else 0
    rows, columns = len(sites), len(names) + extra
    figure = Figure(figsize=(side * columns + 0.6, side * rows + 0.25), layout=layout)
    panels = figure.subplots(rows, columns, squeeze=False)
    for row, (title, site) in enumerate(sites.items()):
        images = [composite_image(site, names, composite)] if extra else []
        images += [np.clip(channel, 0.0, 1.0) for channel in site]
        for axes, image, name in zip(panels[row], images, ["Composite"] * extra + list(names), strict=True):
            bare(axes)
            axes.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="antialiased")
            if row == 0:
                axes.set_title(name, fontsize=8.5, weight="normal", loc="center", pad=3)
        panels[row][0].set_ylabel(title, fontsize=8.5, color=STYLE.ink)
    return figure


def composite_image(site_CHW: Floats, names: Sequence[str], channels: Sequence[int]) -> Floats:
    """Add channels up in their stains' colours: (H, W, 3) in [0, 1]. Unknown stains take the palette's hues in turn."""
    import matplotlib.colors

    image = np.zeros((*site_CHW.shape[1:], 3))
    for i, channel in enumerate(channels):
        stain = _stain(names[channel])
        colour = COMPOSITE[stain] if stain else matplotlib.colors.to_rgb(STYLE.palette[i % len(STYLE.palette)])
        image += np.clip(site_CHW[channel], 0.0, 1.0)[..., None] * np.asarray(colour) * 0.8
    clipped: Floats = np.clip(image, 0.0, 1.0)
    return clipped


def _stain(name: str) -> str | None:
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((stain for stain in COMPOSITE if stain in words or name.lower().endswith(stain)), None)
