"""The vision transformer: timm's, with a mask token and a plain initialisation."""

from __future__ import annotations

import torch
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from sslprofiler_core.recipes import ModelRecipe


class Backbone(VisionTransformer):  # type: ignore[misc]  # timm is untyped
    """A vision transformer with SwiGLU feed-forward (paper 4.1) whose patches can be masked (paper 3.2.1).

    Parameters
    ----------
    recipe
        Width, depth, heads, patch size, layer scale and initialisation.
    channels
        Channels of a site.
    size
        Side in pixels of the images that the position embedding is made for; other sizes are interpolated.
    drop_path
        Stochastic depth rate; a teacher has none.
    """

    def __init__(self, recipe: ModelRecipe, channels: int, size: int, drop_path: float = 0.0) -> None:
        # SwiGLU's hidden width as in DINOv2: two thirds of 4 x width, up to a multiple of 8 (1,024 for ViT-S).
        hidden = (int(recipe.width * 8 / 3) + 7) // 8 * 8
        super().__init__(
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
            drop_path_rate=drop_path,
            dynamic_img_size=True,
        )
        self.mask_token = nn.Parameter(torch.zeros(recipe.width))
        self._initialise(recipe)

    def _initialise(self, recipe: ModelRecipe) -> None:
        """N(0, 0.02) truncated for every linear layer as DINOv2 does, or N(0, 1/fan_in), which tiny networks need."""
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                deviation = 0.02 if recipe.init == "dinov2" else module.in_features**-0.5
                nn.init.trunc_normal_(module.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.patch_embed.proj.weight.mul_(recipe.patch_gain)

    def forward(self, images_BCHW: Tensor, masks_BN: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed images.

        Parameters
        ----------
        images_BCHW
            Float images whose sides are multiples of the patch size.
        masks_BN
            Boolean, True where a patch (row-major) is replaced by the mask token, before its position is added.

        Returns
        -------
        CLS tokens (B, D) and patch tokens (B, N, D), after the final norm.
        """
        patches = self.patch_embed(images_BCHW)  # B, rows, columns, D
        if masks_BN is not None:
            masks = masks_BN.reshape(patches.shape[:3])[..., None]
            patches = torch.where(masks, self.mask_token.to(patches.dtype), patches)
        tokens = self._pos_embed(patches)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return tokens[:, 0], tokens[:, 1:]
