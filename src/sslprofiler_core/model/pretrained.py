"""Starting from timm's pretrained DINOv2 and DINOv3 weights, for any number of channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import ModelRecipe

from .backbone import Backbone


def start_from_pretrained(backbone: Backbone, recipe: ModelRecipe) -> None:
    """Put the pretrained weights that the recipe names into a backbone of that model's shape.

    All weights are the model's own but for two that the images decide (our choices). The patch embedding takes C
    channels in [0, 1] where the model took three standardised colours: each channel gets the kernels' sum over colours,
    divided by C, with ImageNet's standardisation folded in. So a site whose channels are all alike gives exactly what
    the model gives for that grey picture. The position embedding is resampled (bicubic) to the views' grid. The mask
    token, which these models come without, starts at zero.

    Raises
    ------
    UserError
        When the weights can neither be downloaded nor read, or are another model's.
    """
    source = _source(recipe)
    state: dict[str, Tensor] = dict(source.state_dict())
    config = source.pretrained_cfg
    vit = backbone.vit
    weight_DCPP, bias_D = state["patch_embed.proj.weight"].float(), state["patch_embed.proj.bias"].float()
    mean_3, deviation_3 = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    kernel_DCPP = weight_DCPP / deviation_3
    channels = vit.patch_embed.proj.in_channels
    state["patch_embed.proj.weight"] = kernel_DCPP.sum(1, keepdim=True).expand(-1, channels, -1, -1) / channels
    state["patch_embed.proj.bias"] = bias_D - (kernel_DCPP * mean_3).sum((1, 2, 3))
    if state.get("pos_embed") is not None:
        state["pos_embed"] = resample_abs_pos_embed(
            state["pos_embed"],
            new_size=list(vit.patch_embed.grid_size),
            old_size=list(source.patch_embed.grid_size),
            num_prefix_tokens=0 if vit.no_embed_class else vit.num_prefix_tokens,
        )
    vit.load_state_dict(state)


def fetch_weights(recipe: ModelRecipe) -> None:
    """See that the weights that a recipe names, if it does, are there, downloading them where they are not.

    Raises
    ------
    UserError
        As ``start_from_pretrained``.
    """
    if recipe.starts_pretrained:
        _source(recipe)


def _source(recipe: ModelRecipe) -> Any:
    """The model as timm gives it: three colours, and the size that it was trained at."""
    options: dict[str, Any] = {}
    if recipe.pretrained_file:
        file = Path(recipe.pretrained_file)
        if not file.is_file():
            raise UserError(f"No pretrained weights at {file}. Correct model.pretrained_file.")
        options["pretrained_cfg_overlay"] = {"file": str(file)}
    try:
        return timm.create_model(recipe.pretrained, pretrained=True, num_classes=0, global_pool="token", **options)
    except Exception as error:  # each way of downloading has errors of its own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        if recipe.pretrained_file:
            raise UserError(
                f"{recipe.pretrained_file} does not hold the weights of {recipe.pretrained} ({reason}). Give the file "
                "that belongs to model.pretrained."
            ) from error
        raise UserError(
            f"The weights of {recipe.pretrained} cannot be downloaded ({reason}). Connect to the internet, or fetch "
            "the file elsewhere and name it with --set model.pretrained_file=FILE."
        ) from error
