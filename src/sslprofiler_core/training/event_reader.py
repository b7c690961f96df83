"""``events.jsonl`` as it grows: only new bytes are read, and of a long run only so many points are kept."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 5000
_BLOCK = 1 << 23  # bytes at a time
_BEFORE = 64  # bytes before the place read up to, by which a file that was rewritten is known
_STEP = b'{"event": "step"'
_RECENT = 40
_NOT_CURVES = ("step", "time")


class EventReader:
    """The events of a run, read as they come.

    Attributes
    ----------
    last
        The last event that tells of the run's life (``started``, ``resumed``, ``paused``, ``stopped``, ``failed``,
        ``finished``), or None.
    device
        That the last attempt computed on.
    active
        Whether anything came after it: a step, a check.
    step, checkpoint
        Steps done, and how many of them the last checkpoint holds.
    warnings
        Texts of the last hundred warnings and sites left out.
    knn
        All ``knn`` events.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._forget()

    def _forget(self) -> None:
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._before = b""
        self._half = b""
        self._every = 1
        self._count = 0
        self._rows: list[tuple[int, dict[str, float]]] = []
        self._latest: tuple[int, dict[str, float]] | None = None
        self._table: tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]] | None = None
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)
        self.last: dict[str, Any] | None = None
        self.active = False
        self.step = 0
        self.checkpoint = 0
        self.device = ""
        self.warnings: deque[str] = deque(maxlen=100)
        self.knn: list[dict[str, Any]] = []

    def poll(self) -> bool:
        """Read what is new; whether there was anything.

        Raises
        ------
        OSError
            When the file cannot be read; what was read before stays. A file that is not there (any more) is empty.
        """
        try:
            file = self._path.open("rb")
        except (FileNotFoundError, NotADirectoryError):
            known = self._identity is not None
            self._forget()
            return known
        with file:
            status = self._path.stat()
            identity = (status.st_dev, status.st_ino)
            file.seek(max(0, self._offset - _BEFORE))
            same = identity == self._identity and file.read(self._offset - file.tell()) == self._before
            if status.st_size < self._offset or not same:  # cut back on resume, or someone else's
                self._forget()
                self._identity = identity
            if status.st_size == self._offset:
                return not same
            file.seek(self._offset)
            while block := file.read(_BLOCK):
                self._offset += len(block)
                self._before = (self._before + block)[-_BEFORE:]
                lines = (self._half + block).split(b"\n")
                # A line without an end is being written; one that never ends is none of ours.
                self._half = lines.pop() if len(lines[-1]) < _BLOCK else b""
                self._take(lines)
        return True

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            if line.startswith(_STEP):
                self._count += 1
                if self._count % self._every == 0:
                    self._take_step(line, keep=True)
            elif line.strip():
                self._take_other(line)
        steps = [line for line in lines[-4 * _RECENT :] if line.startswith(_STEP)][-_RECENT:]
        for line in steps:
            self._take_step(line, keep=False)

    def _take_step(self, line: bytes, keep: bool) -> None:
        event = _parse(line)
        if event is None:
            return
        step = event["step"]
        values = {
            name: float(value)
            for name, value in event.items()
            if name not in _NOT_CURVES and isinstance(value, int | float) and not isinstance(value, bool)
        }
        self.step, self.active, self._table = step, True, None
        self._latest = (step, values)
        if not keep:
            if isinstance(event.get("time"), int | float) and (not self._recent or step > self._recent[-1][0]):
                self._recent.append((step, float(event["time"])))
            return
        self._rows.append((step, values))
        if len(self._rows) > MOST_POINTS:
            self._every *= 2
            self._count //= 2
            del self._rows[::2]

    def _take_other(self, line: bytes) -> None:
        event = _parse(line)
        if event is None:
            return
        kind = event["event"]
        if kind in ("started", "resumed", "paused", "stopped", "failed", "finished"):
            self.last, self.active = event, False
            self.step = event["step"]
            self.device = str(event.get("device", self.device))
            self._recent.clear()
        elif kind == "checkpoint":
            self.checkpoint = event["step"]
        elif kind in ("warning", "bad_site"):
            self.warnings.append(str(event.get("text", "")))
        elif kind == "knn":
            self.knn.append(event)
            self.active = True

    def curves(self) -> tuple[NDArray[np.float64], Mapping[str, NDArray[np.float64]]]:
        """Steps, and the value of each name at them."""
        if self._table is None:
            rows = list(self._rows)
            if self._latest is not None and (not rows or rows[-1][0] != self._latest[0]):
                rows.append(self._latest)
            names = list(dict.fromkeys(name for _, values in (*rows[:50], *rows[-50:]) for name in values))
            nan = float("nan")
            steps = np.array([step for step, _ in rows], np.float64)
            curves = {name: np.array([values.get(name, nan) for _, values in rows]) for name in names}
            for array in (steps, *curves.values()):
                array.flags.writeable = False
            self._table = steps, MappingProxyType(curves)
        return self._table

    def seconds_a_step(self) -> float | None:
        """Of the last steps, checks and checkpoints among them included."""
        if len(self._recent) < 2:
            return None
        (first, began), (last, ended) = self._recent[0], self._recent[-1]
        return (ended - began) / (last - first) if last > first and ended > began else None

    def latest(self, name: str) -> float | None:
        """A value of the last step; None when it has none."""
        return self._latest[1].get(name) if self._latest is not None else None


def _parse(line: bytes) -> dict[str, Any] | None:
    """An event, or None for a line that is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    step = event.get("step")
    return event if isinstance(step, int) and not isinstance(step, bool) and step >= 0 else None
