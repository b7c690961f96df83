"""The training loop: read it top to bottom.

A run's state is what a checkpoint holds; all else is a function of (seed, step), so a resumed run equals one that was
left alone, step for step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from sslprofiler_core import keys
from sslprofiler_core.errors import UserError
from sslprofiler_core.model.files import LoadedModel, save_model
from sslprofiler_core.model.network import Network, build_network
from sslprofiler_core.progress import progress_bar
from sslprofiler_core.recipes import Recipe

from . import speed
from .ahead import SentBatches
from .checkpoint import load_last_checkpoint, restore, save_checkpoint
from .knn import KnnChecks
from .loader import PairBatch, PairLoader
from .memory import memory_in_words
from .objective import Centres, objective
from .optimizer import apply_settings, build_optimizer
from .pace import measure_pace
from .report import Report
from .run_folder import EventLog, RunFacts, RunFolder
from .schedules import step_settings
from .signals import StopSignals
from .views import step_views

_LOG_STEPS = 10  # the host waits for the device once in this many steps


@dataclass(frozen=True)
class TrainingOutcome:
    """How a call of ``run_training`` ended: ``"finished"``, ``"stopped"``, ``"paused"`` or a signal's name."""

    reason: str
    step: int
    steps: int


def clip_gradients(student: Network, limit: float) -> Tensor:
    """Scale each module's gradients to a norm of at most ``limit`` (DINOv2); returns the norms' sum, on the device."""
    norms = [torch.nn.utils.clip_grad_norm_(module.parameters(), limit, foreach=True) for module in student.children()]
    return torch.stack(norms).sum()


@torch.no_grad()
def update_teacher(student: Network, teacher: Network, weight: Tensor) -> None:
    """Teacher = teacher + weight x (student - teacher), all tensors at once.

    ``weight`` is 1 - momentum on the device, so that it can be 0 for a bad step without the host's knowing.
    """
    ours: list[Tensor] = list(teacher.parameters())
    theirs: list[Tensor] = list(student.parameters())
    changes = list(torch._foreach_sub(theirs, ours))
    torch._foreach_mul_(changes, weight)
    torch._foreach_add_(ours, changes)


class Trainer:
    """One run's networks, optimizer and folder."""

    def __init__(self, run: RunFolder, recipe: Recipe, device: torch.device, facts: RunFacts | None = None) -> None:
        self.run, self.recipe, self.device = run, recipe, device
        self.facts: RunFacts = facts or run.facts()
        student, teacher = build_network(self.recipe, len(self.facts.channels))
        # The teacher stays in training mode: its heads' batch normalisation uses the batch, as the student's does.
        self.student, self.teacher = student.to(device), teacher.to(device)
        speed.set_up(student, teacher, recipe, device, self.facts.steps)
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
        centres_before = (self.centres.cls_K.clone(), self.centres.patch_K.clone())
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
        # A non-finite gradient must not reach weights, teacher or centres, and the host must not wait to find out: the
        # fused kernel reads this flag and leaves weights and moments as they are.
        finite = torch.isfinite(norm) & torch.isfinite(loss.detach())
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # what GradScaler sets
        self.optimizer.step()
        update_teacher(self.student, self.teacher, finite.float() * (1.0 - settings.momentum))
        for centre, before in zip((self.centres.cls_K, self.centres.patch_K), centres_before, strict=True):
            centre.copy_(torch.where(finite, centre, before))
        self.step += 1
        return torch.cat([terms, norm.detach().reshape(1).to(terms.dtype)]), cls_BD

    def save(self, log: EventLog) -> None:
        """Write the model and a checkpoint, in this order: a checkpoint's model is always there."""
        self.save_model()
        log.sync()
        save_checkpoint(self.run.checkpoints, self.step, self.student, self.teacher, self.optimizer, self.centres)
        log.write("checkpoint", self.step)

    def save_model(self) -> None:
        """Write the teacher's backbone as it is now, for ``embed``."""
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
                facts.flat_field,
            ),
        )


def run_training(
    trainer: Trainer, loader: PairLoader, log: EventLog, checks: KnnChecks | None = None
) -> TrainingOutcome:
    """Train from the trainer's step to the end, or until told to stop; always leaves a checkpoint.

    Raises
    ------
    UserError
        When both sites of a pair cannot be read (a checkpoint is left), when memory does not suffice, or after three
        steps in a row with a non-finite loss or gradient (the last good checkpoint stays).
    """
    run, recipe, steps = trainer.run, trainer.recipe, trainer.facts.steps
    saved_at, saved_step, reason = time.monotonic(), trainer.step, "finished"

    sent = SentBatches(loader, trainer.device, steps)
    with StopSignals() as signals, progress_bar(steps, f"Training {trainer.facts.group}", "step", trainer.step) as bar:
        pace = measure_pace(recipe, len(trainer.facts.channels), trainer.device)
        report = Report(run, recipe, steps, log, bar, pace)
        if checks is not None and checks.due(trainer.step) and trainer.step not in log.checked:
            checks.run(trainer.teacher, trainer.step, log)
            report.restart_clock()
        while trainer.step < steps:
            try:
                batch = sent.take(trainer.step)
            except UserError:
                report.flush()
                if saved_step != trainer.step:
                    trainer.save(log)
                raise
            with memory_in_words(trainer, batch):
                terms, cls_BD = trainer.train_step(batch)
            sent.prepare(trainer.step)
            report.add(trainer.step, terms, batch)
            asked = signals.received.name if signals.received else run.control()
            since_saved = time.monotonic() - saved_at
            due = since_saved > 60 * recipe.train.checkpoint_minutes or (
                recipe.train.checkpoint_steps and trainer.step % recipe.train.checkpoint_steps == 0
            )
            last = trainer.step == steps or asked is not None
            checked = checks is not None and checks.due(trainer.step)
            if len(report.pending) < _LOG_STEPS and not (due or last or checked):
                continue
            report.flush(cls_BD)
            if checks is not None and checked:  # before the checkpoint: a resumed run finds it done
                checks.run(trainer.teacher, trainer.step, log)
            if due or last:
                trainer.save(log)
                saved_at, saved_step = time.monotonic(), trainer.step
            report.restart_clock()
            if asked is not None and trainer.step < steps:
                reason = {"stop": "stopped", "pause": "paused"}.get(asked, asked)
                break
        else:
            if not run.model_file.is_file():  # of a finished run, taken away since
                trainer.save_model()

    log.write(reason if reason in ("finished", "stopped", "paused") else "stopped", trainer.step, steps=steps)
    return TrainingOutcome(reason, trainer.step, steps)
