"""The shapes of timm's pretrained DINOv2 and DINOv3 models: known without timm, so that recipes can be counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PretrainedShape:
    """What a pretrained model looks like.

    Attributes
    ----------
    width, depth, heads, patch
        As in the recipe's model section.
    hidden, gated
        Width of the feed-forward layers, and whether they are gated (SwiGLU) or plain.
    registers
        Tokens beside CLS that stand for no patch.
    positions
        Whether positions are a learned embedding (DINOv2) or rotary (DINOv3), which has no weights.
    """

    width: int
    depth: int
    heads: int
    patch: int
    hidden: int
    gated: bool
    registers: int
    positions: bool


Pretrained = Literal[
    "none",
    "vit_small_patch14_dinov2.lvd142m",
    "vit_base_patch14_dinov2.lvd142m",
    "vit_large_patch14_dinov2.lvd142m",
    "vit_giant_patch14_dinov2.lvd142m",
    "vit_small_patch14_reg4_dinov2.lvd142m",
    "vit_base_patch14_reg4_dinov2.lvd142m",
    "vit_large_patch14_reg4_dinov2.lvd142m",
    "vit_giant_patch14_reg4_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "vit_small_plus_patch16_dinov3.lvd1689m",
    "vit_base_patch16_dinov3.lvd1689m",
    "vit_large_patch16_dinov3.lvd1689m",
    "vit_huge_plus_patch16_dinov3.lvd1689m",
]

_WIDTH_DEPTH_HEADS_HIDDEN = {
    "small": (384, 12, 6, 1536),
    "small_plus": (384, 12, 6, 1536),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "giant": (1536, 40, 24, 4096),
    "huge_plus": (1280, 32, 20, 5120),
}


def pretrained_shape(name: str) -> PretrainedShape:
    """The shape of one of ``Pretrained``, which its name tells."""
    size, _, kind = name.removeprefix("vit_").partition("_patch")
    width, depth, heads, hidden = _WIDTH_DEPTH_HEADS_HIDDEN[size]
    third = "dinov3" in kind
    return PretrainedShape(
        width=width,
        depth=depth,
        heads=heads,
        patch=int(kind[:2]),
        hidden=hidden,
        gated=size in ("giant", "small_plus", "huge_plus"),
        registers=4 if third or "reg4" in kind else 0,
        positions=not third,
    )
