"""What a training would mean, on these plates and this machine: counted, and timed on a few real steps."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch

from sslprofiler_core.errors import UserError
from sslprofiler_core.model.files import pick_device
from sslprofiler_core.plates import Plate, open_plates, read_site, select_channels
from sslprofiler_core.recipes import Recipe, load_recipe

from .count import RunCount, count_run
from .loader import reading_threads
from .memory import advice, free_bytes, largest_by_arithmetic
from .run_state import duration_words
from .trial import SITE_PX, time_steps


@dataclass(frozen=True)
class Estimate:
    """What a training means here.

    Attributes
    ----------
    count
        By arithmetic.
    device
        Where it would run.
    timed_batch
        The largest batch that was timed; beyond it, a step is taken to grow in proportion.
    step_s, read_s
        Seconds of a step, and of reading its sites, which goes on beside it.
    total_s
        Seconds of the run.
    memory_bytes, free_bytes
        What a step needs on the device, about, and what is free there now.
    fits
        Whether it does.
    largest_batch
        About the largest that does; 0 for none.
    advice
        A sentence on what to change where it does not fit; else empty.
    """

    count: RunCount
    device: str
    timed_batch: int
    step_s: float
    read_s: float
    total_s: float
    memory_bytes: int
    free_bytes: int
    fits: bool
    largest_batch: int
    advice: str


def estimate_run(
    plates: Sequence[Path | str],
    *,
    group: str,
    recipe: str | Path | Recipe = "paper-vits14",
    overrides: Sequence[str] = (),
    device: str | None = None,
    channels_file: Path | None = None,
) -> Estimate:
    """Estimate a training without doing it; parameters as for `train`.

    A few steps on random pixels are timed, views included, with batches as large as a few seconds allow; reading is
    timed on two sites. Nothing is written.

    Raises
    ------
    UserError
        For what `train` would refuse too.
    """
    where = pick_device(device)
    settled = recipe if isinstance(recipe, Recipe) else load_recipe(recipe, overrides)
    opened = open_plates(plates, channels=channels_file)
    count = count_run(opened, group, settled)
    if settled.train.threads:
        torch.set_num_threads(settled.train.threads)
    first = opened[0]
    height, width = first.shape or (SITE_PX, SITE_PX)
    tile = settled.plates.tile
    channels = len(count.channels)
    free = free_bytes(where)
    smallest = count.network.state_bytes + 2 * count.network.pair_bytes
    if smallest > free:
        raise UserError(advice(settled, channels, 0, where))
    timing = time_steps(settled, channels, (height // tile, width // tile), where)
    pair_bytes = max(timing.pair_bytes, count.network.pair_bytes)
    needed = count.network.state_bytes + count.batch * pair_bytes
    largest = max(0, int((free - count.network.state_bytes) // (2 * pair_bytes))) * 2
    step_s = timing.step_s(count.batch)
    read_s = _reading(first, group) / tile**2 * count.batch / reading_threads()
    if count.sites * count.site_bytes <= settled.plates.memory_gb * 1e9:
        read_s = read_s / max(count.epochs, 1.0)  # each site once
    return Estimate(
        count=count,
        device=_device_name(where),
        timed_batch=timing.largest,
        step_s=step_s,
        read_s=read_s,
        total_s=count.steps * max(step_s, read_s),
        memory_bytes=needed,
        free_bytes=free,
        fits=needed <= free,
        largest_batch=min(largest, largest_by_arithmetic(settled, channels, free)),
        advice="" if needed <= free else advice(settled, channels, largest, where),
    )


def estimate_json(estimate: Estimate) -> str:
    """All of it as JSON, the names as in `Estimate`."""
    return json.dumps(asdict(estimate), indent=1)


def format_estimate(estimate: Estimate) -> str:
    """All of it as lines for a terminal."""
    count, network = estimate.count, estimate.count.network
    limit = "" if estimate.timed_batch == count.batch else f", from steps of up to {estimate.timed_batch} pairs"
    rows = [
        ("sites", f"{count.sites:,} in {count.wells:,} wells of {_number(count.plates, 'plate')}"),
        ("channels", ", ".join(count.channels)),
        ("pairs an epoch", f"{count.pairs:,}"),
        ("steps", f"{count.steps:,} of {count.batch} pairs ({count.epochs:,.1f} epochs)"),
        ("parameters", f"{network.parameters / 1e6:,.1f} million"),
        ("operations", f"{count.batch * network.flop_pair / 1e12:,.3g} TFLOP a step, {count.flop / 1e15:,.3g} PFLOP"),
        ("memory", f"{estimate.memory_bytes / 1e9:,.1f} GB of {estimate.free_bytes / 1e9:,.1f} GB free"),
        (
            "time here",
            f"{duration_words(estimate.total_s)} on {estimate.device} ({estimate.step_s:.3g} s a step{limit})",
        ),
    ]
    if estimate.read_s > estimate.step_s:
        rows.append(("", f"reading the sites takes longest ({estimate.read_s:.3g} s a step): `sslprofiler convert`"))
    lines = [f"{name:15} {text}".rstrip() for name, text in rows]
    return "\n".join([*lines, *([estimate.advice] if estimate.advice else [])])


def _reading(plate: Plate, group: str) -> float:
    """Seconds to read a whole site, the mean of two that lie apart; 0 when they cannot be read."""
    channels = select_channels(plate, group)
    chosen = {0, len(plate.sites) // 2}
    began = time.perf_counter()
    try:
        for number in chosen:
            read_site(plate.sites[number], channels)
    except (UserError, IndexError):
        return 0.0
    return (time.perf_counter() - began) / len(chosen)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    cores = torch.get_num_threads()
    return f"{device.type} ({_number(cores, 'thread')}, {psutil.virtual_memory().total / 1e9:.0f} GB)"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
