"""Weaker, stronger, and back to the paper: changes of all augmentations at once. No Qt.

One step stronger (our choice of how):

- probabilities and the crop's smallest area change by their odds: p / (1 - p) times 1.5, the area's divided by 1.5;
  so nothing leaves [0, 1], what is off stays off, and what always happens goes on;
- the aspect's range and all strengths (brightness, contrast, elastic magnitude, noise, blur) are multiplied by 1.25,
  the aspect on a logarithmic scale;
- what has no direction stays: kind, sizes, elastic smoothness, solarisation's threshold, the number and area of local
  crops, standardisation, where ``v2`` comes from, and the masks.

One step weaker is the inverse. Values are rounded to four digits, so a step there and back returns them to within that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core.recipes import AugmentRecipe
from sslprofiler_core.recipes.schema import LEAST_SHOT

if TYPE_CHECKING:
    from sslprofiler_core.recipes import Recipe

ODDS, FACTOR = 1.5, 1.25
_PROBABILITIES = ("flip", "rotation", "elastic", "jitter", "noise", "blur_local")
_STRENGTHS = ("elastic_alpha", "brightness", "contrast", "noise_dark", "noise_read")
_SMALLEST_CROP = 0.02  # of the site: below, a view shows next to nothing


def stronger(recipe: Recipe, steps: int = 1) -> Recipe:
    """The recipe with its augmentations some steps stronger; negative: weaker."""
    augment = recipe.augment
    odds, factor = ODDS**steps, FACTOR**steps
    low, high = augment.crop
    first, last = augment.aspect
    changed = {
        **{name: _odds(getattr(augment, name), odds) for name in _PROBABILITIES},
        **{name: _rounded(getattr(augment, name) * factor) for name in _STRENGTHS},
        "noise_shot": max(LEAST_SHOT, _rounded(augment.noise_shot * factor)),
        "crop": (min(high, max(_SMALLEST_CROP, _odds(low, 1.0 / odds))), high),
        "aspect": (_rounded(first**factor), _rounded(last**factor)),
        "blur": tuple(_odds(part, odds) for part in augment.blur),
        "blur_sigma": tuple(_rounded(part * factor) for part in augment.blur_sigma),
        "solarise": tuple(_odds(part, odds) for part in augment.solarise),
    }
    return recipe.model_copy(update={"augment": AugmentRecipe.model_validate({**dict(augment), **changed})})


def as_the_paper(recipe: Recipe) -> Recipe:
    """The recipe with the paper's augmentations and masks; sizes that the network's patches do not divide stay."""
    paper = type(recipe)()
    patch = recipe.model.patch
    kept = {
        name: getattr(recipe.augment, name) for name in ("size", "local_size") if getattr(paper.augment, name) % patch
    }
    masks = {name: getattr(paper.loss, name) for name in ("mask_images", "mask_ratio")}
    return recipe.model_copy(
        update={
            "augment": AugmentRecipe.model_validate({**dict(paper.augment), **kept}),
            "loss": recipe.loss.model_copy(update=masks),
        }
    )


def _odds(probability: float, factor: float) -> float:
    if probability in (0.0, 1.0):
        return probability
    return min(0.9999, max(0.0001, _rounded(probability * factor / (1.0 - probability + probability * factor))))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
