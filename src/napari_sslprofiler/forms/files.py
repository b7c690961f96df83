"""Recipes in and out of a window: files, and the options of a command. No Qt."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe, dump_recipe, load_recipe


def read_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe that ships with the package, or a file.

    Raises
    ------
    UserError
        As ``load_recipe``.
    """
    return load_recipe(name_or_path)


def save_recipe(recipe: Recipe, path: Path | str) -> Path:
    """Write a recipe, every key resolved, all or nothing.

    Returns
    -------
    The file: ``path``, with ``.toml`` where it has no such ending.

    Raises
    ------
    UserError
        Where it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".toml":
        path = path.with_name(path.name + ".toml")
    handle, name = -1, ""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(dump_recipe(recipe))
        Path(name).replace(path)
    except OSError as error:
        if name:
            with suppress(OSError):
                Path(name).unlink()
        raise UserError(
            f"Cannot write the recipe {path}: {error.strerror or error}. Choose another folder or name."
        ) from error
    return path


def recipe_overrides(recipe: Recipe, base: Recipe) -> list[str]:
    """The keys in which a recipe differs from another, as ``--set`` takes them: ``["augment.flip=0.25"]``."""
    found = []
    ours, theirs = recipe.model_dump(mode="json"), base.model_dump(mode="json")
    for section, keys in ours.items():
        for key, value in keys.items():
            if value != theirs[section][key]:
                found.append(f"{section}.{key}={toml_value(value)}")
    return found


def toml_value(value: Any) -> str:
    """A value as TOML writes it, on one line."""
    import tomli_w

    if isinstance(value, list):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    return tomli_w.dumps({"value": value}).removeprefix("value = ").strip()
