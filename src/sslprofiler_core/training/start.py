"""From plates and a recipe to a running (or resumed) training."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path

import torch

from sslprofiler_core import ranks
from sslprofiler_core.errors import UserError
from sslprofiler_core.model.files import pick_device
from sslprofiler_core.model.network import start_networks
from sslprofiler_core.model.pretrained import fetch_weights
from sslprofiler_core.plates import (
    Plate,
    load_metadata,
    measure_scale,
    open_plates,
    require_same_channels,
    select_channels,
    tile_plate,
)
from sslprofiler_core.plates.channels import side_by_side
from sslprofiler_core.plates.flat_field import FlatFields, measure_flat_field
from sslprofiler_core.plates.metadata import COMPOUND, CONTROL
from sslprofiler_core.plates.remote_cache import location
from sslprofiler_core.recipes import Recipe, load_recipe

from .board import Board, require_tensorboard
from .checkpoint import checkpoints
from .knn import KnnChecks, knn_sample
from .loader import PairLoader
from .loop import Trainer, TrainingOutcome, run_training
from .memory import OutOfMemory
from .pairs import PairOrder, check_split
from .presence import Presence
from .run_folder import EventLog, RunFacts, RunFolder
from .signals import sigterm_interrupts
from .trial import SITE_PX, meet_memory

# Settings that a resumed run may change: what it costs, not what it computes.
_FREE = (
    "plates.memory_gb",
    "plates.prefetch",
    "plates.bad_sites",
    "train.threads",
    "train.activation_checkpointing",
    "train.compile",
    "train.tensorboard",
    "train.checkpoint_minutes",
    "train.checkpoint_steps",
    "train.knn_checks",
    "train.knn_sites",
)


def train(
    plates: Sequence[Path | str],
    *,
    group: str,
    out: Path | str,
    recipe: str | Path | None = None,
    overrides: Sequence[str] = (),
    metadata: Path | str | None = None,
    resume: bool = False,
    device: str | None = None,
    channels_file: Path | None = None,
) -> TrainingOutcome:
    """Train one model on one channel group of some plates (paper 3.2, 4.1), writing a run folder.

    Parameters
    ----------
    plates
        Plate folders, or folders of plates.
    group
        ``"fluorescence"``, ``"brightfield"``, ``"all"`` or channel names with commas.
    out
        The run folder.
    recipe, overrides
        A shipped recipe or a TOML file, and ``section.key=value`` changes. Without a recipe, a resumed run has its
        own, and a new one has ``paper-vits14``.
    metadata
        Kept in the run, so that ``embed`` finds it.
    resume
        Go on where the run in ``out`` was stopped; start it when there is none.
    device
        Such as ``"cuda"`` or ``"cpu"``; None takes the best there is.
    channels_file
        Names and groups of the channels, where the files do not say.

    Raises
    ------
    UserError
        For anything that the caller can put right.
    """
    run = RunFolder(out)
    where = pick_device(ranks.device_name(device))
    with ranks.joined(where), ExitStack() as stack:
        settled = ranks.from_first(lambda: _settle(run, group, recipe, overrides, resume))
        stack.enter_context(sigterm_interrupts())
        ranks.from_first(lambda: _enter(run, stack))
        return _train(run, settled, where, plates, group, metadata, channels_file)


def _settle(run: RunFolder, group: str, recipe: str | Path | None, overrides: Sequence[str], resume: bool) -> Recipe:
    """Resolve the recipe, and see that the folder may be trained into with it."""
    going_on = run.exists()
    if recipe is None:
        recipe = run.recipe_file if going_on else "paper-vits14"
    settled = load_recipe(recipe, overrides)
    if settled.train.tensorboard:
        require_tensorboard()
    if going_on:
        if not resume:
            raise UserError(f"{run.path} already holds a run. Add --resume to go on with it, or choose another --out.")
        _refuse_changes(run, settled, group)
    else:
        run.refuse_strangers()
    return settled


def _enter(run: RunFolder, stack: ExitStack) -> None:
    """Be present in the run folder, of several ranks the first one for all."""
    stack.enter_context(Presence(run.path))
    run.forget_control()  # what was asked of an earlier call; from here on, it is asked of this one
    stack.callback(run.forget_control)


def _train(
    run: RunFolder,
    settled: Recipe,
    where: torch.device,
    plates: Sequence[Path | str],
    group: str,
    metadata: Path | str | None,
    channels_file: Path | None,
) -> TrainingOutcome:
    # What rank 0 sees, all work with: the same sites in the same order, whatever another machine's disk shows.
    opened, warnings, compounds, facts = ranks.from_first(
        lambda: _begin(run, settled, where, plates, group, metadata, channels_file)
    )
    channels = {plate.name: select_channels(plate, group) for plate in opened}
    order = PairOrder.over([site for plate in opened for site in plate.sites], settled.train)
    if settled.train.threads:
        torch.set_num_threads(settled.train.threads)

    trainer = Trainer(run, settled, where, facts)
    warnings += trainer.resume()
    if not checkpoints(run.checkpoints):
        start_networks(trainer.student, trainer.teacher, settled)
    if order.lonely:
        wells = "1 well has" if len(order.lonely) == 1 else f"{len(order.lonely)} wells have"
        warnings.append(f"{wells} one site, which pairs with itself: {_some(order.lonely)}.")
    memory = int(settled.plates.memory_gb * 1e9)
    sample = knn_sample(order, compounds, settled.train.knn_sites)
    log = ranks.on_first(lambda: _open_log(run, trainer, warnings))
    with ExitStack() as stack:
        if log is not None:
            stack.enter_context(closing(log))
        try:
            with PairLoader(
                order, opened, channels, facts.scale, memory, facts.flat_field, settled.plates, where.type == "cuda"
            ) as loader:
                return run_training(trainer, loader, log, KnnChecks(sample, loader, settled, facts.steps, where))
        except BaseException as error:
            if log is not None:
                _log_end(error, trainer, log)
            raise


def _begin(
    run: RunFolder,
    settled: Recipe,
    where: torch.device,
    plates: Sequence[Path | str],
    group: str,
    metadata: Path | str | None,
    channels_file: Path | None,
) -> tuple[list[Plate], list[str], dict[tuple[str, str], str], RunFacts]:
    """Open the plates, and create the run or see that they are those it was started on.

    Returns
    -------
    Plates, warnings and compounds as in `_open`, and the run's facts.
    """
    if not checkpoints(run.checkpoints):  # it may take a download, or fail to: before all that is slow
        fetch_weights(settled.model)
    opened, warnings, compounds = _open(plates, settled, metadata, channels_file)
    channels = {plate.name: select_channels(plate, group) for plate in opened}
    order = PairOrder.over([site for plate in opened for site in plate.sites], settled.train)
    check_split(settled.train.batch, ranks.count(), settled.train.accumulate)
    if run.exists():
        facts = run.facts()
        return opened, warnings + _compare_plates(facts, opened, channels), compounds, facts
    if ranks.count() == 1:  # of several, one cannot try a step alone
        first = opened[0]
        meet_memory(settled, len(channels[first.name]), first.shape or (SITE_PX, SITE_PX), where)
    run.claim()
    facts = replace(
        _facts(settled, opened, channels, group, order, metadata),
        paths=tuple(location(path) for path in plates),
        channels_file=str(channels_file.resolve()) if channels_file else None,
    )
    run.create(settled, facts)
    return opened, warnings + _empty_channels(facts), compounds, facts


def _empty_channels(facts: RunFacts) -> list[str]:
    """Warn of channels without a picture on some plate: a lamp that was off, a filter that was missing."""
    return [
        f"Channel {name} of plate {plate} is empty: nearly all its pixels are {low:g}. Look at its images, and leave "
        "it out with --channels if it is so."
        for plate, scale in facts.scale.items()
        for name, (low, high) in scale.items()
        if high - low <= 1.0
    ]


def _open_log(run: RunFolder, trainer: Trainer, warnings: Sequence[str]) -> EventLog:
    """Open the events at the trainer's step, and say there what is to be said at the start."""
    board = Board(run.board, trainer.step) if trainer.recipe.train.tensorboard else None
    log = EventLog(run, trainer.step, board)
    several = {"ranks": ranks.count()} if ranks.count() > 1 else {}
    word = "resumed" if trainer.step else "started"
    log.write(word, trainer.step, steps=trainer.facts.steps, device=str(trainer.device), **several)
    for warning in warnings:
        log.write("warning", trainer.step, text=warning)
        print(f"Warning: {warning}", file=sys.stderr)
    return log


