"""AdamW with DINOv2's parameter groups: layer decay, patch-embed factor, what weight decay leaves out."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from sslprofiler_core.model.network import Network
from sslprofiler_core.recipes import TrainRecipe

from .schedules import StepSettings


def parameter_settings(name: str, depth: int, recipe: TrainRecipe) -> tuple[float, bool, bool]:
    """Learning-rate factor, whether weight decay applies, and whether it is the last layer, of one parameter.

    DINOv2's rule: layer 0 is the patch embedding with the position embedding, CLS and mask token; block i is layer
    i + 1; norm and heads are layer depth + 1; the factor is ``layer_decay ** (depth + 1 - layer)``. Biases, norms and
    layer scale get no weight decay.
    """
    layer = depth + 1
    if re.search(r"\.(pos_embed|patch_embed|cls_token|reg_token|mask_token)", name):
        layer = 0
    elif block := re.search(r"\.blocks\.(\d+)\.", name):
        layer = int(block.group(1)) + 1
    factor = recipe.layer_decay ** (depth + 1 - layer)
    if ".patch_embed." in name:
        factor *= recipe.patch_embed_lr
    decays = not (re.search(r"(bias|\.gamma(_\d)?)$", name) or re.search(r"norm\d?\.weight$", name))
    return factor, decays, name.endswith(".prototypes")


def build_optimizer(student: Network, recipe: TrainRecipe) -> torch.optim.AdamW:
    """Make AdamW over the student's parameters, one group for each distinct setting (fused kernels)."""
    depth = len(student.backbone.blocks)
    groups: dict[tuple[float, bool, bool], list[Tensor]] = {}
    batch_norms = {
        f"{name}.weight" for name, module in student.named_modules() if isinstance(module, torch.nn.BatchNorm1d)
    }
    for name, parameter in student.named_parameters():
        factor, decays, last = parameter_settings(name, depth, recipe)
        groups.setdefault((factor, decays and name not in batch_norms, last), []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": parameters, "factor": factor, "decays": decays, "last_layer": last}
        for (factor, decays, last), parameters in groups.items()
    ]
    return torch.optim.AdamW(described, lr=0.0, betas=(0.9, 0.999), fused=True)


def apply_settings(optimizer: torch.optim.AdamW, settings: StepSettings) -> None:
    """Set each group's learning rate and weight decay for a step."""
    for group in optimizer.param_groups:
        group["lr"] = (settings.last_layer_lr if group["last_layer"] else settings.lr) * group["factor"]
        group["weight_decay"] = settings.weight_decay if group["decays"] else 0.0
