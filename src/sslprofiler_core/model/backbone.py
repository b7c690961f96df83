"""The vision transformer: timm's, with a mask token, and stochastic depth that saves what it drops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sslprofiler_core.recipes import ModelRecipe

from .vit import new_vit

RunBlock = Callable[[nn.Module, Tensor, Tensor | None, Tensor | None], Tensor]


class Backbone(nn.Module):
    """A vision transformer whose patches can be masked (paper 3.2.1).

    Parameters
    ----------
    recipe
        Width, depth, heads, patch size, layer scale and initialisation; or the pretrained model whose shape it has.
    channels
        Channels of a site.
    size
        Side in pixels of the images that the position embedding is made for; other sizes are interpolated.
    drops
        Whether stochastic depth is on, at the recipe's rate, the same for all blocks (DINOv2); a teacher has none.

    Attributes
    ----------
    recompute
        Activation checkpointing: keep each block's input alone, and compute the block again for its gradients.
    """

    def __init__(self, recipe: ModelRecipe, channels: int, size: int, drops: bool = False) -> None:
        super().__init__()
        self.vit = new_vit(recipe, channels, size)
        self.mask_token = nn.Parameter(torch.zeros(recipe.width))
        self._recipe, self._drops = recipe, drops
        self.recompute = False
        self._run: RunBlock = run_block

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's blocks."""
        blocks: nn.ModuleList = self.vit.blocks
        return blocks

    def forward(
        self, images_BCHW: Tensor, masks_BN: Tensor | None = None, places_M: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Embed images.

        Parameters
        ----------
        images_BCHW
            Float images whose sides are multiples of the patch size.
        masks_BN
            Boolean, True where a patch (row-major) is replaced by the mask token, before its position is added.
        places_M
            Which patch tokens are wanted, as places in the flattened (B, N); None: all. Others cost no memory then.

        Returns
        -------
        CLS tokens (B, D) and patch tokens (B, N, D), or (M, D) of ``places_M``, after the final norm.
        """
        patches = self.vit.patch_embed(images_BCHW)  # B, rows, columns, D
        if masks_BN is not None:
            masks = masks_BN.reshape(patches.shape[:3])[..., None]
            patches = torch.where(masks, self.mask_token.to(patches.dtype), patches)
        placed = self.vit._pos_embed(patches)  # timm has no public name for it; rotary positions come beside the tokens
        tokens, rotary = placed if isinstance(placed, tuple) else (placed, None)
        tokens = self.vit.norm_pre(tokens)
        kept = self._draw_kept(len(tokens), tokens.device)
        for number, block in enumerate(self.blocks):
            rows = None if kept is None else kept[number]
            if self.recompute and torch.is_grad_enabled():
                # Nothing random is drawn inside: saving the generators' state would make the host wait.
                tokens = checkpoint(
                    self._run, block, tokens, rows, rotary, use_reentrant=False, preserve_rng_state=False
                )
            else:
                tokens = self._run(block, tokens, rows, rotary)
        before = self.vit.num_prefix_tokens
        if places_M is None:
            tokens = self.vit.norm(tokens)
            return tokens[:, 0], tokens[:, before:]
        count, every = tokens.shape[:2]
        cls_B = every * torch.arange(count, device=tokens.device)
        patches_M = places_M + before * (places_M // (every - before) + 1)
        wanted = self.vit.norm(tokens.flatten(0, 1).index_select(0, torch.cat([cls_B, patches_M])))
        return wanted[:count], wanted[count:]

    def _draw_kept(self, batch: int, device: torch.device) -> Tensor | None:
        """Which rows each residual branch of each block sees: (depth, 2, kept), or None for all.

        As many in every step, so that shapes are static; from torch's generator, which training seeds by the step.
        """
        kept = self._recipe.kept_rows(batch)
        if not self._drops or not self.training or kept == batch:
            return None
        return torch.rand(len(self.blocks), 2, batch, device=device).argsort(-1)[..., :kept]

    def compile_blocks(self) -> None:
        """Compile what a block does, once for all blocks: their shapes are alike."""
        self._run = torch.compile(run_block, dynamic=False)

    @contextmanager
    def uncompiled(self) -> Iterator[None]:
        """Within it, run as it is: shapes that training does not have would be compiled anew."""
        run, self._run = self._run, run_block
        try:
            yield
        finally:
            self._run = run


def run_block(block: nn.Module, tokens_BND: Tensor, rows_2K: Tensor | None, rotary: Tensor | None) -> Tensor:
    """Both residual branches of a block, each on some rows only, which then count for all (DINOv2's stochastic depth).

    Where all rows are kept, this is timm's own block.
    """
    attend, feed = _branches(block, rotary)
    if rows_2K is None:
        tokens_BND = tokens_BND + attend(tokens_BND)
        return tokens_BND + feed(tokens_BND)
    for rows_K, branch in zip(rows_2K, (attend, feed), strict=True):
        change_KND = branch(tokens_BND.index_select(0, rows_K)).to(tokens_BND.dtype)
        tokens_BND = tokens_BND.index_add(0, rows_K, change_KND, alpha=len(tokens_BND) / len(rows_K))
    return tokens_BND


def _branches(block: Any, rotary: Tensor | None) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Attention and feed-forward of a block of timm's, as DINOv2's models have it or as DINOv3's do."""
    if rotary is None:
        return (
            lambda x: block.ls1(block.attn(block.norm1(x))),
            lambda x: block.ls2(block.mlp(block.norm2(x))),
        )
    return (
        lambda x: block.gamma_1 * block.attn(block.norm1(x), rope=rotary),
        lambda x: block.gamma_2 * block.mlp(block.norm2(x)),
    )
