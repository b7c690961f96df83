"""Several trainings at once, each a child process with its share of the cores, watched through their run folders.

Small networks use one core well and two badly, so two channel groups train almost twice as fast side by side.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    waiting = {group: run for group, run in runs.items() if not finished(run)}
    if not waiting:
        return
    # The same share whether or not another run has finished: sums over threads differ in their last bits.
    threads = max(1, _cores() // len(runs))
    children: dict[str, subprocess.Popen[bytes]] = {}
    with _interrupted_by_signals():
        try:
            for group, run in waiting.items():
                children[group] = _start(plates, metadata, group, run, recipe, [*overrides, f"train.threads={threads}"])
            _watch(children, waiting)
        finally:
            # Also after Ctrl-C: SIGTERM lets a training write its checkpoint.
            for child in children.values():
                if child.poll() is None:
                    child.terminate()
            for child in children.values():
                child.wait()
                if child.stdin is not None:
                    child.stdin.close()


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


def _start(
    plates: Path, metadata: Path, group: str, run: Path, recipe: str, overrides: Sequence[str]
) -> subprocess.Popen[bytes]:
    settings = {
        "plates": [str(plates)],
        "group": group,
        "out": str(run),
        "recipe": recipe,
        "overrides": list(overrides),
        "metadata": str(metadata),
        "resume": True,
    }
    command = [sys.executable, "-m", CHILD, json.dumps(settings)]
    run.parent.mkdir(parents=True, exist_ok=True)
    with _log(run).open("wb") as log:
        # A session of its own: Ctrl-C reaches this process alone, which then asks the children to stop.
        return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.PIPE, start_new_session=True)


def _watch(children: Mapping[str, subprocess.Popen[bytes]], runs: Mapping[str, Path]) -> None:
    total = None
    with progress_bar(None, f"Training {' and '.join(children)}", "step") as bar:
        while True:
            alive = [group for group, child in children.items() if child.poll() is None]
            last = {group: _last_step(run) for group, run in runs.items()}
            if total is None and all(RunFolder(run).exists() for run in runs.values()):
                total = sum(RunFolder(run).facts().steps for run in runs.values())
                bar.total = total
            losses = [f"{group} loss {loss:.2f}" for group, (step, loss) in last.items() if step]
            bar.set_postfix_str(" ".join(losses), refresh=False)
            bar.update(sum(step for step, _ in last.values()) - bar.n)
            for group, child in children.items():
                if child.returncode not in (None, 0):
                    raise UserError(f"Training {group} failed: {_reason(runs[group])} Its log is {_log(runs[group])}.")
            if not alive:
                return
            time.sleep(_POLL_S)


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


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _log(run: Path) -> Path:
    return run.with_name(f"{run.name}.log")


def _reason(run: Path) -> str:
    lines = _log(run).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it left no message."