def _log_end(error: BaseException, trainer: Trainer, log: EventLog) -> None:
    """Leave word of what ended a run, for those who watch it; a run that did no step is none, whose settings count."""
    if isinstance(error, KeyboardInterrupt):
        log.write("stopped", trainer.step, steps=trainer.facts.steps)
        return
    if isinstance(error, UserError):
        reason = str(error)
    else:
        reason = f"Unexpected {type(error).__name__}: {error}. Please report it."
    with suppress(UserError):  # a full disk takes no more lines
        log.write("failed", trainer.step, reason=reason)
    if isinstance(error, OutOfMemory) and not checkpoints(trainer.run.checkpoints):
        trainer.run.withdraw()


def _open(
    paths: Sequence[Path | str], recipe: Recipe, metadata: Path | str | None, channels_file: Path | None
) -> tuple[list[Plate], list[str], dict[tuple[str, str], str]]:
    """Open the plates, every file's header read, so that what is odd shows now and not in the night.

    Returns
    -------
    Plates, warnings, and the compound of each (plate, well) that has one and is no control.
    """
    opened = [tile_plate(plate, recipe.plates.tile) for plate in open_plates(paths, channels=channels_file, check=True)]
    require_same_channels(opened)
    small = next((plate for plate in opened if plate.shape and min(plate.shape) < recipe.model.patch), None)
    if small is not None and small.shape is not None:
        raise UserError(
            f"Sites of plate {small.name} are {small.shape[1]} x {small.shape[0]} px with plates.tile = "
            f"{recipe.plates.tile}, less than a patch of the network ({recipe.model.patch} px). "
            "Use a smaller plates.tile."
        )
    warnings = [text for plate in opened if (text := describe_gaps(plate))]
    compounds: dict[tuple[str, str], str] = {}
    if metadata is not None:
        frame = load_metadata(metadata, opened)
        warnings += frame.attrs["warnings"]
        known = frame[frame[COMPOUND].notna()]
        if CONTROL in known:
            known = known[known[CONTROL] != "negcon"]
        keys = zip(known["Metadata_Plate"], known["Metadata_Well"], strict=True)
        compounds = dict(zip(keys, known[COMPOUND], strict=True))
    return opened, warnings, compounds


