"""The training loop: read it top to bottom.

A run's state is what a checkpoint holds; all else is a function of (seed, step), so a resumed run equals one that was
left alone, step for step.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from sslprofiler_core import keys
from sslprofiler_core.errors import UserError
from sslprofiler_core.model.files import LoadedModel, save_model
from sslprofiler_core.model.network import Network, build_network
from sslprofiler_core.progress import progress_bar
from sslprofiler_core.recipes import Recipe

from .checkpoint import load_last_checkpoint, restore, save_checkpoint
from .health import collapse_warning, effective_rank
from .loader import PairBatch, PairLoader
from .objective import TERMS, Centres, objective
from .optimizer import apply_settings, build_optimizer
from .run_folder import EventLog, RunFacts, RunFolder
from .schedules import step_settings
from .signals import StopSignals
from .views import step_views

_LOG_STEPS = 10  # the host waits for the device once in this many steps
_MAX_BAD_STEPS = 3


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
            ),
        )


def run_training(trainer: Trainer, loader: PairLoader, log: EventLog) -> TrainingOutcome:
    """Train from the trainer's step to the end, or until told to stop; always leaves a checkpoint.

    Raises
    ------
    UserError
        When both sites of a pair cannot be read (a checkpoint is left), or after three steps in a row with a
        non-finite loss or gradient (the last good checkpoint stays).
    """
    run, recipe, steps = trainer.run, trainer.recipe, trainer.facts.steps
    saved_at, saved_step, reason = time.monotonic(), trainer.step, "finished"
    failure: UserError | None = None

    with StopSignals() as signals, progress_bar(steps, f"Training {trainer.facts.group}", "step", trainer.step) as bar:
        report = Report(trainer, log, bar)
        while trainer.step < steps:
            try:
                batch = loader.batch(trainer.step, steps)
            except UserError as error:
                failure = error
                break
            terms, cls_BD = trainer.train_step(batch)
            report.add(trainer.step, terms, batch)
            asked = signals.received.name if signals.received else run.control()
            since_saved = time.monotonic() - saved_at
            due = since_saved > 60 * recipe.train.checkpoint_minutes or (
                recipe.train.checkpoint_steps and trainer.step % recipe.train.checkpoint_steps == 0
            )
            last = trainer.step == steps or asked is not None
            if len(report.pending) < _LOG_STEPS and not (due or last):
                continue
            report.flush(cls_BD)
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
        if failure is not None:
            report.flush()
            if saved_step != trainer.step:
                trainer.save(log)

    run.forget_control()
    if failure is not None:
        log.write("failed", trainer.step, reason=str(failure))
        raise failure
    log.write(reason if reason in ("finished", "stopped", "paused") else "stopped", trainer.step, steps=steps)
    return TrainingOutcome(reason, trainer.step, steps)


class Report:
    """What a run says of itself: ``events.jsonl`` and the progress bar. Values wait on the device until a flush."""

    def __init__(self, trainer: Trainer, log: EventLog, bar: tqdm[Any]) -> None:
        self._trainer, self._log, self._bar = trainer, log, bar
        self.pending: list[tuple[int, Tensor, list[str]]] = []
        self._bad: list[list[str]] = []  # the sites of each of the last steps in a row that were not finite
        self._told: set[str] = set()
        self._collapsing = False
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave out of the throughput what came before."""
        self._since = time.monotonic()

    def add(self, step: int, terms: Tensor, batch: PairBatch) -> None:
        """Note a step that was done, and at once the sites that it lacked."""
        self.pending.append((step, terms, batch.names))
        for problem in batch.problems:
            self._log.write("bad_site", step, text=problem)
            if problem not in self._told:  # each epoch meets it again
                self._told.add(problem)
                self._warn(problem)

    def flush(self, cls_BD: Tensor | None = None) -> None:
        """Wait for the device and write what is pending; with embeddings, the signs of collapse too.

        Raises
        ------
        UserError
            After three steps in a row with a non-finite loss or gradient.
        """
        if not self.pending:
            return
        trainer = self._trainer
        rows = [(step, terms.tolist(), names) for step, terms, names in self.pending]
        rank = effective_rank(cls_BD) if cls_BD is not None else math.nan
        pairs_per_s = len(rows) * trainer.recipe.train.batch / max(time.monotonic() - self._since, 1e-9)
        self.pending = []
        for step, values, names in rows:
            finite = all(math.isfinite(value) for value in values)
            self._bad = [] if finite else [*self._bad, names]
            self._write_step(step, values, pairs_per_s, finite)
            if len(self._bad) == _MAX_BAD_STEPS:
                # The weights are those before the first of them: they are not worth a new checkpoint.
                self._log.write("failed", step, reason=f"{_MAX_BAD_STEPS} non-finite steps in a row")
                raise UserError(
                    f"Loss or gradient was not finite {_MAX_BAD_STEPS} steps in a row, up to step {step} (sites: "
                    f"{_shared(self._bad)}). Lower train.lr, or check those sites, and train again; the last good "
                    f"checkpoint is in {trainer.run.checkpoints}."
                )
        latest = rows[-1][1]
        if cls_BD is not None:
            self._watch_collapse(latest[TERMS.index("entropy")], rank)
        self._bar.set_postfix_str(_postfix(latest, pairs_per_s), refresh=False)
        self._bar.update(trainer.step - self._bar.n)
        self.restart_clock()

    def _write_step(self, step: int, values: list[float], pairs_per_s: float, finite: bool) -> None:
        settings = step_settings(self._trainer.recipe, step - 1, self._trainer.facts.steps)
        terms: dict[str, Any] = {name: _number(value) for name, value in zip(TERMS, values, strict=False)}
        self._log.write(
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

    def _watch_collapse(self, entropy: float, rank: float) -> None:
        step, steps = self._trainer.step, self._trainer.facts.steps
        self._log.write("health", step, effective_rank=_number(rank), entropy=_number(entropy))
        warning = collapse_warning(entropy, rank) if step > steps // 4 else None
        if warning and not self._collapsing:
            self._collapsing = True
            self._log.write("warning", step, text=warning)
            self._warn(warning)

    def _warn(self, text: str) -> None:
        self._bar.write(f"Warning: {text}", file=sys.stderr)


def _shared(steps: list[list[str]], most: int = 8) -> str:
    """Name sites of some steps: those that all of them had, since these are the suspects, or else the last step's."""
    names = sorted(set.intersection(*map(set, steps)) or set(steps[-1]))
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None


def _postfix(values: list[float], pairs_per_s: float) -> str:
    shown = {name: values[TERMS.index(name)] for name in ("loss", "dino_masked", "dino_local", "ibot", "koleo")}
    text = " ".join(f"{name} {value:.3f}" for name, value in shown.items())
    return f"{text} | {pairs_per_s:.0f} sites/s"
