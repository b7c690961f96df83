"""Several trainings at once, each a child process with its share of the cores, watched through their run folders.

Small networks use one core well and two badly, so two of them train almost twice as fast side by side.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from sslprofiler_core.errors import UserError
from sslprofiler_core.progress import progress_bar
from sslprofiler_core.training.run_folder import RunFolder

# What a child runs: a training that ends with its parent.
CHILD = "sslprofiler_core.demo.training_child"

_POLL_S = 0.5
# Enough for the last dozen events: a long run's whole file would be read too often.
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Job:
    """One training: parameters of `train`, and where it runs.

    Parameters
    ----------
    name
        What it is called in the progress bar and in errors.
    plates, metadata, group, run, recipe, overrides, device, channels_file
        As for `train`; ``run`` is its folder.
    environment
        Variables of the child process beside this one's, such as ``CUDA_VISIBLE_DEVICES``.
    """

    name: str
    plates: tuple[Path, ...]
    metadata: Path | None
    group: str
    run: Path
    recipe: str
    overrides: tuple[str, ...] = ()
    device: str | None = None
    channels_file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def train_side_by_side(
    plates: Path, metadata: Path, runs: Mapping[str, Path], recipe: str, overrides: Sequence[str] = ()
) -> None:
    """Train one model a channel group at the same time; finished runs are left as they are, stopped ones resumed.

    Parameters
    ----------
    plates, metadata
        As for `train`.
    runs
        Channel group -> run folder.
    recipe, overrides
        As for `train`.

    Raises
    ------
    UserError
        When a training fails; it ends with the training's own message. The other one is stopped with a checkpoint.
    """
    # The same share whether or not another run has finished: sums over threads differ in their last bits.
    threads = max(1, cores() // len(runs))
    more = (*overrides, f"train.threads={threads}")
    train_jobs([Job(group, (plates,), metadata, group, run, recipe, more) for group, run in runs.items()], len(runs))


def train_jobs(jobs: Sequence[Job], at_once: int, places: Sequence[Mapping[str, str]] = ()) -> None:
    """Train all jobs, so many at a time; finished runs are left as they are, stopped ones resumed.

    Parameters
    ----------
    jobs
        In the order in which they start.
    at_once
        How many child processes.
    places
        Environments to share out, such as one a GPU: a job gets one that no running job has. None needs none.

    Raises
    ------
    UserError
        When a training fails; it ends with the training's own message. The others are stopped with a checkpoint.
    """
    waiting = [job for job in jobs if not finished(job.run)]
    if not waiting:
        return
    with _interrupted_by_signals():
        running = _Running(waiting, at_once, places)
        try:
            running.watch()
        finally:
            running.stop()


class _Running:
    """Child processes: those that run, and the jobs that wait for one of them to end."""

    def __init__(self, jobs: Sequence[Job], at_once: int, places: Sequence[Mapping[str, str]]) -> None:
        self._jobs, self._queue = list(jobs), deque(jobs)
        self._at_once = at_once
        self._free = deque(places)
        self._children: dict[str, tuple[Job, subprocess.Popen[bytes], Mapping[str, str] | None]] = {}

    def watch(self) -> None:
        names = " and ".join(job.name for job in self._jobs) if len(self._jobs) < 3 else f"{len(self._jobs)} models"
        total = None
        with progress_bar(None, f"Training {names}", "step") as bar:
            while True:
                self._collect()
                while self._queue and len(self._children) < self._at_once:
                    job = self._queue.popleft()
                    place = self._free.popleft() if self._free else None
                    self._children[job.name] = (job, _start(job, place or {}), place)
                last = {job.name: _last_step(job.run) for job in self._jobs}
                if total is None and all(RunFolder(job.run).exists() for job in self._jobs):
                    total = sum(RunFolder(job.run).facts().steps for job in self._jobs)
                    bar.total = total
                losses = [f"{name} loss {last[name][1]:.2f}" for name in self._children if last[name][0]]
                bar.set_postfix_str(" ".join(losses), refresh=False)
                bar.update(sum(step for step, _ in last.values()) - bar.n)
                if not self._children and not self._queue:
                    return
                time.sleep(_POLL_S)

    def _collect(self) -> None:
        for name, (job, child, place) in list(self._children.items()):
            status = child.poll()
            if status is None:
                continue
            _close(child)
            del self._children[name]
            if place is not None:
                self._free.append(place)
            if status != 0:
                raise UserError(f"Training {name} failed: {_reason(job.run)} Its log is {_log(job.run)}.")

    def stop(self) -> None:
        # Also after Ctrl-C: SIGTERM lets a training write its checkpoint.
        children = [child for _, child, _ in self._children.values()]
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            child.wait()
            _close(child)


def finished(run: Path) -> bool:
    """Whether a run folder holds a run that came to its end."""
    return RunFolder(run).model_file.is_file() and any(event["event"] == "finished" for event in _last_events(run))


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Make SIGTERM and a closed terminal end this process as Ctrl-C does: children first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(job: Job, place: Mapping[str, str]) -> subprocess.Popen[bytes]:
    settings = {
        "plates": [str(path) for path in job.plates],
        "group": job.group,
        "out": str(job.run),
        "recipe": job.recipe,
        "overrides": list(job.overrides),
        "metadata": None if job.metadata is None else str(job.metadata),
        "resume": True,
        "device": job.device,
        "channels_file": None if job.channels_file is None else str(job.channels_file),
    }
    command = [sys.executable, "-m", CHILD, json.dumps(settings)]
    job.run.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **job.environment, **place}
    with _log(job.run).open("wb") as log:
        # A session of its own: Ctrl-C reaches this process alone, which then asks the children to stop.
        return subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.PIPE, start_new_session=True, env=environment
        )


def _close(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        child.stdin.close()


def _last_step(run: Path) -> tuple[int, float]:
    steps = [event for event in _last_events(run) if event["event"] == "step"]
    return (steps[-1]["step"], steps[-1]["loss"] or float("nan")) if steps else (0, float("nan"))


def _last_events(run: Path) -> list[dict[str, Any]]:
    """The end of a run's events; none when there is no run."""
    try:
        with RunFolder(run).events_file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:  # cut at either end
            continue
    return [event for event in found if isinstance(event, dict) and "event" in event]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _log(run: Path) -> Path:
    return run.with_name(f"{run.name}.log")


def _reason(run: Path) -> str:
    lines = _log(run).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it left no message."