def describe_gaps(plate: Plate) -> str | None:
    """Say in one line that a plate has gaps, or None."""
    if not plate.gaps:
        return None
    first = plate.gaps[0]
    count = "1 gap" if len(plate.gaps) == 1 else f"{len(plate.gaps)} gaps"
    return (
        f"Plate {plate.name} has {count} (`sslprofiler inspect` lists them); "
        f"the first: {first.path.name}: {first.problem}."
    )


def _facts(
    recipe: Recipe,
    plates: Sequence[Plate],
    channels: dict[str, tuple[int, ...]],
    group: str,
    order: PairOrder,
    metadata: Path | str | None,
) -> RunFacts:
    first = plates[0]
    names = tuple(first.channels[index].name for index in channels[first.name])
    return RunFacts(
        group=group,
        channels=names,
        pixel_size_um=first.pixel_size_um,
        plates={plate.name: location(plate.root) for plate in plates},
        scale=measure_scale(
            plates,
            percentiles=recipe.plates.percentiles,
            sites=recipe.plates.scale_sites,
            seed=recipe.train.seed,
            channels=names,
            progress=True,
        ),
        steps=recipe.train.steps or recipe.train.epochs * order.steps_per_epoch,
        metadata=str(Path(metadata).resolve()) if metadata else None,
        sites={plate.name: len(plate.sites) for plate in plates},
        flat_field=flat_fields(recipe, plates, names),
    )


def flat_fields(recipe: Recipe, plates: Sequence[Plate], channels: Sequence[str]) -> FlatFields:
    """The plates' illumination as the recipe wants it; empty where it is not corrected."""
    if recipe.plates.flat_field == "off":
        return {}
    return measure_flat_field(
        plates, sites=recipe.plates.flat_field_sites, seed=recipe.train.seed, channels=channels, progress=True
    )


def _refuse_changes(run: RunFolder, asked: Recipe, group: str) -> None:
    before, now = run.recipe().model_dump(), asked.model_dump()
    changed = [
        f"{section}.{key} was {before[section][key]}, now {value}"
        for section, values in now.items()
        for key, value in values.items()
        if before[section][key] != value and f"{section}.{key}" not in _FREE
    ]
    if group != run.facts().group:
        changed.insert(0, f"--channels was {run.facts().group}, now {group}")
    if changed:
        raise UserError(
            f"{run.path} was started with other settings: {_some(changed)}. Resume with the same ones (leave "
            "out --recipe and --set), or train into another --out."
        )


def _compare_plates(facts: RunFacts, plates: Sequence[Plate], channels: dict[str, tuple[int, ...]]) -> list[str]:
    """Refuse other plates and channels than the run was started on; warn of other sites."""
    names = {plate.name for plate in plates}
    if names != set(facts.plates):
        raise UserError(
            f"The run was started on plates {_some(sorted(facts.plates))}; given now: {_some(sorted(names))}. "
            "Resume with the same plates."
        )
    first = plates[0]
    found = tuple(first.channels[index].name for index in channels[first.name])
    if found != facts.channels:
        table = side_by_side(["the run", *facts.channels], [f"plate {first.name}", *found])
        raise UserError(f"The plates' channels are not the run's. Resume with the plates as they were:\n{table}")
    # A file that went bad overnight must not end the run, but it changes which sites meet from here on.
    return [
        f"Plate {plate.name} has {len(plate.sites)} complete sites, and had {facts.sites[plate.name]} when the run was "
        "started: the run goes on with other pairs than it would have had."
        for plate in plates
        if len(plate.sites) != facts.sites.get(plate.name, len(plate.sites))
    ]


def _some(items: Sequence[str], most: int = 4) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
