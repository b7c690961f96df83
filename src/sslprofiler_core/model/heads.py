"""The projection head that turns tokens into prototype logits (DINO, DINOv2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslprofiler_core import ranks
from sslprofiler_core.recipes import ModelRecipe


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the rows of all ranks, without running statistics: no state but its weights."""

    def __init__(self, width: int, affine: bool = True) -> None:
        super().__init__(width, affine=affine, track_running_stats=False)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (M, D) over M; ranks may have different M."""
        if ranks.count() == 1:
            return super().forward(input)
        rows = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
        count = ranks.total(rows.new_tensor(float(len(rows))))
        mean = ranks.total_with_gradient(rows.sum(0)) / count
        centred = rows - mean
        variance = ranks.total_with_gradient(centred.square().sum(0)) / count
        normal = centred * torch.rsqrt(variance + self.eps)
        if self.affine:
            normal = normal * self.weight + self.bias
        return normal.to(input.dtype)


class ProjectionHead(nn.Module):
    """MLP of three layers, unit vectors, cosine to each prototype.

    Source: DINO's head as used by DINOv2: hidden width and bottleneck from the recipe, prototypes with unit norm, no
    bias. ``head_norm`` adds batch normalisation to the hidden layers (our choice for few prototypes).
    """

    def __init__(self, recipe: ModelRecipe) -> None:
        super().__init__()
        widths = [recipe.width, recipe.head_hidden, recipe.head_hidden]
        layers: list[nn.Module] = []
        for inside, outside in pairwise(widths):
            layers.append(nn.Linear(inside, outside))
            if recipe.head_norm:
                layers.append(BatchNorm(outside))
            layers.append(nn.GELU())
        layers.append(nn.Linear(recipe.head_hidden, recipe.head_bottleneck))
        if recipe.head_norm:
            # Takes out what all tokens share, so that cosines tell tokens apart (our choice).
            layers.append(BatchNorm(recipe.head_bottleneck, affine=False))
        self.mlp = nn.Sequential(*layers)
        self.prototypes = nn.Parameter(torch.empty(recipe.prototypes, recipe.head_bottleneck))
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                deviation = 0.02 if recipe.init == "dinov2" else layer.in_features**-0.5
                nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.prototypes)

    def features(self, tokens_MD: Tensor) -> Tensor:
        """Unit vectors (M, H) whose cosines with `directions` are the logits; in the prototypes' precision."""
        return functional.normalize(self.mlp(tokens_MD).to(self.prototypes.dtype), dim=-1, eps=1e-6)

    def directions(self) -> Tensor:
        """The prototypes as unit vectors, (K, H)."""
        return functional.normalize(self.prototypes, dim=-1)

    def forward(self, tokens_MD: Tensor) -> Tensor:
        """Project tokens (M, D) to logits (M, K), all at once; training takes them in chunks."""
        return functional.linear(self.features(tokens_MD), self.directions())
