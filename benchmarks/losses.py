"""What the chunked losses save: time and peak memory against the plain ones, forward and backward, Sinkhorn included.

    python benchmarks/losses.py [--tokens N] [--prototypes N] [--device NAME] [--threads N]

One term over random features: iBOT's at the tiny recipe's sizes, at sizes that a CPU bears, and (on a GPU) at the
paper's. Both in turns; medians, and the ratio within a turn. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sslprofiler_core.model.files import pick_device
from sslprofiler_core.training import chunked
from sslprofiler_core.training.losses import ibot_loss, sinkhorn_knopp

SIZES = [(1843, 64, 64), (3000, 4096, 64)]
PAPER = (26286, 65536, 256)
PATCHES = 400  # masked in an image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=0)
    parser.add_argument("--prototypes", type=int, default=4096)
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = pick_device(arguments.device)
    sizes = [(arguments.tokens, arguments.prototypes, 64)] if arguments.tokens else list(SIZES)
    if device.type == "cuda" and not arguments.tokens:
        sizes.append(PAPER)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    print(f"Machine: {name}, {arguments.threads} threads; torch {torch.__version__}; float32.\n")
    print("| tokens x prototypes | plain | chunked | ratio | peak memory, plain | chunked | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for tokens, prototypes, width in sizes:
        plain, fast = terms(tokens, prototypes, width, device)
        slow_s, fast_s, ratio = timed(plain, fast, device)
        slow_bytes, fast_bytes = Memory.of(plain), Memory.of(fast)
        print(
            f"| {tokens:,} x {prototypes:,} | {1e3 * slow_s:.1f} ms | {1e3 * fast_s:.1f} ms | {ratio:.2f} | "
            f"{slow_bytes / 1e6:,.1f} MB | {fast_bytes / 1e6:,.1f} MB | {slow_bytes / fast_bytes:.1f} |"
        )


def terms(
    tokens: int, prototypes: int, width: int, device: torch.device
) -> tuple[Callable[[], object], Callable[[], object]]:
    """The plain and the chunked term, forward and backward."""

    def unit(rows: int, seed: int) -> Tensor:
        return normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))).to(device)

    teacher, teacher_prototypes = unit(tokens, 0), unit(prototypes, 1)
    student = [unit(tokens, 2).requires_grad_(), unit(prototypes, 3).requires_grad_()]
    image = torch.arange(tokens, device=device) // PATCHES
    images = tokens // PATCHES + 1
    weight = 1 / (images * torch.bincount(image)[image].float())

    def plain() -> None:
        target = sinkhorn_knopp(teacher @ teacher_prototypes.T, 0.05)
        ibot_loss(student[0] @ student[1].T, target, image, images).backward()

    def fast() -> None:
        target = chunked.sinkhorn(teacher, teacher_prototypes, 0.05)
        chunked.cross_entropy(*student, target, weight, 0.1).backward()

    return plain, fast


def timed(plain: Callable[[], object], fast: Callable[[], object], device: torch.device) -> tuple[float, float, float]:
    """Median seconds of each, and the median ratio of a turn."""
    turns: list[tuple[float, float]] = []
    until = time.perf_counter() + 10.0
    while len(turns) < 4 or (time.perf_counter() < until and len(turns) < 200):
        marks = [time.perf_counter()]
        for action in (plain, fast):
            action()
            if device.type == "cuda":
                torch.cuda.synchronize()
            marks.append(time.perf_counter())
        turns.append((marks[1] - marks[0], marks[2] - marks[1]))
    slow, quick = zip(*turns[1:], strict=True)
    return statistics.median(slow), statistics.median(quick), statistics.median(a / b for a, b in turns[1:])


class Memory(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, int] = {}

    @classmethod
    def of(cls, action: Callable[[], object]) -> int:
        """Peak bytes of a call."""
        with cls() as memory:
            action()
        return memory.peak

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and (key := leaf.untyped_storage()._cdata) not in self._alive:
                self._alive[key] = leaf.untyped_storage().nbytes()
                weakref.finalize(leaf.untyped_storage(), self._alive.pop, key, None)
        self.peak = max(self.peak, sum(self._alive.values()))
        return result


if __name__ == "__main__":
    main()
