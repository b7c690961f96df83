"""The objective's terms as the papers write them: the references that any faster form is tested against.

Shapes: B samples, K prototypes, M masked patches, D embedding width. Everything is computed in the inputs' precision;
the loop hands over float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def dino_loss(student_logits_BK: Tensor, teacher_probs_BK: Tensor, temperature: float = 0.1) -> Tensor:
    """Cross-entropy between the teacher's assignment and the student's (paper 3.2.1, DINO).

    ``mean_b( - sum_k t_bk log softmax(s_b / temperature)_k )``. Returns a scalar.
    """
    log_student = functional.log_softmax(student_logits_BK / temperature, dim=-1)
    return -(teacher_probs_BK * log_student).sum(-1).mean()


def ibot_loss(
    student_logits_MK: Tensor,
    teacher_probs_MK: Tensor,
    image_index_M: Tensor,
    batch: int,
    temperature: float = 0.1,
) -> Tensor:
    """Cross-entropy at the masked patches (paper 3.2.1, iBOT).

    A mean over each image's masked patches, then over all ``batch`` images, unmasked ones included (DINOv2).
    ``image_index_M`` says which image a patch is from. Returns a scalar.
    """
    log_student = functional.log_softmax(student_logits_MK / temperature, dim=-1)
    loss_M = -(teacher_probs_MK * log_student).sum(-1)
    counts = torch.zeros(batch, dtype=loss_M.dtype, device=loss_M.device)
    counts.index_add_(0, image_index_M, torch.ones_like(loss_M))
    return (loss_M / counts[image_index_M]).sum() / batch


def koleo_loss(cls_BD: Tensor, group_B: Tensor | None = None, eps: float = 1e-8) -> Tensor:
    """Spread the embeddings: the Kozachenko-Leonenko entropy estimator's term (paper 3.2.1, KoLeo).

    ``mean_b( - log( || x_b - x_nearest(b) || + eps ) )`` over unit vectors. Rows of one group (the sites of a well) are
    never each other's nearest, since they are meant to be close (our choice). Rows without a candidate do not count.
    Returns a scalar.
    """
    unit = functional.normalize(cls_BD, dim=-1, eps=eps)
    with torch.no_grad():
        similarity = unit @ unit.T
        if group_B is None:
            group_B = torch.arange(len(unit), device=unit.device)
        similarity = similarity.masked_fill(group_B[:, None] == group_B[None, :], -2.0)
        best, nearest = similarity.max(dim=1)
    distance = (unit - unit[nearest] + eps).norm(dim=-1)
    counts = (best > -2.0).to(unit.dtype)
    return -(torch.log(distance + eps) * counts).sum() / counts.sum().clamp(min=1.0)


@torch.no_grad()
def sinkhorn_knopp(logits_BK: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Balance the teacher's assignment over prototypes and samples (DINOv2, after SwAV).

    ``exp(logits / temperature)``, then alternately: each prototype's total becomes 1/K, each sample's 1/B. Returns
    (B, K) whose rows sum to 1.
    """
    samples, prototypes = logits_BK.shape
    if samples == 0:  # no patch is masked
        return logits_BK
    scaled = logits_BK / temperature
    q = torch.exp(scaled - scaled.max())  # a common factor leaves the result as it is
    q = q / q.sum()
    for _ in range(iterations):
        q = q / (q.sum(dim=0, keepdim=True) * prototypes)
        q = q / (q.sum(dim=1, keepdim=True) * samples)
    return q * samples


@torch.no_grad()
def softmax_centering(logits_BK: Tensor, centre_K: Tensor, temperature: float) -> Tensor:
    """Balance by subtracting a running mean of the logits (DINO). Returns (B, K) whose rows sum to 1."""
    return functional.softmax((logits_BK - centre_K) / temperature, dim=-1)
