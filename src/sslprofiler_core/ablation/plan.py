"""What rows and seeds need: each training once, whichever rows use it. Folders are named by what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sslprofiler_core.recipes import Recipe

from .rows import Row
from .scale import Scale, recipe_of, sites_of


@dataclass(frozen=True)
class Training:
    """One model to train: a recipe on a channel group, and the folder of its run."""

    name: str
    recipe: Recipe
    group: str
    run: Path


@dataclass(frozen=True)
class Cell:
    """A row at a seed: its trainings, its sites table (shared by rows with the same models) and its scores."""

    row: Row
    seed: int
    trainings: tuple[Training, ...]
    sites: Path
    wells: Path
    scores: Path


def plan_cells(
    rows: Sequence[Row], seeds: Sequence[int], scale: Scale, out: Path, overrides: Sequence[str], labels: str
) -> list[Cell]:
    """Lay out all cells, seed by seed, so that a table of fewer seeds stands early.

    Rows whose recipes are equal share runs. A run's folder is named after the first row that uses it, and by a digest
    of its recipe: another recipe never finds it. So are scores by ``labels``, what is known about the wells.
    """
    known: dict[tuple[str, str], Training] = {}
    cells = []
    for seed in seeds:
        for row in rows:
            recipe = recipe_of(row, scale, seed, tuple(overrides))
            digest = _digest(recipe.model_dump(mode="json"))
            trainings = []
            for group in row.groups:
                if (digest, group) not in known:
                    name = f"{row.name}-{group}-seed{seed}"
                    known[digest, group] = Training(name, recipe, group, out / "runs" / f"{name}-{digest}")
                trainings.append(known[digest, group])
            tables = out / "tables"
            models = _digest([each.run.name for each in trainings])
            merged = _digest([models, row.features, sites_of(row, scale)])
            scored = _digest([merged, row.alpha, labels])
            cells.append(
                Cell(
                    row,
                    seed,
                    tuple(trainings),
                    tables / f"sites-{models}.parquet",
                    tables / f"wells-{merged}.parquet",
                    out / "scores" / f"{row.name}-seed{seed}-{scored}.parquet",
                )
            )
    return cells


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
