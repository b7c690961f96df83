"""``sslprofiler ablate``: trains, embeds, profiles and scores every row and seed; goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sslprofiler_core
from sslprofiler_core.demo.side_by_side import Job, cores, finished, train_jobs
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import load_metadata, open_plates
from sslprofiler_core.recipes import dump_recipe
from sslprofiler_core.training.count import count_run
from sslprofiler_core.training.run_folder import write_atomically

from .outcomes import score_wells, write_scores
from .plan import Cell, plan_cells
from .rows import choose_rows
from .scale import Scale, sites_of
from .table import Cost, hours_of, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sslprofiler_core.plates import Plate

_SETTINGS = "settings.json"


def ablate(
    plates: Sequence[Path | str],
    out: Path | str,
    *,
    metadata: Path | str | None = None,
    rows: Sequence[str] | None = None,
    seeds: int = 3,
    scale: Scale = "paper",
    overrides: Sequence[str] = (),
    device: str | None = None,
    at_once: int | None = None,
    channels_file: Path | None = None,
) -> Path:
    """Train, embed, profile and score each row and seed, and write the table.

    Parameters
    ----------
    plates, metadata, channels_file
        As for `train`; metadata must say which compound each well holds.
    out
        Folder: ``runs/``, ``tables/``, ``scores/``, ``table1.md``, ``scores.csv``. What is there from an earlier call
        with the same settings is kept, and what was stopped goes on; with other metadata, all is scored again.
    rows
        Names as in `choose_rows`; None for the paper's ladder.
    seeds
        Trainings of each row: seeds 0, 1, ...
    scale
        ``"paper"``: the paper's sizes; ``"tiny"``: small networks and views, minutes on a CPU.
    overrides
        Settings changed in every row, as for ``--set``.
    device
        As for `train`; None takes the best there is.
    at_once
        Trainings at a time; None: one a GPU, or two on a CPU.

    Returns
    -------
    The path of ``table1.md``, written anew after each seed.

    Raises
    ------
    UserError
        For unknown rows, plates that do not fit them, another call's folder, or a training that fails.
    """
    folder = Path(out)
    chosen = choose_rows(rows)
    if seeds < 1:
        raise UserError(f"--seeds {seeds} is none. Use 1 or more.")
    opened = open_plates(list(plates), channels=channels_file)
    labels = "" if metadata is None else load_metadata(metadata, opened).to_csv()
    cells = plan_cells(chosen, range(seeds), scale, folder, overrides, labels)
    settings = {"plates": sorted(plate.name for plate in opened), "scale": scale, "set": list(overrides)}
    _refuse_others(folder, settings)
    costs = {row.name: _cost(opened, [c for c in cells if c.row is row and c.seed == 0]) for row in chosen}
    environments = _gpus(device)
    folder.mkdir(parents=True, exist_ok=True)  # from here on it is this call's
    write_atomically(folder / _SETTINGS, _as_text(settings).encode())
    slots = at_once or max(1, len(environments)) * (2 if not environments else 1)
    facts = [
        f"sslprofiler {sslprofiler_core.__version__}, scale {scale}: {len(opened)} plates, "
        f"{len({(site.plate, site.well) for plate in opened for site in plate.sites})} wells, "
        f"{sum(len(plate.sites) for plate in opened)} sites."
    ]
    where = Where(tuple(map(Path, plates)), None if metadata is None else Path(metadata), channels_file, device)
    table = folder / "table1.md"
    for seed in range(seeds):
        own = [cell for cell in cells if cell.seed == seed]
        _train(own, where, folder, slots, environments)
        for cell in own:
            if not cell.scores.is_file():
                _measure(cell, where, scale)
        spent = {
            row.name: _with_hours(costs[row.name], [c for c in cells if c.row is row and c.seed == 0]) for row in chosen
        }
        table = write_table(folder, chosen, cells, spent, facts)
    return table


@dataclass(frozen=True)
class Where:
    """What the trainings and the embeddings have in common."""

    plates: tuple[Path, ...]
    metadata: Path | None
    channels_file: Path | None
    device: str | None


def _refuse_others(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder that holds rows of other plates or another scale, or something else."""
    path = folder / _SETTINGS
    if path.is_file():
        if path.read_text(encoding="utf-8") != _as_text(settings):
            raise UserError(f"{folder} holds rows of other plates or settings ({path}). Choose another --out.")
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} holds something else. Choose another --out.")


def _as_text(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, indent=1) + "\n"


def _train(
    cells: Sequence[Cell], where: Where, folder: Path, slots: int, environments: Sequence[Mapping[str, str]]
) -> None:
    trainings = {each.run: each for cell in cells for each in cell.trainings}
    threads = max(1, cores() // slots)
    jobs = []
    for each in trainings.values():
        if finished(each.run):
            continue
        recipe = folder / "recipes" / f"{each.run.name}.toml"
        recipe.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(recipe, dump_recipe(each.recipe).encode())
        more = () if each.recipe.train.threads else (f"train.threads={threads}",)
        own = (each.name, where.plates, where.metadata, each.group, each.run, str(recipe), more)
        jobs.append(Job(*own, device=where.device, channels_file=where.channels_file))
    train_jobs(jobs, slots, environments)


def _measure(cell: Cell, where: Where, scale: Scale) -> None:
    from sslprofiler_core.profiling import profile_sites, read_wells
    from sslprofiler_core.profiling.embed import embed_plates, load_models

    models = load_models([each.run for each in cell.trainings])
    cell.sites.parent.mkdir(parents=True, exist_ok=True)
    embed_plates(
        where.plates,
        models,
        cell.sites,
        metadata=where.metadata,
        device=where.device,
        channels_file=where.channels_file,
    )
    profile_sites(cell.sites, cell.wells, sites=sites_of(cell.row, scale), features=cell.row.features)
    write_scores(cell.scores, score_wells(read_wells(cell.wells), cell.row.alpha, cell.seed))


def _cost(plates: Sequence[Plate], cells: Sequence[Cell]) -> Cost:
    counts = [count_run(plates, each.group, each.recipe) for cell in cells for each in cell.trainings]
    return Cost(
        pairs=sum(count.steps * count.batch for count in counts),
        flop=sum(count.flop for count in counts),
        hours=0.0,
        memory_gb=max(count.memory_bytes for count in counts) / 1e9,
    )


def _with_hours(cost: Cost, cells: Sequence[Cell]) -> Cost:
    hours = sum(hours_of(each.run) for cell in cells for each in cell.trainings)
    return Cost(cost.pairs, cost.flop, hours, cost.memory_gb)


def _gpus(device: str | None) -> list[dict[str, str]]:
    """One environment a GPU; none on a CPU, or where one device is named."""
    if device is not None:
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    return [{"CUDA_VISIBLE_DEVICES": str(number)} for number in range(torch.cuda.device_count())]
