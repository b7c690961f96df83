"""A GPU's passes equal torch's operations: Triton's interpreter runs them, its compiler builds them for an H200."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from sslprofiler_core.augment import fused

pytest.importorskip("triton")

INTENSITY = """
import numpy as np, torch
from sslprofiler_core.augment.fused import intensity_agrees, jitter_and_noise_
from sslprofiler_core.augment.intensity import jitter_
from sslprofiler_core.augment.noise import noise_

assert intensity_agrees(torch.device("cpu"))
for shape in ((2, 1, 7, 9), (2, 3, 40, 41), (1, 1, 1, 1)):
    for strengths in ((0.1, 0.05, 0.01), (0.013, 0.1, 0.05), (1e-3, 0.0, 0.02), (1.0, 0.3, 0.0)):
        images, keys = torch.rand(*shape), np.arange(shape[0]) + 5
        images.view(-1)[0] = 1.0
        beta, gamma = np.random.default_rng(0).uniform(0.3, 1.7, (2, *shape[:2]))
        expected = jitter_(images.clone(), torch.from_numpy(beta), torch.from_numpy(gamma)).clamp_(0, 1)
        quiet = images.clone()
        jitter_and_noise_(quiet, beta, gamma, np.zeros(len(keys), bool), keys, strengths)
        assert (quiet - expected).abs().max() < 1e-6
        noise_(expected, *strengths, keys)
        jitter_and_noise_(images, beta, gamma, np.ones(len(keys), bool), keys, strengths)
        differ = (images - expected).abs() > 1e-5  # where rounding moved a rate across a threshold
        assert differ.float().mean() < 1e-3, (shape, strengths, differ.float().mean())
"""

# The whole entry, as a GPU would go through it: other samplers, then the kernel in their place.
SAMPLING = """
import numpy as np, torch
from sslprofiler_core.augment import draw_views, fused, render_views, views, whole_sites
from sslprofiler_core.augment.sample import sample_together
from sslprofiler_core.keys import fold
from sslprofiler_core.recipes import AugmentRecipe

assert fused.sampling_agrees(torch.device("cpu"))
torch.set_num_threads(1)
shapes = [(37, 41), (50, 33), (70, 110), (64, 64), (20, 20)]
scales = torch.tensor([10.0, 180.0]).expand(len(shapes), 3, 2)
rng = np.random.default_rng(0)

def made(sample, size, kind):
    views.sample_each = sample
    raw = [rng.integers(0, 255, (3, 2 * height, width + 3)) for height, width in shapes]
    sites = [torch.from_numpy(r.astype(np.int32)).to(kind)[:, ::2, 3:] for r in raw]  # neither whole nor in order
    recipe = AugmentRecipe(size=size, crop=(0.1, 1.0), elastic_alpha=60.0, elastic_sigma=8.0, rotation=0.7, noise=0.0)
    drawn = draw_views(fold(3, np.arange(len(sites))), shapes, 3, recipe, "v2")
    return render_views(sites, scales, drawn, recipe), whole_sites(sites, scales, size, recipe)

for size, kind in ((20, torch.uint16), (33, torch.uint8), (14, torch.float32)):
    rng = np.random.default_rng(0)
    expected = made(sample_together, size, kind)
    rng = np.random.default_rng(0)
    for one, other in zip(made(fused.sample_at_once, size, kind), expected, strict=True):
        assert one.std() > 0.01 and (one - other).abs().max() < 2e-5, (size, kind, (one - other).abs().max())
    assert size != 20 or torch.equal(one[4], other[4])  # the site itself

# Sites of two types are left to torch's operations.
sites = [torch.ones(1, 9, 9, dtype=kind) for kind in (torch.uint8, torch.uint16)]
views.sample_each = fused.sample_at_once
half = whole_sites(sites, torch.tensor([0.0, 2.0]).expand(2, 1, 2), 9, AugmentRecipe())
assert torch.equal(half, torch.full((2, 1, 9, 9), 0.5))
"""

COMPILES = """
import re, subprocess, tempfile
from triton import compile, knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sslprofiler_core.augment import intensity_kernel, sample_kernel

def build(kernel, numbers, others, rest, constants):
    kinds = dict.fromkeys(kernel.arg_names, rest) | others | numbers | dict.fromkeys(constants, "constexpr")
    source = ASTSource(fn=kernel, signature=kinds, constexprs=constants)
    options = {"enable_fp_fusion": True}
    built = compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        usage = subprocess.check_output([knobs.nvidia.cuobjdump.path, "-res-usage", file.name], text=True)
    registers, spilled = map(int, re.search(r"REG:(\\d+) STACK:(\\d+)", usage).groups())
    threads = 65536 // registers  # at once on a multiprocessor, of 2,048
    assert spilled == 0 and threads >= 640, usage

floats = dict.fromkeys(("images", "gain", "shift", "steps"), "*fp32")
numbers = dict.fromkeys(("channels", "area", "half", "odd"), "i32") | dict.fromkeys(
    ("step", "shot", "dark", "read"), "fp32"
)
for grids in (1, 2):
    build(intensity_kernel._kernel, numbers, floats, "*i32", {"GRIDS": grids, "BLOCK": intensity_kernel.BLOCK})
others = {"sites": "*i64", "strides": "*i64", "windows": "*i32"}
for kind in set(sample_kernel.PIXELS.values()):
    constants = {"PIXEL": kind, "ROWS": sample_kernel.ROWS, "COLUMNS": sample_kernel.COLUMNS}
    build(sample_kernel._kernel, {"channels": "i32", "size": "i32"}, others, "*fp32", constants)
"""


def _run(code: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error:TRITON", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_jitter_and_noise_in_one_pass_equal_torchs_operations() -> None:
    _run(INTENSITY, TRITON_INTERPRET="1")


def test_sampling_in_one_pass_equals_torchs_operations() -> None:
    _run(SAMPLING, TRITON_INTERPRET="1")


def test_they_compile_for_an_h200_and_spill_no_register() -> None:
    _run(COMPILES)


def test_a_cpu_does_without_and_a_failure_is_told() -> None:
    def broken(device: torch.device) -> bool:
        raise RuntimeError("no compiler")

    assert not fused.usable(torch.device("cpu"), broken)
    with pytest.warns(UserWarning, match="unfused, which is slower: RuntimeError from Triton on cuda:3"):
        assert not fused.usable(torch.device("cuda", 3), broken)
    with pytest.warns(UserWarning, match="other results than torch's"):
        assert not fused.usable(torch.device("cuda", 3), lambda _: False)
