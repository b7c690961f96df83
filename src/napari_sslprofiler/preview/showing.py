"""Answers to what the widget shows: pictures, sentences, a table. No window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sslprofiler.child_process import command_line
from napari_sslprofiler.forms.files import recipe_overrides

from . import words
from .canvas import Panel
from .compose import colours_of, display_range, masked_picture, mosaic, picture, shown_channels
from .crop_layer import V1_COLOUR, V2_COLOUR
from .model import Preview, Settled, Wish

if TYPE_CHECKING:
    from napari_sslprofiler.state import Screen
    from sslprofiler_core.plates import Plate
    from sslprofiler_core.recipes import Recipe


@dataclass(frozen=True, eq=False)
class Answer:
    """A preview, what it was asked with, and whether its intensities are training's own."""

    wish: Wish
    settled: Settled
    preview: Preview
    exact: bool


def channel_groups(plate: Plate) -> list[tuple[str, str]]:
    """The channel groups that a plate has: words and name."""
    found = {channel.group for channel in plate.channels}
    groups = [(name.capitalize(), name) for name in ("fluorescence", "brightfield") if name in found]
    return [*groups, ("All channels", "all")]


def group_names(plate: Plate, group: str) -> tuple[str, ...]:
    """Names of a group's channels."""
    return tuple(channel.name for channel in plate.channels if group in ("all", channel.group))


def panels_of(answer: Answer, channel: str) -> list[Panel]:
    """The three pictures of an answer, and its local crops where there are any."""
    preview, request = answer.preview, answer.settled.request
    colours = colours_of(answer.wish.plate)
    shown = shown_channels(answer.wish.plate, request.names, channel)
    colours_C3 = np.stack([colours[name] for name in request.names])
    limits = display_range(request.recipe.augment.standardise)
    first, second = (picture(view, colours_C3, shown, limits) for view in (preview.v1_CSS, preview.v2_CSS))
    twin = masked_picture(first, preview.mask)
    local = [picture(view, colours_C3, shown, limits) for view in preview.local_LCss]
    captions = [words.short_words(d, shape) for d, shape in zip((preview.v1, preview.v2), preview.shapes, strict=True)]
    panels = [
        Panel("v1", captions[0], first, V1_COLOUR),
        Panel("masked v1", words.masked_words(preview), twin, V1_COLOUR, preview.mask),
        Panel(f"v2, site {request.second.site}", captions[1], second, V2_COLOUR),
    ]
    if local:
        count = len(local)
        panels.append(Panel("local crops", f"{count} of v1's site", mosaic(local)))
    return panels


def notes_of(answer: Answer) -> str:
    """What is worth saying about an answer, a sentence a line."""
    notes = list(answer.settled.notes)
    request = answer.settled.request
    if not answer.exact and answer.wish.scale:
        notes.append("Intensities are the picture's: training's own are being measured.")
    if request.recipe.augment.standardise:
        notes.append("Views are standardised: drawn from -1 (black) to 4 standard deviations.")
    own = request.size == request.recipe.augment.size and answer.exact and answer.wish.partner is None
    if answer.settled.now == request.sample:
        notes.append(
            f"Training on the open plates sees {'exactly this' if own else 'this draw'} in step {request.step}."
        )
    return "\n".join(notes)


def drawn_table(preview: Preview) -> str:
    """What was drawn as a table in rich text."""
    rows = "".join(
        f"<tr><td>{row.name}&nbsp;&nbsp;</td><td>{row.v1}&nbsp;&nbsp;&nbsp;</td><td>{row.v2}</td></tr>"
        for row in words.drawn_rows(preview)
    )
    return f"<table cellspacing='2'><tr><td></td><td><b>v1</b></td><td><b>v2</b></td></tr>{rows}</table>"


def train_command(screen: Screen | None, group: str, recipe: Recipe, name: str, base: Recipe) -> str:
    """The command that trains on the open plates with a recipe, told by how it differs from a named one."""
    paths = [str(path) for path in screen.paths] if screen is not None else ["PLATES"]
    arguments = ["train", *paths, "--channels", group, "--out", f"runs/{group}", "--recipe", name]
    for override in recipe_overrides(recipe, base):
        arguments += ["--set", override]
    if screen is not None and screen.metadata_path is not None:
        arguments += ["--metadata", str(screen.metadata_path)]
    if screen is not None and screen.channels_file is not None:
        arguments += ["--channels-file", str(screen.channels_file)]
    return command_line(arguments)
