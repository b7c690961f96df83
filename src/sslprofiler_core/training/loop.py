"""The training loop: read it top to bottom.

A run's state is what a checkpoint holds; all else is a function of (seed, step), so a resumed run equals one that was
left alone, step for step. Of several processes (`ranks`) each does its share of every step, and rank 0 alone writes.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from signal import Signals

import torch
from torch import Tensor, nn

from sslprofiler_core import keys, ranks
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
from .objective import Centres, Objective, ObjectiveModule
from .optimizer import apply_settings, build_optimizer
from .pace import measure_pace
from .report import Report
from .run_folder import EventLog, RunFacts, RunFolder
from .schedules import step_settings
from .signals import StopSignals
from .views import step_views

_ASKED = (None, "stop", "pause")
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
        dtype = torch.float64 if self.recipe.train.precision == "float64" else torch.float32
        self.student, self.teacher = student.to(device, dtype), teacher.to(device, dtype)
        speed.set_up(student, teacher, recipe, device, self.facts.steps)
        self.optimizer = build_optimizer(self.student, self.recipe.train)
        self.centres = Centres.zeros(self.recipe.model.prototypes, device, dtype)
        self.precision = torch.bfloat16 if self.recipe.train.precision == "bf16" else torch.float32
        self.objective: nn.Module = ObjectiveModule(self.student)
        if ranks.count() > 1:  # sums gradients over the ranks while the backward pass is still at work
            self.objective = nn.parallel.DistributedDataParallel(self.objective, gradient_as_bucket_view=True)
        self.step = 0

    def resume(self) -> list[str]:
        """Go to the last checkpoint's state; returns warnings."""
        state, warnings = load_last_checkpoint(self.run.checkpoints, self.device)
        if state is not None:
            self.step = restore(state, self.student, self.teacher, self.optimizer, self.centres)
        return warnings

    def train_step(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Do one step; returns the terms (7,) with the gradient norm appended (8,), and CLS of ``v2``.

        With ``train.accumulate`` the batch is taken in parts whose gradients add up. Each part has its own Sinkhorn
        balance, batch normalisation and nearest neighbours for KoLeo, so that the step equals that of the whole batch
        with softmax centering, without KoLeo, ``model.head_norm`` and drop path, and differs otherwise.
        """
        settings = step_settings(self.recipe, self.step, self.facts.steps)
        apply_settings(self.optimizer, settings)
        self.optimizer.zero_grad(set_to_none=True)
        parts = batch.parts(self.recipe.train.accumulate)
        found: list[Objective] = []
        for number, part in enumerate(parts):
            torch.manual_seed(int(keys.fold(self.recipe.train.seed, "drop path", self.step, ranks.index(), number)))
            with nullcontext() if part is parts[-1] else self._summed_later():
                one: Objective = self.objective(
                    self.teacher,
                    step_views(part, self.recipe, self.step, self.device),
                    self.recipe.loss,
                    settings.teacher_temperature,
                    self.centres,
                    self.precision,
                    len(batch.sites) * ranks.count(),
                )
                # Data-parallel training means gradients over ranks; the objective's shares are to be summed.
                (one.loss * ranks.count()).backward()  # type: ignore[no-untyped-call]  # torch's own
            found.append(one._replace(loss=one.loss.detach()))
        terms = ranks.total(torch.stack([one.terms for one in found]).sum(0))
        norm = clip_gradients(self.student, self.recipe.train.clip)
        # A non-finite gradient must not reach weights, teacher or centres, and the host must not wait to find out: the
        # fused kernel reads this flag and leaves weights and moments as they are. It is the same on all ranks.
        finite = torch.isfinite(norm) & torch.isfinite(terms[0])
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]  # what GradScaler sets
        self.optimizer.step()
        update_teacher(self.student, self.teacher, finite.float() * (1.0 - settings.momentum))
        if seen := [one.seen_2K1 for one in found if one.seen_2K1 is not None]:
            self.centres.follow(torch.stack(seen).sum(0), self.recipe.loss.centre_momentum, finite)
        self.step += 1
        return torch.cat([terms, norm.detach().reshape(1).to(terms.dtype)]), torch.cat([one.cls_BD for one in found])

    def _summed_later(self) -> AbstractContextManager[None]:
        """Within it, gradients stay this rank's own."""
        if isinstance(self.objective, nn.parallel.DistributedDataParallel):
            return self.objective.no_sync()
        return nullcontext()

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
    trainer: Trainer, loader: PairLoader, log: EventLog | None, checks: KnnChecks | None = None
) -> TrainingOutcome:
    """Train from the trainer's step to the end, or until told to stop; always leaves a checkpoint.

    ``log`` is rank 0's alone, and None on others.

    Raises
    ------
    UserError
        When both sites of a pair cannot be read (a checkpoint is left), when memory does not suffice, or after three
        steps in a row with a non-finite loss or gradient (the last good checkpoint stays).
    """
    run, recipe, steps = trainer.run, trainer.recipe, trainer.facts.steps
    saved_at, saved_step, reason = time.monotonic(), trainer.step, "finished"

    sent = SentBatches(loader, trainer.device, steps)
    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        report = None
        if log is not None:
            bar = progress_bar(steps, f"Training {trainer.facts.group}", "step", trainer.step)
            pace = measure_pace(recipe, len(trainer.facts.channels), trainer.device, ranks.count())
            report = Report(run, recipe, steps, log, stack.enter_context(bar), pace)

        def rest(cls_BD: Tensor | None, check: bool, save: bool) -> None:
            """What rank 0 does between two steps, while the others wait."""
            assert log is not None and report is not None  # it is rank 0
            report.flush(cls_BD)
            if checks is not None and check:  # before the checkpoint: a resumed run finds it done
                checks.run(trainer.teacher, trainer.step, log)
            if save:
                trainer.save(log)
            report.restart_clock()

        due = checks is not None and checks.due(trainer.step)
        ranks.from_first(partial(rest, None, due and log is not None and trainer.step not in log.checked, False))
        pending = 0
        while trainer.step < steps:
            problem = None
            try:
                batch = sent.take(trainer.step)
            except UserError as error:
                problem = error
            if ranks.agree([problem is not None])[0]:
                ranks.from_first(partial(rest, None, False, saved_step != trainer.step))
                ranks.raise_any(problem)
            with memory_in_words(trainer, batch):
                terms, cls_BD = trainer.train_step(batch)
            sent.prepare(trainer.step)
            pending += 1

            # Rank 0's clock and the control file that it sees count for all; a signal to any of them does too.
            minutes = (time.monotonic() - saved_at) / 60
            number, word, old, bad = ranks.agree(
                [
                    signals.received or 0,
                    _ASKED.index(run.control()) if log is not None else 0,
                    log is not None and minutes > recipe.train.checkpoint_minutes,
                    len(batch.problems),
                ]
            )
            problems = ranks.collected(batch.problems) if bad else []
            if report is not None:
                report.add(trainer.step, terms, replace(batch, names=loader.names(trainer.step - 1), problems=problems))
            asked = Signals(number).name if number else _ASKED[word]
            every = recipe.train.checkpoint_steps
            save = bool(old) or trainer.step == steps or asked is not None or bool(every and trainer.step % every == 0)
            check = checks is not None and checks.due(trainer.step)
            if pending < _LOG_STEPS and not (save or check):
                continue
            ranks.from_first(partial(rest, cls_BD, check, save))
            pending = 0
            if save:
                saved_at, saved_step = time.monotonic(), trainer.step
            if asked is not None and trainer.step < steps:
                reason = {"stop": "stopped", "pause": "paused"}.get(asked, asked)
                break
        else:
            if log is not None and not run.model_file.is_file():  # of a finished run, taken away since
                trainer.save_model()

    if log is not None:
        log.write(reason if reason in ("finished", "stopped", "paused") else "stopped", trainer.step, steps=steps)
    return TrainingOutcome(reason, trainer.step, steps)
