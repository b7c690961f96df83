"""Signs of collapse: when every site gets the same embedding, the losses can still look fine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MIN_RANK = 2.0
MAX_ENTROPY = 0.995


@torch.no_grad()
def effective_rank(cls_BD: Tensor) -> float:
    """Effective rank of a batch of embeddings: exp of the entropy of its normalised singular values.

    Source: Roy and Vetterli 2007; the batch is centred first, so that one shared direction does not count. Between 1
    (collapsed) and min(B - 1, D).
    """
    centred = cls_BD.float() - cls_BD.float().mean(0)
    if not bool(torch.isfinite(centred).all()):
        return math.nan
    values = torch.linalg.svdvals(centred)
    p = values / values.sum().clamp(min=1e-12)
    return float(torch.exp(-torch.special.xlogy(p, p).sum()))


def collapse_warning(entropy: float, rank: float) -> str | None:
    """Say in words what looks like collapse, or None.

    ``entropy`` of the teacher's assignments over ln K (1 is uniform) and ``rank`` from ``effective_rank``.
    """
    if rank < MIN_RANK:
        return (
            f"The embeddings of a batch span {rank:.1f} dimensions: the network is collapsing to one point. "
            "Lower train.lr, or raise loss.koleo."
        )
    if entropy > MAX_ENTROPY:
        return (
            f"The teacher's assignments are uniform (entropy {entropy:.3f} of 1): nothing is told apart yet. "
            "If this lasts, lower model.prototypes or loss.teacher_temperature."
        )
    return None
