"""What the augmentations make a GPU do, counted without one: bytes that each operation reads and writes, launches.

    python benchmarks/augment_traffic.py [--recipe paper-vits14] [--pairs 64] [--bandwidth 4.8] [--pairs-per-second 350]

The views of one training step, two a pair, from uint16 sites of 5 x 1080 x 1080 px. Tensors of the device are hollow:
they have shapes, types and a device, and the code that a GPU would run goes over them. The two Triton kernels count as
what they read and write. Bytes are counted as if no cache kept anything between two operations, so that a GPU may do
with less; and a gather takes longer than a copy of as many bytes, so that it may take more. Beside them stand the time
that the bytes take at ``--bandwidth`` (TB/s; an H200's by its data sheet), and its share of a step at a number of pairs
a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from sslprofiler_core.augment import draw_views, intensity_kernel, render_views, sample_kernel, views
from sslprofiler_core.keys import fold
from sslprofiler_core.recipes import load_recipe

CHANNELS, SIDE = 5, 1080
# They move nothing: other views of the same memory, or memory that is not written yet.
FREE = (
    *("alias", "as_strided", "detach", "device", "empty", "empty_like", "expand", "lift_fresh", "new_empty", "permute"),
    *("select", "slice", "split", "squeeze", "t", "transpose", "unbind", "unsqueeze", "view", "_unsafe_view"),
)


class Traffic(TorchDispatchMode):
    """Adds up what operations on the device read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.launches = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        given = {key: value for key, value in (kwargs or {}).items() if key != "out"}
        if name in ("index_put_", "_index_put_impl_"):
            moved = 2 * held(args[2])
        elif name == "index_add_":
            moved = 3 * held(args[3])
        elif name == "index_select":
            moved = 2 * held(result)
        elif name in ("copy_", "fill_", "zero_"):  # what was there is not read
            moved = held(args[0]) + held(args[1:])
        else:
            moved = held(args, given) + held(result)
        if moved and name not in FREE:
            self.bytes += moved
            self.launches += 1
        return result


def held(*values: object) -> int:
    """Bytes of the device's tensors; what is repeated is read once."""
    tensors = (v for v in tree_iter(values) if isinstance(v, Tensor) and v.device.type == "cuda")
    return sum(
        t.element_size() * int(np.prod([n for n, s in zip(t.shape, t.stride(), strict=True) if s])) for t in tensors
    )


@contextmanager
def kernels(traffic: Traffic) -> Iterator[None]:
    """Count the two Triton kernels in their places; a hollow tensor has no address."""

    def sample(sites: Any, scales: Any, windows: Any, planes_b2SS: Tensor, views_bCSS: Tensor) -> None:
        read = sum((w.bottom - w.top) * (w.right - w.left) * CHANNELS * sites[0].element_size() for w in windows)
        traffic.bytes += read + held(planes_b2SS, views_bCSS)
        traffic.launches += 1

    def intensity(images_BCHW: Tensor, *rest: Any) -> None:
        traffic.bytes += 2 * held(images_BCHW)
        traffic.launches += 1

    with (
        patch.object(sample_kernel, "launch", sample),
        patch.object(intensity_kernel, "launch", intensity),
        patch.object(views, "usable", lambda *_: True),
    ):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="paper-vits14")
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--bandwidth", type=float, default=4.8, help="of the GPU's memory, TB/s")
    parser.add_argument("--pairs-per-second", type=float, default=350.0)
    arguments = parser.parse_args()
    recipe, count = load_recipe(arguments.recipe).augment, 2 * arguments.pairs
    drawn = draw_views(fold(0, np.arange(count)), [(SIDE, SIDE)] * count, CHANNELS, recipe)
    step_s = arguments.pairs / arguments.pairs_per_second
    print(f"{arguments.recipe}, {arguments.pairs} pairs, {recipe.size} px; torch {torch.__version__}. Counted.\n")
    print(f"| | GB moved | launches | at {arguments.bandwidth:g} TB/s | of a step of {1e3 * step_s:.0f} ms |")
    print("| --- | --- | --- | --- | --- |")

    def tell(what: str, moved: float, launches: int) -> None:
        seconds = moved / arguments.bandwidth / 1e12
        print(
            f"| {what} | {moved / 1e9:.1f} | {launches:,} | {1e3 * seconds:.1f} ms | {100 * seconds / step_s:.1f} % |"
        )

    # There is no pinned memory without a GPU, and hollow sites have no pixels to check.
    checks = patch.object(views, "check_batch"), patch.object(Tensor, "pin_memory", lambda tensor: tensor)
    with checks[0], checks[1], FakeTensorMode(allow_non_fake_inputs=True):
        sites = [torch.empty((CHANNELS, SIDE, SIDE), dtype=torch.uint16, device="cuda") for _ in range(count)]
        scales_BC2 = torch.tensor([0.0, 4096.0]).expand(count, CHANNELS, 2)
        for what, with_kernels in (("ours", True), ("ours without Triton", False)):
            with Traffic() as traffic:
                if with_kernels:
                    with kernels(traffic):
                        made = render_views(sites, scales_BC2, drawn, recipe, dtype=torch.bfloat16)
                else:
                    with patch.object(views, "usable", lambda *_: False):
                        made = render_views(sites, scales_BC2, drawn, recipe, dtype=torch.bfloat16)
            tell(what, traffic.bytes, traffic.launches)
        tell("limit: sites in once, bf16 views out once", held(sites, made), 1)


if __name__ == "__main__":
    main()
