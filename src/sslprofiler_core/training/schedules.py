"""What changes over a run, as functions of its fraction: short runs have the same shape as long ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sslprofiler_core.recipes import Recipe


@dataclass(frozen=True, slots=True)
class StepSettings:
    """The scheduled settings of one step."""

    lr: float
    last_layer_lr: float
    weight_decay: float
    momentum: float
    teacher_temperature: float


def cosine(first: float, last: float, fraction: float) -> float:
    """``last + (first - last) (1 + cos(pi fraction)) / 2``."""
    return last + 0.5 * (first - last) * (1.0 + math.cos(math.pi * fraction))


def step_settings(recipe: Recipe, step: int, steps: int) -> StepSettings:
    """Settings of a step (counted from 0) of a run of ``steps`` steps.

    Paper 4.1: a linear warm-up over the first 10 of 100 epochs. DINOv2: cosine learning rate, weight decay and
    momentum; a teacher temperature that rises linearly; prototypes frozen at first.
    """
    train, loss = recipe.train, recipe.loss
    warmup = round(train.warmup * steps)
    if step < warmup:
        lr = train.lr * (step + 1) / warmup
    else:
        lr = cosine(train.lr, train.lr_final, (step - warmup) / max(steps - warmup, 1))
    fraction = step / steps
    first, last = loss.teacher_temperature
    rise = min(fraction / loss.teacher_warmup, 1.0) if loss.teacher_warmup > 0 else 1.0
    return StepSettings(
        lr=lr,
        last_layer_lr=0.0 if step < round(train.freeze_last_layer * steps) else lr,
        weight_decay=cosine(*train.weight_decay, fraction),
        momentum=cosine(*train.momentum, fraction),
        teacher_temperature=first + (last - first) * rise,
    )
