"""One step's forward passes and the paper's objective (3.2.1).

    L = w_m DINO(fs(masked v1), ft(v1)) + w_a DINO(fs(v2), ft(v1)) + lambda1 iBOT + lambda2 KoLeo

The student runs once a view, as in DINOv2: masked ``v1`` and ``v2``. iBOT's target is the teacher's patches of the
unmasked ``v1`` at the masked places: the paper prints the masked one, whose target would be the mask token's.

With n local crops a site, the student sees them too, and the DINO terms become

    (w_m DINO(fs(masked v1), ft(v1)) + w_a DINO(fs(v2), ft(v1)) + w_c sum_c sum_g DINO(fs(c), ft(g))) / (1 + n)

over crops c and views g, so that each of the 2 + 2 n pairs counts alike, as in DINOv2, and their sum stays that of two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sslprofiler_core.model.network import Network
from sslprofiler_core.recipes import LossRecipe

from .losses import dino_loss, ibot_loss, koleo_loss, sinkhorn_knopp, softmax_centering

TERMS = ("loss", "dino_masked", "dino_local", "ibot", "koleo", "entropy", "dino_crops")


@dataclass
class Centres:
    """Running means of the teacher's logits, for softmax centering: CLS and patches, each (K,)."""

    cls_K: Tensor
    patch_K: Tensor

    @classmethod
    def zeros(cls, prototypes: int, device: torch.device) -> Centres:
        """Start at zero."""
        return cls(torch.zeros(prototypes, device=device), torch.zeros(prototypes, device=device))


@dataclass(frozen=True)
class Views:
    """What the networks see in a step, on the device.

    ``masked_M`` are flat indices (image x patches + patch) of the masked patches of ``v1``, ``image_M`` their images.
    ``crops_LBCHW`` are local crops of ``v1``'s sites, or None.
    """

    v1_BCHW: Tensor
    v2_BCHW: Tensor
    masks_BN: Tensor
    masked_M: Tensor
    image_M: Tensor
    well_B: Tensor
    crops_LBCHW: Tensor | None = None


@torch.no_grad()
def teacher_targets(
    teacher: Network, views: Views, recipe: LossRecipe, temperature: float, centres: Centres
) -> tuple[Tensor, Tensor]:
    """Assignments of ``v1``: CLS (B, K) and masked patches (M, K), float32."""
    cls_BD, patches_BND = teacher.backbone(views.v1_BCHW)
    cls_logits = _in_float(teacher.dino_head(cls_BD))
    patch_logits = _in_float(teacher.patch_head(patches_BND.flatten(0, 1)[views.masked_M]))
    if recipe.centering == "sinkhorn":
        rounds = recipe.sinkhorn_iterations
        return sinkhorn_knopp(cls_logits, temperature, rounds), sinkhorn_knopp(patch_logits, temperature, rounds)
    targets = (
        softmax_centering(cls_logits, centres.cls_K, temperature),
        softmax_centering(patch_logits, centres.patch_K, temperature),
    )
    for centre, logits in ((centres.cls_K, cls_logits), (centres.patch_K, patch_logits)):
        mean = logits.mean(0)
        # A step with non-finite logits must not reach the centre.
        centre.copy_(torch.where(mean.isfinite().all(), centre.lerp(mean, 1 - recipe.centre_momentum), centre))
    return targets


@torch.no_grad()
def crop_targets(
    teacher: Network, views: Views, cls_target_BK: Tensor, recipe: LossRecipe, temperature: float, centres: Centres
) -> Tensor:
    """Sum of the assignments of ``v1`` and ``v2``, (B, K): cross-entropy is linear in its target."""
    cls_BD, _ = teacher.backbone(views.v2_BCHW)
    logits = _in_float(teacher.dino_head(cls_BD))
    if recipe.centering == "sinkhorn":
        return cls_target_BK + sinkhorn_knopp(logits, temperature, recipe.sinkhorn_iterations)
    return cls_target_BK + softmax_centering(logits, centres.cls_K, temperature)


def objective(
    student: Network,
    teacher: Network,
    views: Views,
    recipe: LossRecipe,
    temperature: float,
    centres: Centres,
    precision: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the objective.

    Returns
    -------
    The loss to descend; all terms in the order of ``TERMS``, detached (7,); the student's CLS of ``v2`` (B, D), which
    the health check watches. ``entropy`` is the mean entropy of the teacher's assignments over ln K: 1 is uniform.
    ``dino_crops`` is the mean over local crops and both views; 0 where there are no crops.
    """
    batch = len(views.v1_BCHW)
    with torch.autocast(views.v1_BCHW.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        cls_target, patch_target = teacher_targets(teacher, views, recipe, temperature, centres)
        masked_cls, masked_patches = student.backbone(views.v1_BCHW, views.masks_BN)
        local_cls, _ = student.backbone(views.v2_BCHW)
        masked_logits = _in_float(student.dino_head(masked_cls))
        local_logits = _in_float(student.dino_head(local_cls))
        patch_logits = _in_float(student.patch_head(masked_patches.flatten(0, 1)[views.masked_M]))
        count = 0 if views.crops_LBCHW is None else len(views.crops_LBCHW)
        if views.crops_LBCHW is not None and count:
            both_BK = crop_targets(teacher, views, cls_target, recipe, temperature, centres)
            crop_cls, _ = student.backbone(views.crops_LBCHW.flatten(0, 1))
            crop_logits = _in_float(student.dino_head(crop_cls))

    tau = recipe.student_temperature
    masked = dino_loss(masked_logits, cls_target, tau)
    local = dino_loss(local_logits, cls_target, tau)
    ibot = ibot_loss(patch_logits, patch_target, views.image_M, batch, tau)
    koleo = koleo_loss(_in_float(masked_cls), views.well_B) + koleo_loss(_in_float(local_cls), views.well_B)
    crops = dino_loss(crop_logits, both_BK.repeat(count, 1), tau) / 2 if count else torch.zeros_like(masked)
    dino = recipe.dino_masked * masked + recipe.dino_local * local + 2 * count * recipe.dino_crops * crops
    loss = dino / (1 + count) + recipe.ibot * ibot + recipe.koleo * koleo
    entropy = -torch.special.xlogy(cls_target, cls_target).sum(-1).mean() / math.log(cls_target.shape[1])
    terms = torch.stack([loss, masked, local, ibot, koleo, entropy, crops]).detach()
    return loss, terms, local_cls.detach()


def _in_float(values: Tensor) -> Tensor:
    """Losses are computed in float32, or in float64 when the networks are."""
    return values if values.dtype == torch.float64 else values.float()
