"""Training steps on random pixels: what a step costs here, before any plate is read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sslprofiler_core.recipes import Recipe

from .loader import PairBatch
from .loop import Trainer
from .memory import (
    OutOfMemory,
    advice,
    free_bytes,
    largest_batch,
    largest_by_arithmetic,
    needed_bytes,
    with_batch,
    with_train,
    works,
)
from .run_folder import RunFacts, RunFolder

SITE_PX = 1080  # a site's side where no file says (CPJUMP1's)
_ENOUGH_S = 3.0  # of timed steps
_SMALLEST = 2


@dataclass(frozen=True)
class Timing:
    """What steps cost: seconds ``fixed_s + pair_s x batch``, and the bytes that autograd keeps of a pair, or None.

    ``largest`` is the largest batch that was timed.
    """

    fixed_s: float
    pair_s: float
    largest: int
    pair_bytes: int

    def step_s(self, batch: int) -> float:
        """Seconds of a step."""
        return self.fixed_s + self.pair_s * batch


def time_steps(
    recipe: Recipe, channels: int, shape: tuple[int, int], device: torch.device, enough_s: float = _ENOUGH_S
) -> Timing:
    """Time real steps, views included, of batches that double until the time is spent or the recipe's batch reached.

    Parameters
    ----------
    recipe
        All settings.
    channels, shape
        Of a site: how many, and (height, width) in pixels.
    device
        Where to.
    enough_s
        Seconds after which no larger batch is tried. One step is always timed, after one that warms up.
    """
    trainer = make_trial(recipe, channels, device)
    sizes = [_SMALLEST]
    with counted_bytes(trainer.student) as kept:
        trial_step(trainer, shape, sizes[0])
    times = [_timed(trainer, shape, sizes[0])]
    while sizes[-1] < recipe.train.batch and sum(times) + 2.5 * times[-1] < enough_s:
        sizes.append(min(2 * sizes[-1], recipe.train.batch))
        times.append(_timed(trainer, shape, sizes[-1]))
    if len(sizes) == 1:
        return Timing(0.0, times[0] / sizes[0], sizes[0], kept[0] // sizes[0])
    pair_s = max((times[-1] - times[-2]) / (sizes[-1] - sizes[-2]), 0.25 * times[-1] / sizes[-1])
    return Timing(max(0.0, times[-1] - pair_s * sizes[-1]), pair_s, sizes[-1], kept[0] // sizes[0])


@contextmanager
def counted_bytes(network: nn.Module) -> Iterator[list[int]]:
    """Count the bytes that autograd keeps meanwhile, a network's weights left out: ``[bytes]`` once left."""
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, int] = {}
    result = [0]

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        yield result
    result[0] = sum(kept.values())


def _timed(trainer: Trainer, shape: tuple[int, int], size: int) -> float:
    began = time.perf_counter()
    trial_step(trainer, shape, size)
    return time.perf_counter() - began


def make_trial(recipe: Recipe, channels: int, device: torch.device) -> Trainer:
    """A trainer of no run: nothing is written."""
    facts = RunFacts("trial", tuple(map(str, range(channels))), None, {}, {}, recipe.train.steps or 1000)
    return Trainer(RunFolder(Path(os.devnull)), recipe, device, facts)


def trial_step(trainer: Trainer, shape: tuple[int, int], size: int) -> None:
    """Do one step on sites of random pixels, (height, width), and wait for the device."""
    trainer.recipe = with_batch(trainer.recipe, size)  # masks are allotted over it
    terms, _ = trainer.train_step(random_batch(len(trainer.facts.channels), shape, size))
    terms.tolist()


def meet_memory(recipe: Recipe, channels: int, shape: tuple[int, int], device: torch.device) -> None:
    """See whether a step fits into the device's memory, before anything is read.

    On a GPU by doing two steps on random pixels, the second of which has the optimizer's moments beside it; on a CPU,
    where a process that takes too much is ended without a word, by arithmetic, which is right to about a fifth.

    Raises
    ------
    OutOfMemory
        With the largest batch that does, and what else would help.
    """
    if not tries(device):
        free = free_bytes(device)
        if needed_bytes(recipe, channels) > 1.2 * free:
            raise OutOfMemory(advice(recipe, channels, largest_by_arithmetic(recipe, channels, free), device))
        return
    largest = _largest_tried(with_train(recipe, compile="off"), channels, shape, device)
    torch.cuda.empty_cache()
    if largest < recipe.train.batch:
        raise OutOfMemory(advice(recipe, channels, largest, device))


def _largest_tried(recipe: Recipe, channels: int, shape: tuple[int, int], device: torch.device) -> int:
    """The largest batch that was seen to fit: the recipe's, or about the largest below it, or 0."""
    trainer, size = make_trial(recipe, channels, device), recipe.train.batch
    batch = random_batch(channels, shape, size)
    return size if works(trainer, batch, size) else largest_batch(lambda less: works(trainer, batch, less), size)


def tries(device: torch.device) -> bool:
    """Whether a device says that memory is out, so that a step may be tried."""
    return device.type == "cuda"


def random_batch(channels: int, shape: tuple[int, int], size: int) -> PairBatch:
    """Sites of random pixels, all of them alike, (height, width)."""
    site = torch.from_numpy(np.random.default_rng(0).integers(0, 4096, (channels, *shape), np.uint16))
    return PairBatch(
        sites=[site] * size,
        scales_BC2=torch.tensor([0.0, 4096.0]).expand(size, channels, 2),
        partner_B=np.arange(size) ^ 1,
        well_B=torch.arange(size) // 2,
        names=["trial"] * size,
        problems=[],
    )
