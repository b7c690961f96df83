"""One step's forward passes and the paper's objective (3.2.1).

    L = w_m DINO(fs(masked v1), ft(v1)) + w_a DINO(fs(v2), ft(v1)) + lambda1 iBOT + lambda2 KoLeo

The student runs once a view, as in DINOv2: masked ``v1`` and ``v2``. iBOT's target is the teacher's patches of the
unmasked ``v1`` at the masked places: the paper prints the masked one, whose target would be the mask token's.

With n local crops a site, the student sees them too, and the DINO terms become

    (w_m DINO(fs(masked v1), ft(v1)) + w_a DINO(fs(v2), ft(v1)) + w_c sum_c sum_g DINO(fs(c), ft(g))) / (1 + n)

over crops c and views g, so that each of the 2 + 2 n pairs counts alike, as in DINOv2, and their sum stays that of two.

Several ranks, and the parts of an accumulated step, each compute their share of every mean: shares add up, and so do
their gradients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sslprofiler_core import ranks
from sslprofiler_core.model.network import Network
from sslprofiler_core.recipes import LossRecipe

from .chunked import Assignment, centred, cross_entropy, logit_sums, narrowed, sinkhorn
from .losses import koleo_loss

TERMS = ("loss", "dino_masked", "dino_local", "ibot", "koleo", "entropy", "dino_crops")


@dataclass
class Centres:
    """Running means of the teacher's logits, for softmax centering: CLS and patches, each (K,).

    They stay as they are during a step, and follow its logits at its end.
    """

    cls_K: Tensor
    patch_K: Tensor

    @classmethod
    def zeros(cls, prototypes: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Centres:
        """Start at zero."""
        return cls(*torch.zeros(2, prototypes, device=device, dtype=dtype).unbind())

    @torch.no_grad()
    def follow(self, seen_2K1: Tensor, momentum: float, finite: Tensor) -> None:
        """Move toward the means of a step's logits, over all ranks, unless the step is not finite.

        ``seen_2K1`` has, for CLS and patches, the sums of this rank's logits and behind them their number.
        """
        seen = ranks.total(seen_2K1)
        for centre_K, sums in ((self.cls_K, seen[0]), (self.patch_K, seen[1])):
            mean_K, some = sums[:-1] / sums[-1].clamp(min=1.0), sums[-1] > 0
            centre_K.copy_(torch.where(finite & some, centre_K.lerp(mean_K, 1 - momentum), centre_K))


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


class Objective(NamedTuple):
    """What `objective` computes.

    Attributes
    ----------
    loss
        To descend; over the ranks and parts of a step, gradients are summed.
    terms
        In the order of ``TERMS``, detached (7,); over ranks and parts, they are summed too. ``entropy`` is the mean
        entropy of the teacher's assignments over ln K: 1 is uniform. ``dino_crops`` is the mean over local crops and
        both views; 0 where there are no crops.
    cls_BD
        The student's CLS of ``v2``, over all ranks, which the health check watches.
    seen_2K1
        For `Centres.follow`; None with Sinkhorn.
    """

    loss: Tensor
    terms: Tensor
    cls_BD: Tensor
    seen_2K1: Tensor | None


class _Teacher:
    """The teacher's assignments in one call of the objective."""

    def __init__(
        self, teacher: Network, recipe: LossRecipe, temperature: float, centres: Centres, precision: torch.dtype
    ) -> None:
        self._recipe, self._temperature, self._centres, self._precision = recipe, temperature, centres, precision
        cls_KH = narrowed(teacher.dino_head.directions(), precision)
        shared = teacher.patch_head is teacher.dino_head
        self._prototypes = (cls_KH, cls_KH if shared else narrowed(teacher.patch_head.directions(), precision))
        self.seen_2K1: Tensor | None = None
        if recipe.centering == "softmax":
            self.seen_2K1 = centres.cls_K.new_zeros(2, len(cls_KH) + 1)

    @torch.no_grad()
    def assign(self, features_MH: Tensor, patches: bool) -> Assignment:
        """Assign CLS tokens, or masked patches, from what their head makes of them."""
        features_MH, prototypes_KH = narrowed(features_MH, self._precision), self._prototypes[patches]
        if self.seen_2K1 is None:
            return sinkhorn(features_MH, prototypes_KH, self._temperature, self._recipe.sinkhorn_iterations)
        self.seen_2K1[int(patches), :-1] += logit_sums(features_MH, prototypes_KH)
        self.seen_2K1[int(patches), -1] += len(features_MH)
        centre_K = self._centres.patch_K if patches else self._centres.cls_K
        return centred(features_MH, prototypes_KH, centre_K, self._temperature)


