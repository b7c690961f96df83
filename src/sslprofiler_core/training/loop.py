"""The training loop: read it top to bottom.

A run's state is what a checkpoint holds; all else is a function of (seed, step), so a resumed run equals one that was
left alone, step for step.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from sslprofiler_core import keys
from sslprofiler_core.augment import draw_views, render_views
from sslprofiler_core.augment.masks import draw_masks
from sslprofiler_core.errors import UserError
from sslprofiler_core.model.files import LoadedModel, save_model
from sslprofiler_core.model.network import Network, build_network
from sslprofiler_core.progress import progress_bar
from sslprofiler_core.recipes import Recipe

from .checkpoint import load_last_checkpoint, restore, save_checkpoint
from .health import collapse_warning, effective_rank
from .loader import PairBatch, PairLoader
from .objective import TERMS, Centres, Views, objective
from .optimizer import apply_settings, build_optimizer
from .run_folder import EventLog, RunFacts, RunFolder
from .schedules import step_settings
from .signals import StopSignals

_LOG_STEPS = 10  # the host waits for the device once in this many steps
_MAX_BAD_STEPS = 3


@dataclass(frozen=True)
class TrainingOutcome:
    """How a call of ``run_training`` ended: ``"finished"``, ``"stopped"``, ``"paused"`` or a signal's name."""

    reason: str
    step: int
    steps: int


def step_views(batch: PairBatch, recipe: Recipe, step: int, device: torch.device) -> Views:
    """Make the views of a step: every parameter is a function of (seed, step, sample, view)."""
    samples = np.arange(len(batch.sites))
    partner = batch.partner_B if recipe.augment.local_aggregation else samples
    sources = np.concatenate([samples, partner])
    view_keys = np.concatenate(
        [keys.fold(recipe.train.seed, "view", step, samples, view) for view in (1, 2)]
    )
    sites = [site.to(device, non_blocking=True) for site in batch.sites]
    shapes = np.array([sites[source].shape[-2:] for source in sources])
    drawn = draw_views(view_keys, shapes, sites[0].shape[0], recipe.augment)
    views = render_views(
        [sites[source] for source in sources],
        batch.scales_BC2[torch.from_numpy(sources)].to(device),
        drawn,
        recipe.augment,
        names=[batch.names[source] for source in sources],
    )
    grid = recipe.augment.size // recipe.model.patch
    masks = draw_masks(
        keys.fold(recipe.train.seed, "masks", step),
        len(samples),
        (grid, grid),
        recipe.loss.mask_images,
        recipe.loss.mask_ratio,
    )
    flat = np.flatnonzero(masks)
    return Views(
        v1_BCHW=views[: len(samples)],
        v2_BCHW=views[len(samples) :],
        masks_BN=torch.from_numpy(masks).to(device),
        masked_M=torch.from_numpy(flat).to(device),
        image_M=torch.from_numpy(flat // masks.shape[1]).to(device),
        well_B=batch.well_B.to(device),
    )


def clip_gradients(student: Network, limit: float) -> Tensor:
    """Scale each module's gradients to a norm of at most ``limit`` (DINOv2); returns the norms' sum, on the device."""
    modules = [module for module in student.children() if module is not None]
    norms = [torch.nn.utils.clip_grad_norm_(module.parameters(), limit, foreach=True) for module in modules]
    return torch.stack(norms).sum()


@torch.no_grad()
def update_teacher(student: Network, teacher: Network, momentum: float) -> None:
    """Teacher = momentum x teacher + (1 - momentum) x student, all tensors at once."""
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1.0 - momentum)


