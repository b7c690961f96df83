"""The cross-entropies and the teacher's assignments, a few rows at a time: tokens x prototypes never exist at once.

At 26,000 masked tokens and 65,536 prototypes each such matrix is 6.9 GB, and the plain losses (`losses`) hold several.
Here they are made of what is small, a token's features (M, H) and the prototypes (K, H), in chunks of rows:

- Sinkhorn-Knopp ends with each row's sum made 1, so its result is a softmax with a bias for each prototype:
  ``t = softmax_k(f . p_k / T + b_k)``. The first balancing sets ``b_k = -log sum_m exp(f_m . p_k / T)``; each further
  one subtracts ``log sum_m t_mk``, a sum over rows and ranks. Softmax centering has the form too: ``b = -centre / T``.
- The loss is a number: its gradient in features and prototypes is computed along with it, and backward only scales it.

Shapes: M rows, H bottleneck width, K prototypes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sslprofiler_core import ranks

# Numbers in a chunk of logits: on a CPU they stay in its cache, on a GPU they keep it busy.
_CHUNK, _CHUNK_CPU = 2**24, 2**18


@dataclass(frozen=True)
class Assignment:
    """The teacher's assignment of rows to prototypes: ``softmax(features @ prototypes.T / temperature + bias)``."""

    features_MH: Tensor
    prototypes_KH: Tensor
    bias_K: Tensor
    temperature: float

    def rows(self, rows: slice) -> Tensor:
        """The assignments of some rows, (rows, K), each of sum 1."""
        return self._scores(rows).softmax(1)

    def _scores(self, rows: slice) -> Tensor:
        return logits_of(self.features_MH[rows], self.prototypes_KH).div_(self.temperature).add_(self.bias_K)

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """Sum over rows of each row's entropy, in nats; a scalar."""
        total = self.bias_K.new_zeros(())
        for rows in chunks(len(self.features_MH), len(self.prototypes_KH), self.bias_K.device):
            log_t = self._scores(rows).log_softmax(1)
            total -= (log_t.exp() * log_t).sum()
        return total


