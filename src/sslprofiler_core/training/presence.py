"""Who trains in a run folder: one training at a time, seen by others, gone when its process is.

``presence.json`` is there while a training is. Its process holds a lock on it, which the system lets go of however the
process ends, so nothing is ever left to delete by hand; where a disk shared between machines has no locks, a beat that
is rewritten every two seconds tells the same, later.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sslprofiler_core.errors import UserError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PRESENCE_FILE = "presence.json"
BEAT_S = 2.0
SILENCE_S = 15.0  # without a beat for so long, a training on another machine is taken for dead
# Clocks of machines that share a disk agree better than this.
_OLD_S = 120.0
_SIZE = 512  # bytes, always: one write replaces all, and readers see the old or the new
_LOCKED_AT = 1 << 30  # Windows locks bytes against reading too: one that nobody reads


@dataclass(frozen=True)
class Holder:
    """Who is in a run folder: process, machine, since when (seconds since 1970), and how often it has said so."""

    pid: int
    host: str
    since: float
    beat: int = 0

    def words(self) -> str:
        """As messages name it."""
        return f"process {self.pid} on {self.host}"


class Presence:
    """A training's presence in a run folder, from entering to leaving the context.

    Parameters
    ----------
    folder
        The run folder; made where it is not there, and taken away again if nothing was put into it.

    Raises
    ------
    UserError
        On entering: another training is there (its process and machine are named), or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / PRESENCE_FILE
        self._holder = Holder(os.getpid(), socket.gethostname(), time.time())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="presence", daemon=True)
        self._made = False
        self._fd = -1

    def __enter__(self) -> Self:
        folder = self._path.parent
        try:
            self._made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
            self._fd = self._take()
            self._write(0)
        except OSError as error:
            raise UserError(
                f"Cannot write the run folder {folder} ({error.strerror or error}). Choose another --out."
            ) from error
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        # While the lock is held, so that no other training's presence is taken away. (Windows deletes no open file.)
        with suppress(OSError):
            self._path.unlink()
        os.close(self._fd)
        with suppress(OSError):
            self._path.unlink(missing_ok=sys.platform == "win32")
        if self._made:
            with suppress(OSError):
                self._path.parent.rmdir()

    def _take(self) -> int:
        """Open and lock the file, sure that nobody else is there."""
        for attempt in range(20):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                locked = _lock(fd)
                if locked is False:  # perhaps someone only looks whether it is locked, for microseconds
                    if attempt >= 10:
                        raise self._refusal(read_holder(self._path))
                elif _is_still(fd, self._path):
                    self._wait_for_silence(locked)
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
            time.sleep(0.05)
        raise self._refusal(read_holder(self._path))

    def _wait_for_silence(self, locked: bool | None) -> None:
        """See whether a training on another machine, whose lock may not reach here, still beats."""
        before = read_holder(self._path)
        if before is None or (locked and before.host == self._holder.host):
            return
        if _age(self._path) > _OLD_S:
            return
        print(f"Waiting {SILENCE_S:.0f} s to see whether {before.words()} still trains here.", file=sys.stderr)
        until = time.monotonic() + SILENCE_S
        while time.monotonic() < until:
            time.sleep(min(0.5, SILENCE_S / 10))
            now = read_holder(self._path)
            if now is not None and now != before:
                raise self._refusal(now)

    def _refusal(self, holder: Holder | None) -> UserError:
        who = "Another training"
        if holder is not None:
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(holder.since))
            who = f"A training ({holder.words()}, since {since})"
        return UserError(f"{who} is at work in {self._path.parent}. Stop it first, or choose another --out.")

    def _beat(self) -> None:
        number = 0
        while not self._over.wait(BEAT_S):
            number += 1
            # A full disk or a network that is away: the training itself will say so.
            with suppress(OSError):
                self._write(number)

    def _write(self, beat: int) -> None:
        content = json.dumps({**asdict(self._holder), "beat": beat}).encode().ljust(_SIZE - 1) + b"\n"
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.write(self._fd, content)


class PresenceWatcher:
    """Tells whether a training is at work in a run folder, from this or another machine; reads only."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PRESENCE_FILE
        self._seen: Holder | None = None
        self._changed = 0.0

    def look(self) -> tuple[Holder | None, bool]:
        """Return who was last there without having left, and whether they are still alive.

        ``(None, False)`` when nobody is there. A process on this machine that was killed is known to be gone at once;
        one on another machine after ``SILENCE_S`` at most, unless the shared disk has locks.
        """
        holder = read_holder(self._path)
        if holder is None:
            self._seen = None
            return None, False
        now = time.monotonic()
        if self._seen is None:
            # The first look cannot know whether it beats: an old file is a dead one.
            self._changed = now if _age(self._path) < _OLD_S else -math.inf
        elif holder != self._seen:
            self._changed = now
        self._seen = holder
        held = _is_locked(self._path)
        if held or (held is False and holder.host == socket.gethostname()):
            return holder, held
        return holder, now - self._changed < SILENCE_S


def read_holder(path: Path) -> Holder | None:
    """Read a presence file; None when there is none, or nothing that makes sense."""
    try:
        tree = json.loads(path.read_bytes()[:_SIZE])
        return Holder(int(tree["pid"]), str(tree["host"]), float(tree["since"]), int(tree["beat"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")


def _is_still(fd: int, path: Path) -> bool:
    """Whether an open file is the one that stands there now, and not one that its training took away."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def _is_locked(path: Path) -> bool | None:
    """Whether a process holds the file; None when this disk cannot tell."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        locked = _lock(fd, shared=True)
        return None if locked is None else not locked
    finally:
        os.close(fd)  # and the lock with it


def _lock(fd: int, shared: bool = False) -> bool | None:
    """Lock an open file if it is free: whether it was, or None when this disk has no locks."""
    try:
        if sys.platform == "win32":
            os.lseek(fd, _LOCKED_AT, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True
