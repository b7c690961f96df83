"""The GPU's one pass equals torch's operations: Triton's interpreter runs it, its compiler builds it for an H200."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from sslprofiler_core.augment import fused

pytest.importorskip("triton")

EQUAL = """
import numpy as np, torch
from sslprofiler_core.augment.fused import _agrees, jitter_and_noise_
from sslprofiler_core.augment.intensity import jitter_
from sslprofiler_core.augment.noise import noise_

assert _agrees(torch.device("cpu"))
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

COMPILES = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from sslprofiler_core.augment.intensity_kernel import _kernel

floats = ("images", "gain", "shift", "steps")
numbers = {"channels": "i32", "area": "i32", "half": "i32", "odd": "i32"}
numbers |= dict.fromkeys(("step", "shot", "dark", "read"), "fp32") | {"GRIDS": "constexpr", "BLOCK": "constexpr"}
kinds = {name: numbers.get(name, "*fp32" if name in floats else "*i32") for name in _kernel.arg_names}
for grids in (1, 2):
    source = ASTSource(fn=_kernel, signature=kinds, constexprs={"GRIDS": grids, "BLOCK": 1024})
    assert compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]
"""


def _run(code: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_one_pass_equals_torchs_operations() -> None:
    _run(EQUAL, TRITON_INTERPRET="1")


def test_it_compiles_for_an_h200() -> None:
    _run(COMPILES)


def test_a_cpu_does_without_and_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not fused.usable(torch.device("cpu"))

    def broken(device: torch.device) -> bool:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(fused, "_agrees", broken)
    fused.usable.cache_clear()
    with pytest.warns(UserWarning, match="unfused"):
        assert not fused.usable(torch.device("cuda", 3))
    fused.usable.cache_clear()
