"""Watch a run from outside: started here, by a colleague, or on a cluster whose disk is mounted. Reads only."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import numpy as np

from .event_reader import EventReader
from .presence import Holder, PresenceWatcher
from .run_folder import RunFolder
from .run_state import KnnCurve, RunState, RunStatus

_LOG_BYTES = 16_384
_LOG_LINES = 200
_PATIENCE_S = 120.0  # that a process may take until it says to be there: importing from a slow disk
# How `start_training` heads each attempt in log.txt.
ATTEMPT = "=== "
_ENDS = {"finished": RunStatus.FINISHED, "failed": RunStatus.FAILED, "stopped": RunStatus.STOPPED}
_ENDS["paused"] = RunStatus.PAUSED
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class RunWatcher:
    """Follows one run folder; call `poll` as often as the answer is wanted, from one thread at a time.

    A poll costs a few file reads: of events and log only what is new. Nothing raises, whatever happens to the folder:
    it is in the state's message.
    """

    def __init__(self, run: Path | str) -> None:
        self._run = RunFolder(run)
        self._events = EventReader(self._run.events_file)
        self._presence = PresenceWatcher(self._run.path)
        self._facts: tuple[float, str, int] = (-1.0, "", 0)
        self._log: tuple[tuple[int, int], list[str]] = ((-1, -1), [])
        self._grew = float("-inf")
        self._was_there = False
        self._trouble = ""

    def poll(self) -> RunState:
        """Look, and say how the run is."""
        self._trouble = ""
        holder, alive = self._presence.look()
        try:
            if self._events.poll():
                self._grew = time.monotonic()
        except OSError as error:
            self._trouble = f"{self._run.events_file} cannot be read ({error.strerror or error})."
        facts_known = self._read_facts()
        log = self._read_log()
        known = facts_known or holder is not None or self._events.last is not None or bool(log)
        status = self._status(holder, alive, log) if known or self._trouble else RunStatus.ABSENT
        self._was_there |= known
        events, (_, group, steps) = self._events, self._facts
        steps_N, curves = events.curves()
        pace = events.seconds_a_step() if status.alive else None
        working = status.alive and status is not RunStatus.STARTING
        return RunState(
            run=self._run.path,
            status=status,
            message=self._message(status, holder, steps, log),
            group=group,
            steps=steps,
            step=events.step,
            checkpoint=events.checkpoint,
            steps_N=steps_N,
            curves=curves,
            knn=_knn_curve(events.knn),
            pairs_per_s=events.latest("pairs_per_s") if working else None,
            utilisation=events.latest("utilisation") if working else None,
            eta_s=max(0, steps - events.step) * pace if pace is not None and steps else None,
            warnings=tuple(events.warnings),
            log=tuple(log),
            pid=holder.pid if holder else None,
            host=holder.host if holder else None,
            since=holder.since if holder else None,
            device=events.device,
        )

    def _status(self, holder: Holder | None, alive: bool, log: list[str]) -> RunStatus:
        kind = self._events.last["event"] if self._events.last is not None else None
        if alive or (holder is None and kind in ("started", "resumed") and self._grows()):
            word = self._run.control()
            if word is not None:
                return RunStatus.PAUSING if word == "pause" else RunStatus.STOPPING
            return RunStatus.RUNNING if kind in ("started", "resumed") and self._events.active else RunStatus.STARTING
        if holder is not None:
            return RunStatus.LOST
        if self._log_is_newer():
            if (end := _spoken_end(log)) is not None:
                return RunStatus.STOPPED if end == "interrupted." else RunStatus.FAILED
            if log and log[-1].startswith(ATTEMPT):  # started without a terminal, and has not said anything yet
                return RunStatus.STARTING if self._log_age() < _PATIENCE_S else RunStatus.LOST
        if kind in _ENDS:
            return _ENDS[kind]
        return RunStatus.LOST if kind is not None or self._facts[0] >= 0 else RunStatus.STARTING

    def _grows(self) -> bool:
        """Whether events came lately though nobody says to be there: a run of older software."""
        return time.monotonic() - self._grew < 15.0

    def _log_is_newer(self) -> bool:
        """Whether the log's end tells of an attempt after the last event, or of the same end."""
        try:
            events = self._run.events_file.stat().st_mtime
        except OSError:
            return True
        try:
            return self._run.log_file.stat().st_mtime >= events
        except OSError:
            return False

    def _log_age(self) -> float:
        return time.time() - self._log[0][0] / 1e9

    def _read_facts(self) -> bool:
        path = self._run.facts_file
        try:
            changed = path.stat().st_mtime
            if changed != self._facts[0]:
                tree = json.loads(path.read_text(encoding="utf-8"))
                self._facts = (changed, str(tree["group"]), int(tree["steps"]))
        except (FileNotFoundError, NotADirectoryError):
            self._facts = (-1.0, "", 0)
            return False
        except OSError as error:
            self._trouble = self._trouble or f"{path} cannot be read ({error.strerror or error})."
        except (ValueError, KeyError, TypeError, RecursionError):
            self._trouble = self._trouble or f"{path} is damaged."
        return True

    def _read_log(self) -> list[str]:
        """The last lines of the last attempt; what a progress bar wrote over is left out."""
        try:
            status = self._run.log_file.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            if stamp != self._log[0]:
                with self._run.log_file.open("rb") as file:
                    file.seek(max(0, status.st_size - _LOG_BYTES))
                    text = file.read(_LOG_BYTES).decode("utf-8", errors="replace")
                self._log = (stamp, _last_attempt(text))
        except OSError:
            self._log = ((-1, -1), [])
        return self._log[1]

    def _message(self, status: RunStatus, holder: Holder | None, steps: int, log: list[str]) -> str:
        step, checkpoint = self._events.step, self._events.checkpoint
        of = f"step {step} of {steps}" if steps else f"step {step}"
        go_on = (
            f"Resume goes on from step {checkpoint}." if checkpoint else "Resume begins again: there is no checkpoint."
        )
        if status is RunStatus.ABSENT:
            return self._absent()
        if self._trouble:
            return f"{self._trouble} What is shown may be old; see whether the disk is there and may be read."
        who = f", {holder.words()}" if holder is not None else ""
        if status is RunStatus.STARTING:
            return f"Starting{who}: opening plates, measuring intensities."
        if status is RunStatus.RUNNING:
            return f"Training{who}."
        if status in (RunStatus.PAUSING, RunStatus.STOPPING):
            then = "pauses" if status is RunStatus.PAUSING else "stops"
            return f"Writes a checkpoint after the step at hand, then {then}."
        if status is RunStatus.FINISHED:
            return f"Finished after {steps or step} steps. The model is {self._run.model_file}."
        if status in (RunStatus.PAUSED, RunStatus.STOPPED):
            return f"{'Paused' if status is RunStatus.PAUSED else 'Stopped'} after {of}. {go_on}"
        if status is RunStatus.LOST:
            what = holder.words() if holder is not None else "The process"
            return (
                f"{what[0].upper()}{what[1:]} ended without a word after {of}: killed, crashed, or its machine went "
                f"down. Often memory ran out: then use a smaller train.batch. {go_on}"
            )
        return _failure(self._events.last, _spoken_end(log), go_on)

    def _absent(self) -> str:
        path = self._run.path
        if self._was_there:
            return f"The run folder {path} has gone: deleted, moved, or its disk is away. Open it where it is now."
        if path.is_dir() and not os.access(path, os.R_OK | os.X_OK):
            return f"The folder {path} may not be read. Ask for permission, or open another run."
        return f"There is no run in {path}. Choose the folder that --out named."


