"""Work off the GUI thread: the newest request wins, and long work with progress and cancel.

Results and messages arrive on the GUI thread. An error that the user can put right is its sentence; any other is a
sentence too, with the traceback in the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from napari.utils import progress as napari_progress
from qtpy.QtCore import QObject, Qt, Signal

from napari_sslprofiler.lifetime import at_end
from sslprofiler_core.errors import UserError

Request = TypeVar("Request")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


def sentence(error: BaseException) -> str:
    """Say in a sentence what went wrong."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this. Close other programs, or take less at a time."
    if isinstance(error, RuntimeError) and "interpreter shutdown" in str(error):
        return "The program has ended."  # and this thread has not noticed yet
    _log.error("unexpected error", exc_info=error)
    return f"Unexpected {type(error).__name__}: {error}. The log has the details; please report it."


class _Post(QObject):
    """Brings a value from any thread to the GUI thread."""

    posted = Signal(object)

    def __init__(self, receive: Callable[[Any], None], parent: QObject | None) -> None:
        super().__init__(parent)
        self._receive = receive
        self.posted.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        # Qt deletes this with its parent, also while a thread is sending: the end waits for that, and is known after.
        lock, gone = self._sending, self._gone = threading.Lock(), threading.Event()

        def end() -> None:
            with lock:
                gone.set()

        at_end(self, end)

    def post(self, value: object) -> bool:
        """Send from any thread; whether there still is a receiver: it goes with its window."""
        with self._sending:
            if self._gone.is_set():
                return False
            try:
                self.posted.emit(value)
            except RuntimeError:
                return False
        return True

    def _deliver(self, value: object) -> None:
        self._receive(value)


class Latest(Generic[Request, Result]):
    """Answers the newest of many requests: one worker thread, started when needed; stale results are dropped."""

    def __init__(
        self,
        work: Callable[[Request], Result],
        done: Callable[[Result], None],
        failed: Callable[[str], None] | None = None,
        parent: QObject | None = None,
    ) -> None:
        """``work`` runs in a thread; ``done`` and ``failed`` on the GUI thread, until ``parent`` is deleted."""
        self._work, self._done, self._failed = work, done, failed
        self._lock = threading.Lock()
        self._waiting: list[Request] = []
        self._generation = 0
        self._running = False
        self._posted = 0  # answers between the threads
        self._post = _Post(self._arrived, parent)

    @property
    def busy(self) -> bool:
        """Whether an answer is under way, to the GUI thread included."""
        with self._lock:
            return self._running or self._posted > 0

    def ask(self, request: Request) -> None:
        """Ask; whatever was asked before and is not answered yet never will be."""
        with self._lock:
            self._generation += 1
            self._waiting = [request]
            if self._running:
                return
            self._running = True
        threading.Thread(target=self._run, name="sslprofiler-latest", daemon=True).start()

    def forget(self) -> None:
        """Drop what is asked and not answered."""
        with self._lock:
            self._generation += 1
            self._waiting = []

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return
                request, generation = self._waiting.pop(), self._generation
            try:
                outcome: tuple[bool, Any] = (True, self._work(request))
            except Exception as error:
                outcome = (False, sentence(error))
            with self._lock:
                self._posted += 1
            if not self._post.post((generation, *outcome)):
                with self._lock:
                    self._posted -= 1

    def _arrived(self, value: tuple[int, bool, Any]) -> None:
        generation, good, answer = value
        with self._lock:
            self._posted -= 1
        if generation != self._generation:
            return
        if good:
            self._done(answer)
        elif self._failed is not None:
            self._failed(answer)


class Cancelled(Exception):  # noqa: N818 - no error: the user asked for it
    """Raised inside long work by its next report of progress, when the user has cancelled it."""


Report = Callable[[int, int], None]


class Task(Generic[Result]):
    """Long work in a thread, with progress in napari's activity dock, and cancel."""

    def __init__(
        self,
        work: Callable[[Report], Result],
        done: Callable[[Result], None],
        failed: Callable[[str], None],
        *,
        label: str,
        parent: QObject | None = None,
        cancelled: Callable[[], None] | None = None,
        progressed: Callable[[int, int, float | None], None] | None = None,
    ) -> None:
        """Start; the callbacks run on the GUI thread. ``progressed`` gets done, total and the seconds left or None.

        The work is cancelled when ``parent`` is deleted.
        """
        self._work, self._done, self._failed = work, done, failed
        self._when_cancelled, self._progressed = cancelled, progressed
        self._stop = threading.Event()
        self._post = _Post(self._arrived, parent)
        self._bar: Any = napari_progress(total=0, desc=label)
        self._first: tuple[int, float] | None = None  # what was done when the work's progress was first heard of
        self._told = 0.0
        self._drawing = False
        self.running = True
        if parent is not None:
            parent.destroyed.connect(self._abandon)
        self._thread = threading.Thread(target=self._run, name="sslprofiler-task", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask the work to stop at its next report of progress; what it then gives is dropped."""
        self._stop.set()

    def _abandon(self) -> None:
        self._stop.set()
        if self.running:
            with suppress(RuntimeError):  # the bar has gone with the window
                self._bar.close()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the thread's end (not for the callbacks)."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            outcome: tuple[str, Any] = ("done", self._work(self._report))
        except Cancelled:
            outcome = ("cancelled", None)
        except Exception as error:
            outcome = ("failed", sentence(error))
        self._post.post(outcome)

    def _report(self, done: int, total: int) -> None:
        if self._stop.is_set():
            raise Cancelled
        now = time.monotonic()
        # Ten a second are enough for an eye; more only load the event loop.
        if now - self._told >= 0.1 or 0 < total == done:
            self._told = now
            self._post.post(("progress", (done, total)))

    def _arrived(self, value: tuple[str, Any]) -> None:
        what, answer = value
        if what == "progress":
            self._show(*answer)
            return
        self.running = False
        self._bar.close()
        if what == "cancelled" or self._stop.is_set():
            if self._when_cancelled is not None:
                self._when_cancelled()
        elif what == "done":
            self._done(answer)
        else:
            self._failed(answer)

    def _show(self, done: int, total: int) -> None:
        if not self.running:
            return
        if self._progressed is not None:
            now = time.monotonic()
            if self._first is None or self._first[0] > done or not total:
                self._first = (done, now)
            gained = done - self._first[0]
            self._progressed(done, total, (now - self._first[1]) / gained * (total - done) if gained else None)
        # The dock's bar draws itself by running the event loop, in which the end may arrive: so it comes last. More
        # progress may arrive there, too, faster than it is drawn: it waits for its turn.
        if self._drawing:
            return
        self._drawing = True
        try:
            if self._bar.total != total:
                self._bar.total = total
                self._bar.reset(total)
            self._bar.update(done - self._bar.n)
        finally:
            self._drawing = False
