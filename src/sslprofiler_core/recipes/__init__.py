"""Recipes: every setting of a run, as one TOML file."""

from __future__ import annotations

from .files import available_recipes, dump_recipe, load_recipe
from .schema import AugmentRecipe, EmbedRecipe, LossRecipe, ModelRecipe, PlatesRecipe, Recipe, TrainRecipe

__all__ = [
    "AugmentRecipe",
    "EmbedRecipe",
    "LossRecipe",
    "ModelRecipe",
    "PlatesRecipe",
    "Recipe",
    "TrainRecipe",
    "available_recipes",
    "dump_recipe",
    "load_recipe",
]
