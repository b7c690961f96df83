"""How near a training is to what its machine could do: operations a second over those of bare matrix products."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch

from sslprofiler_core.recipes import Recipe

from .count import count_network

_DTYPES = {"bf16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
_SIDES = {"cpu": 512, "cuda": 8192, "mps": 2048}  # large enough that larger products are no faster
_ENOUGH_S = 0.1
_LEAST = 5


@dataclass(frozen=True)
class Pace:
    """What pairs cost, and what the machine can do.

    Attributes
    ----------
    flop_pair
        Floating-point operations of a training step for one site pair, what checkpointing computes again left out.
    peak
        Matrix products' operations a second, on all devices of the run together, measured.
    """

    flop_pair: float
    peak: float

    def utilisation(self, pairs_per_s: float) -> float:
        """Model FLOP utilisation: the share of the peak that the model's operations come to (as in PaLM's report)."""
        return self.flop_pair * pairs_per_s / self.peak


def measure_pace(recipe: Recipe, channels: int, device: torch.device, devices: int = 1) -> Pace:
    """Count what a pair costs, and measure what a device does at best, which takes about a tenth of a second.

    The peak is measured in the recipe's precision, with large square matrices (our choice: tables of data sheets know
    neither this machine's clock nor its share of a node).
    """
    peak = matrix_peak(str(device), recipe.train.precision, torch.get_num_threads())
    return Pace(count_network(recipe, channels).flop_pair, peak * devices)


@lru_cache(maxsize=8)
def matrix_peak(device: str, precision: str, threads: int) -> float:
    """Operations a second of the best of some matrix products; ``threads`` are those that torch has now."""
    where = torch.device(device)
    side = _SIDES.get(where.type, 2048)
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(side, side, generator=generator).to(where, _DTYPES[precision]) for _ in range(2))
    out = torch.empty_like(left)
    torch.mm(left, right, out=out)
    wait_for(where)
    best, spent, count = float("inf"), 0.0, 0
    while count < _LEAST or spent < _ENOUGH_S:
        took = seconds(lambda: torch.mm(left, right, out=out), where)
        best, spent, count = min(best, took), spent + took, count + 1
    return 2.0 * side**3 / best


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of some work, the device's included."""
    began = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - began


def wait_for(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