def chunks(rows: int, columns: int, device: torch.device) -> Iterator[slice]:
    """Cut rows so that each part has a bearable number of logits."""
    size = max(1, (_CHUNK_CPU if device.type == "cpu" else _CHUNK) // columns)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def narrowed(unit_MH: Tensor, precision: torch.dtype) -> Tensor:
    """Features or prototypes as their products take them.

    In bf16 runs on a GPU: float16, in which a cosine has eight times the resolution of bf16 at the same speed, and
    cannot overflow. Elsewhere as they are.
    """
    return unit_MH.half() if precision == torch.bfloat16 and unit_MH.is_cuda else unit_MH


def logits_of(features_MH: Tensor, prototypes_KH: Tensor) -> Tensor:
    """Cosines of rows and prototypes, (M, K), in float32 (float64 where they are)."""
    logits = functional.linear(features_MH, prototypes_KH)
    return logits.float() if logits.dtype == torch.float16 else logits


@torch.no_grad()
def sinkhorn(features_MH: Tensor, prototypes_KH: Tensor, temperature: float, iterations: int = 3) -> Assignment:
    """Balance rows over prototypes (`losses.sinkhorn_knopp`), those of all ranks together."""
    dtype = torch.promote_types(features_MH.dtype, torch.float32)
    found = Assignment(features_MH, prototypes_KH, features_MH.new_zeros(len(prototypes_KH), dtype=dtype), temperature)
    for iteration in range(iterations):
        balance = _column_logsumexp(found) if iteration == 0 else _column_sums(found).log_()
        found.bias_K.sub_(balance)
    return found


def _column_logsumexp(assignment: Assignment) -> Tensor:
    """``log sum_m exp(f_m . p_k / T)`` over the rows of all ranks, (K,): as one pass, with a running maximum."""
    top_K = torch.full_like(assignment.bias_K, -torch.inf)
    sum_K = torch.zeros_like(top_K)
    for rows in chunks(len(assignment.features_MH), len(top_K), top_K.device):
        scores = assignment._scores(rows)
        before, top_K = top_K, torch.maximum(top_K, scores.amax(0))
        sum_K = sum_K * (before - top_K).exp_() + scores.sub_(top_K).exp_().sum(0)
    over_all = ranks.highest(top_K)
    return over_all + ranks.total(sum_K * (top_K - over_all).exp_()).log_()


def _column_sums(assignment: Assignment) -> Tensor:
    """``sum_m t_mk`` over the rows of all ranks, (K,)."""
    sum_K = torch.zeros_like(assignment.bias_K)
    for rows in chunks(len(assignment.features_MH), len(sum_K), sum_K.device):
        sum_K += assignment.rows(rows).sum(0)
    return ranks.total(sum_K)


@torch.no_grad()
def centred(features_MH: Tensor, prototypes_KH: Tensor, centre_K: Tensor, temperature: float) -> Assignment:
    """Balance by a running mean of the logits (`losses.softmax_centering`)."""
    return Assignment(features_MH, prototypes_KH, centre_K / -temperature, temperature)


@torch.no_grad()
def logit_sums(features_MH: Tensor, prototypes_KH: Tensor) -> Tensor:
    """Each prototype's sum of logits over this rank's rows, (K,): the product of the features' sum."""
    dtype = torch.promote_types(features_MH.dtype, torch.float32)
    return prototypes_KH.to(dtype) @ features_MH.to(dtype).sum(0)


def cross_entropy(
    features_MH: Tensor,
    prototypes_KH: Tensor,
    target: Assignment,
    weight_M: Tensor,
    temperature: float,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """``sum_m w_m ( - sum_k t_mk log softmax(f_m . p / temperature)_k )``, a scalar.

    Equal to `losses.dino_loss` with weights 1 / B, and to `losses.ibot_loss` with 1 / (B x the image's masked patches).
    Gradients reach features and prototypes, none the target.

    Parameters
    ----------
    features_MH, prototypes_KH
        The student's: unit vectors.
    target
        The teacher's assignment of the same rows.
    weight_M
        Of each row in the sum.
    temperature
        Of the student's softmax.
    precision
        Of the run: what the matrix products are computed in, see `narrowed`.
    """
    loss: Tensor = _CrossEntropy.apply(features_MH, prototypes_KH, target, weight_M, temperature, precision)
    return loss


class _CrossEntropy(torch.autograd.Function):
    """Value and gradient in one pass over the rows."""

    @staticmethod
    def forward(
        ctx: Any,
        features_MH: Tensor,
        prototypes_KH: Tensor,
        target: Assignment,
        weight_M: Tensor,
        temperature: float,
        precision: torch.dtype,
    ) -> Tensor:
        features, prototypes = narrowed(features_MH, precision), narrowed(prototypes_KH, precision)
        # Gradients are far smaller than cosines: float16 would lose them.
        step = torch.bfloat16 if features.dtype == torch.float16 else features.dtype
        wide_features, wide_prototypes = features_MH.to(step), prototypes_KH.to(step)
        loss = torch.zeros((), dtype=weight_M.dtype, device=weight_M.device)
        descend = any(ctx.needs_input_grad)
        d_features = torch.empty_like(features_MH) if descend else loss
        d_prototypes = torch.zeros_like(prototypes_KH) if descend else loss
        for rows in chunks(len(features), len(prototypes), features.device):
            logits = logits_of(features[rows], prototypes).div_(temperature)
            share = target.rows(rows)
            weight = weight_M[rows]
            top = logits.logsumexp(1)
            loss += weight @ (top - torch.linalg.vecdot(share, logits))
            if descend:
                logits.sub_(top[:, None]).exp_().sub_(share).mul_((weight / temperature)[:, None])
                slope = logits.to(step)
                d_features[rows] = slope @ wide_prototypes
                d_prototypes += slope.T @ wide_features[rows]
        ctx.save_for_backward(d_features, d_prototypes)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_features, d_prototypes = ctx.saved_tensors
        return d_features * grads[0], d_prototypes * grads[0], None, None, None, None
