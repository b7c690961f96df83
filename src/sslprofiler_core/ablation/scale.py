"""A row's recipe at a scale: the paper's own, or a tiny one that keeps what the row changes."""

from __future__ import annotations

from typing import Any, Literal

from sslprofiler_core.recipes import Recipe, load_recipe

from .rows import Row

Scale = Literal["paper", "tiny"]

# 518 px become tiny.toml's 64; the rest in proportion, in whole patches of 4 px.
_TINY_SIZES = {518: 64, 224: 28}
_TINY_LOCAL = 12
_TINY_WIDE = 2  # ViT-B/14 is twice as wide as ViT-S/14, with twice the heads
# What a tiny network needs of a view, whosever it is (tiny.toml says why); a row's own settings come on top.
_TINY_AUGMENT = ("crop", "elastic_alpha", "elastic_sigma", "contrast", "standardise")


def sites_of(row: Row, scale: Scale) -> Literal["concat", "mean"]:
    """How a row's sites merge: as in the paper; on simulated plates, where a site's place means nothing, their mean."""
    return row.sites or ("concat" if scale == "paper" else "mean")


def recipe_of(row: Row, scale: Scale, seed: int = 0, overrides: tuple[str, ...] = ()) -> Recipe:
    """Resolve a row's recipe.

    Parameters
    ----------
    row
        Which.
    scale
        ``"paper"``: as shipped. ``"tiny"``: the recipe ``tiny``, with the row's resolution, views, pairs and width in
        proportion. Tiny recipes have no noise (it hides fine texture at 64 px), so that a row that takes noise away
        changes nothing there.
    seed
        Of the training.
    overrides
        Of every row, as for ``--set``.

    Raises
    ------
    UserError
        For an unknown key, or a value out of range.
    """
    own = load_recipe(row.recipe)
    more = (*row.overrides, *overrides, f"train.seed={seed}")
    if scale == "paper":
        return load_recipe(row.recipe, more)
    tiny = load_recipe("tiny")
    settings: dict[str, Any] = {
        "augment.kind": own.augment.kind,
        "augment.size": _TINY_SIZES[own.augment.size],
        "augment.local_aggregation": own.augment.local_aggregation,
        "augment.local_crops": own.augment.local_crops,
        "augment.local_size": _TINY_LOCAL,
        **{f"augment.{name}": getattr(tiny.augment, name) for name in _TINY_AUGMENT},
    }
    if own.model.width > load_recipe("table1/dinov2-8ch").model.width:
        settings["model.width"] = _TINY_WIDE * tiny.model.width
        settings["model.heads"] = _TINY_WIDE * tiny.model.heads
    return load_recipe("tiny", [*(f"{key}={_toml(value)}" for key, value in settings.items()), *more])


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)
