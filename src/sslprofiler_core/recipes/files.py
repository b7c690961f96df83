"""Recipes as TOML: shipped by name, read from a file, changed by ``--set``, written into the run."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sslprofiler_core.errors import UserError

from .schema import Recipe


def available_recipes() -> tuple[str, ...]:
    """Names of the recipes that ship with the package."""
    folder = resources.files(__package__)
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def load_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe and change some of its keys.

    Parameters
    ----------
    name_or_path
        A shipped recipe's name (``"tiny"``) or a TOML file.
    overrides
        ``"section.key=value"``, the value written as in TOML (bare words are taken as strings).

    Raises
    ------
    UserError
        For a file that is not there or not TOML, an unknown key, or a value out of range.
    """
    text, where = _read(name_or_path)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"Recipe {where} is not valid TOML: {error}.") from error
    for override in overrides:
        _apply(tree, override)
    return parse_recipe(tree, where)


def parse_recipe(tree: dict[str, Any], where: str) -> Recipe:
    """Check a nested dict of settings; ``where`` names it in errors."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            close = difflib.get_close_matches(key, [*Recipe.model_fields, *known_keys()], n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known sections: {', '.join(Recipe.model_fields)}."
            raise UserError(f"Recipe {where} has an unknown key {key!r}.{hint}") from error
        problem = first["msg"].removeprefix("Value error, ")
        raise UserError(f"Recipe {where}: {key or 'settings'}: {problem} (given: {first['input']!r}).") from error


def known_keys() -> list[str]:
    """Every ``section.key`` of a recipe."""
    return [f"{section}.{key}" for section, settings in Recipe().model_dump().items() for key in settings]


def dump_recipe(recipe: Recipe) -> str:
    """Write a recipe as TOML, every key resolved."""
    import tomli_w

    return tomli_w.dumps(recipe.model_dump(mode="json"))


def _read(name_or_path: str | Path) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.exists():
        try:
            return path.read_text(encoding="utf-8-sig"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"Cannot read recipe {path}: {error}.") from error
    shipped = resources.files(__package__) / f"{name_or_path}.toml"
    if not shipped.is_file():
        raise UserError(
            f"No recipe {str(name_or_path)!r}. Shipped recipes: {', '.join(available_recipes())}; "
            "or give the path of a .toml file."
        )
    return shipped.read_text(encoding="utf-8"), str(name_or_path)


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise UserError(f"--set {override!r} is not section.key=value, for example train.batch=64.")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    target = tree.setdefault(section, {})
    if not isinstance(target, dict):
        raise UserError(f"--set {override!r}: {section!r} is not a section of a recipe.")
    target[name] = parsed
