"""What was drawn, in words and units a person reads. No Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sslprofiler_core.augment.draw import Drawn
    from sslprofiler_core.recipes import AugmentRecipe

    from .model import Preview


@dataclass(frozen=True)
class Row:
    """One line of what was drawn: what it is, and its value for ``v1`` and for ``v2``."""

    name: str
    v1: str
    v2: str


def drawn_rows(preview: Preview) -> list[Row]:
    """All that was drawn for both views, a line a parameter; what the recipe's kind of views lacks is left out."""
    recipe = preview.request.recipe.augment
    views = ((preview.v1, preview.shapes[0]), (preview.v2, preview.shapes[1]))
    rows = [
        Row("Crop", *(part_words(drawn, shape) for drawn, shape in views)),
        Row("Crop's size", *(crop_words(drawn) for drawn, _ in views)),
        Row("Flipped", *(flip_words(drawn) for drawn, _ in views)),
    ]
    if recipe.kind == "paper":
        rows.insert(2, Row("Turned", *(angle_words(drawn) for drawn, _ in views)))
        rows.append(Row("Elastic", *(elastic_words(drawn, recipe) for drawn, _ in views)))
        rows.append(Row("Noise", *("yes" if drawn.noise_B[0] else "no" for drawn, _ in views)))
    else:
        rows.append(Row("Blur", *(_blur_words(drawn) for drawn, _ in views)))
        rows.append(Row("Solarised", *("yes" if drawn.solarise_B[0] else "no" for drawn, _ in views)))
    rows.append(Row("<i>Brightness ×, contrast ×</i>", "", ""))
    for place, name in enumerate(preview.request.names):
        rows.append(Row(name, *(factor_words(drawn, place) for drawn, _ in views)))
    return rows


def part_words(drawn: Drawn, shape: tuple[int, int]) -> str:
    """The crop's part of the site."""
    _, _, height, width = drawn.box_B4[0]
    return f"{100 * height * width / (shape[0] * shape[1]):.0f} % of the site"


def crop_words(drawn: Drawn) -> str:
    """The crop's width and height in site pixels."""
    _, _, height, width = drawn.box_B4[0]
    return f"{width:.0f} × {height:.0f} px"


def angle_words(drawn: Drawn) -> str:
    """The rotation in degrees."""
    return f"{math.degrees(drawn.angle_B[0]):.0f}°" if drawn.angle_B[0] else "no"


def flip_words(drawn: Drawn) -> str:
    """Which way the view is flipped."""
    down, across = drawn.flip_B2[0]
    if down and across:
        return "both ways"
    return "up–down" if down else "left–right" if across else "no"


def elastic_words(drawn: Drawn, recipe: AugmentRecipe) -> str:
    """Whether the view is deformed, and by how much: alpha / (2 sqrt(pi) sigma), the displacement's deviation."""
    if not drawn.elastic_B[0]:
        return "no"
    return f"yes, by {recipe.elastic_alpha / (2.0 * math.sqrt(math.pi) * recipe.elastic_sigma):.1f} px (SD)"


def factor_words(drawn: Drawn, channel: int) -> str:
    """A channel's brightness and contrast factors."""
    brightness, contrast = drawn.brightness_BC[0, channel], drawn.contrast_BC[0, channel]
    if brightness == 1.0 and contrast == 1.0:
        return "unchanged"
    return f"{brightness:.2f}, {contrast:.2f}"


def _blur_words(drawn: Drawn) -> str:
    return f"{drawn.blur_B[0]:.2f} px" if drawn.blur_B[0] else "no"


def short_words(drawn: Drawn, shape: tuple[int, int]) -> str:
    """What was drawn in a few words: ``"61 %, 132°, flipped, elastic, noise"``."""
    words = [part_words(drawn, shape)]
    if drawn.angle_B[0]:
        words.append(angle_words(drawn))
    if drawn.flip_B2[0].any():
        words.append("flipped")
    for happens, word in (
        (drawn.elastic_B[0], "elastic"),
        (drawn.noise_B[0], "noise"),
        (drawn.blur_B[0] > 0.0, "blur"),
        (drawn.solarise_B[0], "solarised"),
    ):
        if happens:
            words.append(word)
    return ", ".join(words)


def masked_words(preview: Preview) -> str:
    """How much of ``v1`` is masked."""
    part = float(preview.mask.mean())
    return f"{100 * part:.0f} % masked" if part else "not masked in this draw"
