"""Running out of memory, in words: the largest batch that fits, and what else would help."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING

import psutil
import torch

from sslprofiler_core import ranks
from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe

from .count import count_network
from .loader import PairBatch
from .pace import wait_for

if TYPE_CHECKING:
    from .loop import Trainer

# How torch says it: its CPU allocator's, CUDA's and MPS's words, and oneDNN's for a kernel that it has no room to make.
_WORDS = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|could not create a primitive$",
    re.IGNORECASE,
)


class OutOfMemory(UserError):  # noqa: N818  # said to the user, who has to lower something
    """A step needs more memory than there is."""


def ran_out(error: BaseException) -> bool:
    """Whether an error is a want of memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or bool(_WORDS.search(str(error)))


@contextmanager
def memory_in_words(trainer: Trainer, batch: PairBatch) -> Iterator[None]:
    """Turn a step's want of memory into an `OutOfMemory`; at a run's first step, whose shapes are those of all others.

    On a GPU the largest batch is found by trying, which leaves the trainer's weights of no use; on a CPU, where memory
    that is used too freely ends the process, by arithmetic.
    """
    try:
        yield
        return
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        clear_frames(error.__traceback__)  # they hold the step's tensors
    trainer.optimizer.zero_grad(set_to_none=True)
    size, device, recipe = len(batch.sites), trainer.device, trainer.recipe
    if device.type == "cuda" and ranks.count() == 1:  # of several ranks, one cannot try a step alone
        largest = largest_batch(lambda smaller: works(trainer, batch, smaller), size)
    else:
        largest = largest_by_arithmetic(recipe, len(trainer.facts.channels), free_bytes(device))
    raise OutOfMemory(advice(recipe, len(trainer.facts.channels), min(largest, size - 2), device))


def advice(recipe: Recipe, channels: int, largest: int, device: torch.device) -> str:
    """Say which batch fits, and which settings help: those first that leave the objective as it is."""
    needed, batch = needed_bytes(recipe, channels) / 1e9, recipe.train.batch
    switches = []
    if not recipe.train.activation_checkpointing:
        less = needed_bytes(with_train(recipe, activation_checkpointing=True), channels) / 1e9
        switches.append(f"train.activation_checkpointing=true ({less:.1f} GB at batch {batch})")
    if recipe.train.accumulate == 1 and batch % 4 == 0:
        less = needed_bytes(with_train(recipe, accumulate=2), channels) / 1e9
        switches.append(f"train.accumulate=2 ({less:.1f} GB, each half balanced alone)")
    if recipe.train.precision == "float32":
        switches.append("train.precision=bf16")
    if recipe.augment.local_crops:
        switches.append(f"fewer local crops (augment.local_crops, now {recipe.augment.local_crops})")
    switches.append(f"a smaller view (augment.size, now {recipe.augment.size})")
    help_ = f"Less is needed with {', '.join(switches[:-1])}{' or ' if len(switches) > 1 else ''}{switches[-1]}."
    what = f"A step with train.batch = {recipe.train.batch} does not fit into the memory of {device} ({needed:.1f} GB"
    largest -= largest % (2 * recipe.train.accumulate)
    if largest < 2:
        return f"{what}, about); no smaller batch does either. {help_}"
    return f"{what}, about). The largest batch that fits is about {largest}: --set train.batch={largest}. {help_}"


def needed_bytes(recipe: Recipe, channels: int) -> int:
    """What a step needs on the device, about."""
    count = count_network(recipe, channels)
    return count.state_bytes + recipe.train.batch * count.pair_bytes


def largest_batch(works: Callable[[int], bool], size: int) -> int:
    """Find about the largest even batch below ``size`` that works, by halving and then a few steps up; 0 for none."""
    bad, good = size, size // 4 * 2
    while good >= 2 and not works(good):
        bad, good = good, good // 4 * 2
    if good < 2:
        return 0
    for _ in range(3):
        middle = (good + bad) // 4 * 2
        if middle <= good:
            break
        good, bad = (middle, bad) if works(middle) else (good, middle)
    return good


def largest_by_arithmetic(recipe: Recipe, channels: int, free: int) -> int:
    """The largest even batch whose counted memory is free; 0 for none."""
    count = count_network(recipe, channels)
    return max(0, int((free - count.state_bytes) // (2 * count.pair_bytes))) * 2


def free_bytes(device: torch.device) -> int:
    """Memory of a device that is free, in bytes: a container's limit counts."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # where there is no such limit
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        free = min(free, max(0, limit))
    return free


def with_batch(recipe: Recipe, size: int) -> Recipe:
    """The same recipe for another batch."""
    return with_train(recipe, batch=size)


def with_train(recipe: Recipe, **changes: object) -> Recipe:
    """The same recipe but for some settings of its training."""
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


def works(trainer: Trainer, batch: PairBatch, size: int) -> bool:
    """Try a step with the first sites of a batch; two where the first makes the optimizer's moments, to hold both."""
    torch.cuda.empty_cache()
    smaller = replace(
        batch,
        sites=batch.sites[:size],
        scales_BC2=batch.scales_BC2[:size],
        partner_B=batch.partner_B[:size],
        well_B=batch.well_B[:size],
        names=batch.names[:size],
    )
    trainer.recipe = with_batch(trainer.recipe, size)
    try:
        for _ in range(1 if trainer.optimizer.state else 2):
            trainer.train_step(smaller)
        wait_for(trainer.device)
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        return False
    finally:
        trainer.optimizer.zero_grad(set_to_none=True)
    return True