def objective(
    student: Network,
    teacher: Network,
    views: Views,
    recipe: LossRecipe,
    temperature: float,
    centres: Centres,
    precision: torch.dtype,
    batch: int | None = None,
) -> Objective:
    """Compute the objective, or the share in it of views that are part of a batch.

    Parameters
    ----------
    student, teacher
        Whose views meet; the student descends.
    views
        Of this rank, in this part of the step.
    recipe, temperature, centres
        Weights, the teacher's temperature in this step, and the centres for softmax centering.
    precision
        ``torch.bfloat16`` for autocast; losses are computed in float32 (float64 when the networks are).
    batch
        Site pairs in the whole step, over all ranks and parts; None: the views are all there is.
    """
    here = len(views.v1_BCHW)
    batch = batch or here
    count = 0 if views.crops_LBCHW is None else len(views.crops_LBCHW)
    head, patch_head = student.dino_head, student.patch_head
    none_M = views.masked_M[:0]
    with torch.autocast(views.v1_BCHW.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        with torch.no_grad():
            cls_BD, patches_MD = teacher.backbone(views.v1_BCHW, places_M=views.masked_M)
            seen_BH, seen_MH = teacher.dino_head.features(cls_BD), teacher.patch_head.features(patches_MD)
        masked_cls, masked_MD = student.backbone(views.v1_BCHW, views.masks_BN, views.masked_M)
        local_cls, _ = student.backbone(views.v2_BCHW, places_M=none_M)
        masked_BH, local_BH = head.features(masked_cls), head.features(local_cls)
        patch_MH = patch_head.features(masked_MD)
        if views.crops_LBCHW is not None and count:
            with torch.no_grad():
                second_BH = teacher.dino_head.features(teacher.backbone(views.v2_BCHW, places_M=none_M)[0])
            crop_RH = head.features(student.backbone(views.crops_LBCHW.flatten(0, 1), places_M=none_M)[0])

    assigner = _Teacher(teacher, recipe, temperature, centres, precision)
    cls_target, patch_target = assigner.assign(seen_BH, patches=False), assigner.assign(seen_MH, patches=True)
    tau = recipe.student_temperature
    one_KH = head.directions()
    weight_B = one_KH.new_full((here,), 1.0 / batch)
    weight_M = _patch_weights(views.image_M, weight_B)
    masked = cross_entropy(masked_BH, one_KH, cls_target, weight_B, tau, precision)
    local = cross_entropy(local_BH, one_KH, cls_target, weight_B, tau, precision)
    patch_KH = one_KH if patch_head is head else patch_head.directions()
    ibot = cross_entropy(patch_MH, patch_KH, patch_target, weight_M, tau, precision)
    crops = torch.zeros_like(masked)
    if count:
        each_R = weight_B.repeat(count) / (2 * count)
        for target in (cls_target, assigner.assign(second_BH, patches=False)):
            crops = crops + cross_entropy(crop_RH, one_KH, _repeated(target, count), each_R, tau, precision)
    dino = recipe.dino_masked * masked + recipe.dino_local * local + 2 * count * recipe.dino_crops * crops

    # Every rank computes KoLeo over the rows of all, and descends it with its own.
    wells = ranks.gathered(views.well_B)
    masked_rows, local_rows = (ranks.gathered(_in_float(cls)) for cls in (masked_cls, local_cls))
    koleo = (koleo_loss(masked_rows, wells) + koleo_loss(local_rows, wells)) * (len(wells) / batch)

    loss = dino / (1 + count) + recipe.ibot * ibot
    entropy = cls_target.entropy() / (batch * math.log(len(one_KH)))
    share = koleo / ranks.count()
    terms = torch.stack([loss + recipe.koleo * share, masked, local, ibot, share, entropy, crops]).detach()
    return Objective(loss + recipe.koleo * koleo, terms, local_rows.detach(), assigner.seen_2K1)


class ObjectiveModule(nn.Module):
    """The objective as a module whose parameters are the student's: what data-parallel training wraps."""

    def __init__(self, student: Network) -> None:
        super().__init__()
        self.student = student

    def forward(
        self,
        teacher: Network,
        views: Views,
        recipe: LossRecipe,
        temperature: float,
        centres: Centres,
        precision: torch.dtype,
        batch: int,
    ) -> Objective:
        """See `objective`."""
        return objective(self.student, teacher, views, recipe, temperature, centres, precision, batch)


def _patch_weights(image_M: Tensor, weight_B: Tensor) -> Tensor:
    """iBOT's mean over each image's masked patches, then over images (DINOv2): the weight of each patch."""
    counts_B = torch.zeros_like(weight_B).index_add_(0, image_M, torch.ones_like(image_M, dtype=weight_B.dtype))
    return weight_B[image_M] / counts_B[image_M]


def _repeated(target: Assignment, count: int) -> Assignment:
    return Assignment(target.features_MH.repeat(count, 1), target.prototypes_KH, target.bias_K, target.temperature)


def _in_float(values: Tensor) -> Tensor:
    """Losses are computed in float32, or in float64 when the networks are."""
    return values if values.dtype == torch.float64 else values.float()
