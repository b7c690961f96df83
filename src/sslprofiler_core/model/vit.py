"""What a backbone is made of: timm's vision transformer, new as DINOv2 makes it, or in a pretrained model's shape."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import ModelRecipe


def new_vit(recipe: ModelRecipe, channels: int, size: int) -> Any:
    """Make a transformer of timm's, without stochastic depth and without a classifier.

    Raises
    ------
    UserError
        When the installed timm does not have the pretrained model.
    """
    if not recipe.starts_pretrained:
        return _from_scratch(recipe, channels, size)
    architecture = recipe.pretrained.partition(".")[0]
    if not timm.is_model(architecture):
        raise UserError(
            f"model.pretrained = {recipe.pretrained}: timm {timm.__version__} does not have {architecture}. Install a "
            "newer timm, or choose another model."
        )
    return timm.create_model(
        architecture,
        pretrained=False,
        in_chans=channels,
        img_size=size,
        num_classes=0,
        global_pool="token",
        dynamic_img_size=True,
    )


def _from_scratch(recipe: ModelRecipe, channels: int, size: int) -> Any:
    """SwiGLU feed-forward (paper 4.1), its hidden width as in DINOv2: 1,024 for ViT-S."""
    hidden = recipe.hidden
    vit = VisionTransformer(
        img_size=size,
        patch_size=recipe.patch,
        in_chans=channels,
        num_classes=0,
        global_pool="token",
        embed_dim=recipe.width,
        depth=recipe.depth,
        num_heads=recipe.heads,
        mlp_ratio=(2 * hidden + 0.5) / recipe.width,  # timm truncates; fc1 holds gate and value side by side
        mlp_layer=SwiGLUPacked,
        act_layer=nn.SiLU,
        init_values=recipe.layer_scale or None,
        dynamic_img_size=True,
    )
    # N(0, 0.02) truncated for every linear layer as DINOv2 does, or N(0, 1/fan_in), which tiny networks need.
    for module in vit.blocks.modules():
        if isinstance(module, nn.Linear):
            deviation = 0.02 if recipe.init == "dinov2" else module.in_features**-0.5
            nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
            nn.init.zeros_(module.bias)
    with torch.no_grad():
        vit.patch_embed.proj.weight.mul_(recipe.patch_gain)
    return vit
