"""The window's end of the renderer's process: ask, wait, get a preview. No Qt; for a worker thread.

Why a process: importing torch in a thread of the window stops its event loop for up to a quarter or half a second, a
process does not (``benchmarks/preview.py`` measures both); and what dies there takes nothing down here.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sslprofiler_core.errors import UserError

from .server import receive, send

if TYPE_CHECKING:
    from .model import Preview, Request

_log = logging.getLogger(__name__)


class Renderer:
    """One renderer's process, started when first asked (or by ``start``) and again after it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._said: deque[str] = deque(maxlen=20)
        self._starting = threading.Lock()
        self._asking = threading.Lock()
        self._closed = False
        self._ready = False

    @property
    def pid(self) -> int | None:
        """The process, None when there is none."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the process; returns before it has imported torch."""
        with self._starting:
            if self._closed or (self._process is not None and self._process.poll() is None):
                return
            self._ready = False
            self._said.clear()
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-m", "napari_sslprofiler.preview.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
            threading.Thread(target=self._listen, args=(self._process.stderr,), daemon=True).start()

    def ask(self, request: Request) -> Preview:
        """Render a request; waits for the answer.

        Raises
        ------
        UserError
            With the renderer's own sentence, or how its process ended; the next call starts another.
        """
        with self._asking:
            self.start()
            process = self._process
            if process is None or process.stdin is None or process.stdout is None:
                raise UserError("The preview is closed. Open it again.")
            try:
                if not self._ready:
                    receive(process.stdout)
                    self._ready = True
                send(process.stdin, request)
                what, answer = receive(process.stdout)
            except (EOFError, OSError, ValueError) as error:
                raise UserError(self._how_it_ended(process)) from error
        if what == "refused":
            raise UserError(answer)
        if what == "broken":
            _log.error("the preview's renderer failed:\n%s", answer)
            last = answer.strip().splitlines()[-1]
            raise UserError(f"The preview could not be made ({last}). The log has the details; please report it.")
        return answer

    def close(self) -> None:
        """End the process; a question under way ends with an error."""
        with self._starting:
            self._closed = True
            process, self._process = self._process, None
        if process is not None:
            _end(process)

    def _listen(self, stream: Any) -> None:
        with stream, suppress(ValueError):
            for line in stream:
                self._said.append(line.decode(errors="replace").rstrip())

    def _how_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        with suppress(subprocess.TimeoutExpired):
            process.wait(2.0)
        _end(process)
        if self._closed:
            return "The preview is closed. Open it again."
        status = process.returncode
        if status in (-9, 137):
            return (
                "The preview's process was killed, most often because memory ran out. Change any setting to start it "
                "again."
            )
        last = next((line for line in reversed(self._said) if line.strip()), f"status {status}")
        return f"The preview's process ended ({last}). Change any setting to start it again."


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            # What could not be written any more is written when closing, which fails again.
            with suppress(OSError, ValueError):
                stream.close()