class Trainer:
    """One run's networks, optimizer and folder."""

    def __init__(self, run: RunFolder, recipe: Recipe, device: torch.device) -> None:
        self.run, self.recipe, self.device = run, recipe, device
        self.facts: RunFacts = run.facts()
        student, teacher = build_network(self.recipe, len(self.facts.channels))
        # The teacher stays in training mode: its heads' batch normalisation uses the batch, as the student's does.
        self.student, self.teacher = student.to(device), teacher.to(device)
        self.optimizer = build_optimizer(self.student, self.recipe.train)
        self.centres = Centres.zeros(self.recipe.model.prototypes, device)
        self.precision = torch.bfloat16 if self.recipe.train.precision == "bf16" else torch.float32
        self.step = 0

    def resume(self) -> list[str]:
        """Go to the last checkpoint's state; returns warnings."""
        state, warnings = load_last_checkpoint(self.run.checkpoints, self.device)
        if state is not None:
            self.step = restore(state, self.student, self.teacher, self.optimizer, self.centres)
        return warnings

    def train_step(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Do one step; returns the terms (6,) with the gradient norm appended (7,), and CLS of ``v2``."""
        settings = step_settings(self.recipe, self.step, self.facts.steps)
        apply_settings(self.optimizer, settings)
        torch.manual_seed(int(keys.fold(self.recipe.train.seed, "drop path", self.step)))
        views = step_views(batch, self.recipe, self.step, self.device)
        loss, terms, cls_BD = objective(
            self.student,
            self.teacher,
            views,
            self.recipe.loss,
            settings.teacher_temperature,
            self.centres,
            self.precision,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        norm = clip_gradients(self.student, self.recipe.train.clip)
        # A non-finite gradient must not reach the weights, and the host must not wait to find out: the fused kernel
        # reads this flag and leaves weights and moments as they are.
        self.optimizer.found_inf = (~(torch.isfinite(norm) & torch.isfinite(loss.detach()))).float().reshape(())  # type: ignore[attr-defined]
        self.optimizer.step()
        update_teacher(self.student, self.teacher, settings.momentum)
        self.step += 1
        return torch.cat([terms, norm.detach().reshape(1).to(terms.dtype)]), cls_BD

    def save(self) -> None:
        """Write a checkpoint, and the teacher as it is now."""
        save_checkpoint(
            self.run.checkpoints, self.step, self.student, self.teacher, self.optimizer, self.centres
        )
        facts = self.facts
        save_model(
            self.run.model_file,
            LoadedModel(
                self.teacher.backbone,
                self.recipe,
                facts.group,
                facts.channels,
                facts.pixel_size_um,
                facts.scale,
                self.step,
            ),
        )


def run_training(trainer: Trainer, loader: PairLoader, log: EventLog) -> TrainingOutcome:
    """Train from the trainer's step to the end, or until told to stop; always leaves a checkpoint.

    Raises
    ------
    UserError
        After three steps in a row with a non-finite loss or gradient; the last good checkpoint stays.
    """
    run, recipe, steps = trainer.run, trainer.recipe, trainer.facts.steps
    run.control_file.unlink(missing_ok=True)
    pending: list[tuple[int, Tensor]] = []
    saved_at, saved_step, flushed_at = time.monotonic(), trainer.step, time.monotonic()
    bad_steps, warned, reason = 0, False, "finished"
    recent: list[list[str]] = []

    with StopSignals() as signals, progress_bar(steps, f"Training {trainer.facts.group}", "step", trainer.step) as bar:
        while trainer.step < steps:
            batch = loader.batch(trainer.step, steps)
            recent = [*recent[-_LOG_STEPS:], batch.names]
            terms, cls_BD = trainer.train_step(batch)
            pending.append((trainer.step, terms))
            asked = signals.received.name if signals.received else run.control()
            now = time.monotonic()
            due = now - saved_at > 60 * recipe.train.checkpoint_minutes or (
                recipe.train.checkpoint_steps and trainer.step % recipe.train.checkpoint_steps == 0
            )
            last = trainer.step == steps or asked is not None
            if len(pending) < _LOG_STEPS and not (due or last):
                continue

            rows = [(step, row.tolist()) for step, row in pending]
            rank = effective_rank(cls_BD)
            elapsed = time.monotonic() - flushed_at
            pairs_per_s = len(rows) * recipe.train.batch / elapsed
            for step, values in rows:
                finite = all(math.isfinite(value) for value in values)
                bad_steps = 0 if finite else bad_steps + 1
                _log_step(log, trainer, step, values, pairs_per_s, finite)
                if bad_steps == _MAX_BAD_STEPS:
                    # The weights are those before the first bad step; they are not worth a new checkpoint.
                    sites = ", ".join(sorted({name for names in recent[-_MAX_BAD_STEPS:] for name in names})[:8])
                    log.write("failed", step, reason=f"{_MAX_BAD_STEPS} non-finite steps in a row")
                    raise UserError(
                        f"Loss or gradient was not finite {_MAX_BAD_STEPS} steps in a row, up to step {step} (sites: "
                        f"{sites}, ...). Lower train.lr, or check those sites, and train again; the last good "
                        f"checkpoint is in {run.checkpoints}."
                    )
            entropy = rows[-1][1][TERMS.index("entropy")]
            log.write("health", trainer.step, effective_rank=_number(rank), entropy=_number(entropy))
            warning = collapse_warning(entropy, rank) if trainer.step > steps // 4 else None
            if warning and not warned:
                warned = True
                log.write("warning", trainer.step, text=warning)
                tqdm.write(f"Warning: {warning}", file=bar.fp)
            bar.set_postfix_str(_postfix(rows[-1][1], pairs_per_s), refresh=False)
            bar.update(trainer.step - bar.n)
            pending, flushed_at = [], time.monotonic()
            if due or last:
                trainer.save()
                log.write("checkpoint", trainer.step)
                saved_at, saved_step = time.monotonic(), trainer.step
                flushed_at = saved_at
            if asked is not None and trainer.step < steps:
                reason = {"stop": "stopped", "pause": "paused"}.get(asked, asked)
                break

    if saved_step != trainer.step:
        trainer.save()
    run.control_file.unlink(missing_ok=True)
    log.write(reason if reason in ("finished", "stopped", "paused") else "stopped", trainer.step, steps=steps)
    return TrainingOutcome(reason, trainer.step, steps)


def _log_step(
    log: EventLog, trainer: Trainer, step: int, values: list[float], pairs_per_s: float, finite: bool
) -> None:
    settings = step_settings(trainer.recipe, step - 1, trainer.facts.steps)
    terms: dict[str, Any] = {name: _number(value) for name, value in zip(TERMS, values, strict=False)}
    log.write(
        "step",
        step,
        **terms,
        gradient_norm=_number(values[-1]),
        lr=settings.lr,
        momentum=settings.momentum,
        pairs_per_s=round(pairs_per_s, 2),
        time=round(time.time(), 3),
        **({} if finite else {"skipped": True}),
    )


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


def _postfix(values: list[float], sites_per_s: float) -> str:
    shown = {name: values[TERMS.index(name)] for name in ("loss", "dino_masked", "dino_local", "ibot", "koleo")}
    text = " ".join(f"{name} {value:.3f}" for name, value in shown.items())
    return f"{text} | {sites_per_s:.0f} sites/s"
