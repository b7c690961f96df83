"""Start a training that goes on whatever becomes of the program that started it; its folder tells how it is."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sslprofiler_core.errors import UserError

from .run_folder import RunFolder
from .watch import ATTEMPT

_NICENESS = 10


def start_training(arguments: Sequence[str], run: Path | str, threads: int | None = None) -> subprocess.Popen[bytes]:
    """Start ``sslprofiler train ARGUMENTS`` as a process of its own.

    It is in no terminal's or window's hands: it survives its parent, and is stopped by the run's ``control`` file. It
    runs at low priority on one core less than there are, so that a window beside it stays alive. What it prints goes to
    the run folder's ``log.txt``, after a line that says when it was started and how.

    Parameters
    ----------
    arguments
        What would follow ``sslprofiler train``, ``--out`` included.
    run
        The run folder; made where it is not there.
    threads
        CPU threads; None takes one core less than there are, unless the arguments set ``train.threads``.

    Returns
    -------
    The process: its ``pid``, and ``poll()`` for its exit status while the parent lives.

    Raises
    ------
    UserError
        When the folder or the process cannot be made.
    """
    folder = RunFolder(run)
    if threads is None and not any(argument.startswith("train.threads=") for argument in arguments):
        threads = max(1, cores() - 1)
    settings = [] if threads is None else ["--set", f"train.threads={threads}"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.pop("SSLPROFILER_PROGRESS", None)  # a bar is for people, and so is the log
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, "-m", "sslprofiler_core.cli", "train", *arguments, *settings]
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        with folder.log_file.open("ab") as log:
            when = time.strftime("%Y-%m-%d %H:%M:%S")
            log.write(f"{ATTEMPT}{when} {shlex.join(['sslprofiler', 'train', *arguments])}\n".encode())
            log.flush()
            if sys.platform == "win32":
                flags = (
                    subprocess.DETACHED_PROCESS
                    | subprocess.CREATE_NEW_PROCESS_GROUP
                    | subprocess.BELOW_NORMAL_PRIORITY_CLASS
                )
                return subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, creationflags=flags
                )
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
            # Threads that the child starts later have the priority of the one that starts them.
            os.setpriority(os.PRIO_PROCESS, child.pid, _NICENESS)
            return child
    except OSError as error:
        raise UserError(
            f"Cannot start a training in {folder.path} ({error.strerror or error}). Choose another run folder."
        ) from error


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
