"""What makes a step cheaper without changing what it computes: activation checkpointing and compiled blocks."""

from __future__ import annotations

import importlib.util
import shutil
import warnings

import torch

from sslprofiler_core.errors import UserError
from sslprofiler_core.model.network import Network
from sslprofiler_core.recipes import Recipe

# Compiling takes a minute or so, and saves a part of each step: shorter runs would lose by it.
COMPILE_STEPS = 1000


def set_up(student: Network, teacher: Network, recipe: Recipe, device: torch.device, steps: int) -> None:
    """Give both networks what the recipe asks for, for a run of ``steps`` steps on ``device``.

    TF32 stays off: it would reach the augmentations' sampling grids, whose coordinates it rounds to half a pixel;
    ``train.precision = "bf16"`` is what is fast.

    Raises
    ------
    UserError
        When the recipe wants what is not there: a compiler, or bf16 on Apple's GPU.
    """
    if recipe.train.precision == "bf16" and not _has_bf16(device):
        raise UserError(
            f"This PyTorch has no bfloat16 on {device.type}: it takes version 2.6 and macOS 14. Update them, or use "
            "float32 (--set train.precision=float32)."
        )
    student.backbone.recompute = recipe.train.activation_checkpointing
    if compiles(recipe, device, steps):
        for network in (student, teacher):
            network.backbone.compile_blocks()


def compiles(recipe: Recipe, device: torch.device, steps: int) -> bool:
    """Whether blocks are compiled: as the recipe says, or, by ``auto``, on a GPU in a long run, with all it takes.

    Raises
    ------
    UserError
        When the recipe wants it, and what compiles is not there.
    """
    if recipe.train.compile == "off":
        return False
    gpu = device.type == "cuda"
    missing = [] if any(map(shutil.which, ("cc", "gcc", "clang", "cl"))) else ["a C++ compiler"]
    if gpu and importlib.util.find_spec("triton") is None:
        missing.append("the package triton")
    if recipe.train.compile == "auto":
        return gpu and steps >= COMPILE_STEPS and not missing
    if missing:
        raise UserError(f"train.compile = on needs {' and '.join(missing)}. Install it, or set train.compile=off.")
    return True


def _has_bf16(device: torch.device) -> bool:
    """Whether autocast to bf16 works: on MPS, versions without it warn, and go on without autocast."""
    if device.type != "mps":
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autocast(device.type, torch.bfloat16):
            return torch.is_autocast_enabled(device.type)