def _failure(last: dict[str, Any] | None, spoken: str | None, go_on: str) -> str:
    reason = str(last.get("reason", "")) if last is not None and last["event"] == "failed" else ""
    text = spoken or reason or "It ended with an error; the log has more."
    way_on = " " + go_on if re.search(r"Make room|Cannot write|Unexpected|can be read", text) else ""
    return f"{text}{way_on}"


def _spoken_end(log: list[str]) -> str | None:
    """What the command line said last, or an error that it did not expect; None when it did not end like that."""
    for line in reversed(log[-5:]):
        if line.startswith("sslprofiler: "):
            return line.removeprefix("sslprofiler: ")
    crashed = any(line.startswith("Traceback (most recent call last)") for line in log)
    if crashed and re.match(r"[A-Za-z_.]*(Error|Exception)\b", log[-1]):
        return f"Unexpected {log[-1]}. The log has the details; please report it."
    return None


def _last_attempt(text: str) -> list[str]:
    lines = [_ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in text.split("\n")]
    starts = [number for number, line in enumerate(lines) if line.startswith(ATTEMPT)]
    return [line for line in lines[starts[-1] if starts else 0 :] if line][-_LOG_LINES:]


def _knn_curve(events: list[dict[str, Any]]) -> KnnCurve:
    if not events:
        return KnnCurve()

    def number(event: dict[str, Any], name: str) -> float:
        value = event.get(name)
        return float(value) if isinstance(value, int | float) else float("nan")

    def column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([number(event, name) for event in events])

    last = events[-1]
    sites = {name: number(last, f"{name}_n") for name in ("well", "compound")}
    return KnnCurve(
        steps_N=column("step"),
        well_N=column("well"),
        compound_N=column("compound"),
        well_chance=number(last, "well_chance"),
        compound_chance=number(last, "compound_chance"),
        well_sites=0 if np.isnan(sites["well"]) else int(sites["well"]),
        compound_sites=0 if np.isnan(sites["compound"]) else int(sites["compound"]),
        seconds=number(last, "seconds"),
        share=number(last, "share"),
    )
