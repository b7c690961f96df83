"""The projection head that turns tokens into prototype logits (DINO, DINOv2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslprofiler_core.recipes import ModelRecipe


class ProjectionHead(nn.Module):
    """MLP of three layers, unit vectors, cosine to each prototype.

    Source: DINO's head as used by DINOv2: hidden width and bottleneck from the recipe, prototypes with unit norm, no
    bias. ``head_norm`` adds batch normalisation to the hidden layers (our choice for few prototypes); it keeps no
    running statistics, so that the head has no state but its weights.
    """

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        widths = [recipe.width, recipe.head_hidden, recipe.head_hidden]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers.append(nn.Linear(inside, outside))
            if recipe.head_norm:
                layers.append(nn.BatchNorm1d(outside, track_running_stats=False))
            layers.append(nn.GELU())
        layers.append(nn.Linear(recipe.head_hidden, recipe.head_bottleneck))
        if recipe.head_norm:
            # Takes out what all tokens share, so that cosines tell tokens apart (our choice).
            layers.append(nn.BatchNorm1d(recipe.head_bottleneck, affine=False, track_running_stats=False))
        self.mlp = nn.Sequential(*layers)
        self.prototypes = nn.Parameter(torch.empty(recipe.prototypes, recipe.head_bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                deviation = 0.02 if recipe.init == "dinov2" else layer.in_features**-0.5
                nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.prototypes)

    def forward(self, tokens_MD: Tensor) -> Tensor:
        """Project tokens (M, D) to logits (M, K): cosines, in float32 unless the weights are float64."""
        hidden = self.mlp(tokens_MD)
        hidden = functional.normalize(hidden.to(self.prototypes.dtype), dim=-1, eps=1e-6)
        return functional.linear(hidden, functional.normalize(self.prototypes, dim=-1))
