"""A ``sslprofiler`` command as a child process: its progress, its words, its end; stopped when the person cancels.

What needs torch runs outside the viewer: an out-of-memory or a crash there takes nothing down here, and its memory is
given back when it ends.
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import shlex
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import IO

from napari_sslprofiler.background import Cancelled, Report
from sslprofiler_core.errors import UserError

_BEAT = 0.1  # seconds between looks at whether to stop
_PATIENCE = 10.0  # seconds that a child has to stop by itself


def command_line(arguments: Sequence[str]) -> str:
    """The command that a person would type for the same work."""
    return shlex.join(["sslprofiler", *arguments])


def run_child(
    arguments: Sequence[str],
    report: Report,
    said: Callable[[str], None] | None = None,
    *,
    module: str = "sslprofiler_core.cli",
) -> str:
    """Run ``sslprofiler ARGUMENTS`` to its end, in a worker thread of `background.Task`.

    Parameters
    ----------
    report
        Gets done and total; raises `Cancelled` when the child is to stop.
    said
        Gets each other line that the child prints, in this thread.
    module
        What ``python -m`` runs.

    Returns
    -------
    What the child printed to stdout.

    Raises
    ------
    UserError
        With the child's own error, or how it ended.
    """
    environment = {**os.environ, "SSLPROFILER_PROGRESS": "json", "PYTHONUNBUFFERED": "1"}
    # One core is left to the window.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) - 1)))
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
    )
    atexit.register(child.terminate)  # the thread that this runs in does not outlive the window
    lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    readers = [
        threading.Thread(target=_pump, args=(name, stream, lines), daemon=True)
        for name, stream in (("out", child.stdout), ("err", child.stderr))
        if stream is not None
    ]
    for reader in readers:
        reader.start()
    printed: list[str] = []
    errors: deque[str] = deque(maxlen=20)
    done, total = 0, 0
    try:
        while child.poll() is None or any(reader.is_alive() for reader in readers) or not lines.empty():
            try:
                source, line = lines.get(timeout=_BEAT)
            except queue.Empty:
                report(done, total)
                continue
            if source == "out":
                printed.append(line)
            elif (news := _progress(line)) is not None:
                done, total = news
                report(done, total)
                continue
            elif line.strip():
                errors.append(line)
            if said is not None and line.strip():
                said(line)
    except Cancelled:
        _stop(child)
        raise
    finally:
        if child.poll() is None:
            _stop(child)
        atexit.unregister(child.terminate)
        for reader in readers:
            reader.join(1.0)
    if child.returncode:
        raise UserError(_how_it_ended(child.returncode, errors))
    return "\n".join(printed)


def _pump(name: str, stream: IO[str], lines: queue.SimpleQueue[tuple[str, str]]) -> None:
    with stream:
        for line in stream:
            lines.put((name, line.rstrip("\n")))


def _progress(line: str) -> tuple[int, int] | None:
    if not line.startswith('{"progress"'):
        return None
    try:
        news = json.loads(line)
        return int(news["done"]), int(news["total"] or 0)
    except (ValueError, KeyError, TypeError):
        return None


def _stop(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _how_it_ended(status: int, errors: Sequence[str]) -> str:
    spoken = [line.removeprefix("sslprofiler: ") for line in errors if line.startswith("sslprofiler: ")]
    if status == 2 and spoken:
        return spoken[-1]
    if status in (-9, 137):
        return (
            "The work was killed from outside, most often because memory ran out. Close other programs or lower the "
            "batch, and start it again: what was finished is kept."
        )
    if status < 0:
        return f"The work was ended by signal {-status}. Start it again: what was finished is kept."
    last = next((line for line in reversed(errors) if line.strip()), "it said nothing")
    return f"The work ended with an error: {last.strip()}"
