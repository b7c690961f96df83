"""Thumbnails' raw planes on the disk, in the user's cache folder: one SQLite file, bounded, whole or not at all.

A cache may be deleted at any time, and nothing depends on it: whatever goes wrong with it, pictures are read again.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # of what is stored: another version's entries are never found
LIMIT_BYTES = 1 << 30  # a 384-well plate of nine sites and five channels takes about 300 MB

_log = logging.getLogger(__name__)


def default_folder() -> Path:
    """The user's cache folder: the place that this system keeps for what may be deleted."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("sslprofiler", appauthor=False))


def plane_key(path: Path, tile: tuple[int, int, int] | None, channel: str) -> str:
    """Name a plane: its file, when it was written and how long it is, its piece, its channel, and our version.

    A folder (of a store) has its own time of writing; a file that is gone has none, and is found by its name alone.
    """
    try:
        status = path.stat()
        written, size = status.st_mtime_ns, status.st_size
    except OSError:
        written = size = 0
    return f"{VERSION}|{path.absolute()}|{written}|{size}|{tile}|{channel}"


def pack(plane_HW: NDArray[np.uint16]) -> bytes:
    """Compress a plane without loss: high bytes apart from low ones, zlib."""
    height, width = plane_HW.shape
    split = np.ascontiguousarray(plane_HW, "<u2").view(np.uint8).reshape(-1, 2).T
    head = np.array([height, width], "<u4").tobytes()
    return head + zlib.compress(np.ascontiguousarray(split).tobytes(), 1)


def unpack(data: bytes) -> NDArray[np.uint16]:
    """Invert `pack`; ValueError for bytes that it never made."""
    height, width = (int(n) for n in np.frombuffer(data[:8], "<u4"))
    try:
        raw = np.frombuffer(zlib.decompress(data[8:]), np.uint8)
    except zlib.error as error:
        raise ValueError("broken entry") from error
    whole: NDArray[np.uint16] = np.ascontiguousarray(raw.reshape(2, -1).T).view("<u2").reshape(height, width)
    return whole.astype(np.uint16, copy=False)


class DiskCache:
    """Planes by key, the longest unused dropped first. Safe in threads, and for several napari at once."""

    def __init__(self, folder: Path | None = None, limit: int = LIMIT_BYTES) -> None:
        """Open when first used; ``limit`` bounds the bytes of all planes together."""
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._broken = False
        self._used: set[str] = set()
        self._written = 0

    @property
    def path(self) -> Path:
        """The file."""
        return (self._folder or default_folder()) / "thumbnails.sqlite"

    def get(self, keys: Sequence[str]) -> dict[str, NDArray[np.uint16]]:
        """Those of some planes that are there."""
        found: dict[str, NDArray[np.uint16]] = {}
        with self._lock:
            connection = self._open()
            if connection is None:
                return {}
            try:
                marks = ",".join("?" * len(keys))
                rows = connection.execute(
                    f"select key, plane from planes where key in ({marks})", list(keys)
                ).fetchall()
            except sqlite3.Error as error:
                self._give_up(error)
                return {}
            self._used.update(key for key, _ in rows)
        for key, data in rows:
            with suppress(ValueError):
                found[key] = unpack(data)
        return found

    def put(self, planes: dict[str, NDArray[np.uint16]]) -> None:
        """Keep planes, all of them or none."""
        now = time.time()
        rows = [(key, data, len(data), now) for key, plane in planes.items() for data in [pack(plane)]]
        with self._lock:
            connection = self._open()
            if connection is None:
                return
            try:
                with connection:
                    connection.executemany("insert or replace into planes values (?, ?, ?, ?)", rows)
                self._written += sum(row[2] for row in rows)
                # Looking costs a sum over the table: only after each 32nd of the limit.
                if self._written > self._limit // 32:
                    self._shrink(connection)
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Note what was used, and let go of the file."""
        with self._lock:
            if self._connection is not None:
                with suppress(sqlite3.Error):
                    self._shrink(self._connection)
                self._connection.close()
                self._connection = None

    def _shrink(self, connection: sqlite3.Connection) -> None:
        now = time.time()
        with connection:
            connection.executemany("update planes set used = ? where key = ?", [(now, key) for key in self._used])
            (total,) = connection.execute("select coalesce(sum(size), 0) from planes").fetchone()
            if total > self._limit:
                # To nine tenths, so that it is not done for each new plane.
                drop, excess = [], total - int(0.9 * self._limit)
                for key, size in connection.execute("select key, size from planes order by used, rowid"):
                    if excess <= 0:
                        break
                    drop.append((key,))
                    excess -= size
                connection.executemany("delete from planes where key = ?", drop)
        connection.execute("pragma incremental_vacuum")
        self._used.clear()
        self._written = 0

    def _open(self) -> sqlite3.Connection | None:
        if self._connection is None and not self._broken:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = self._connect()
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._prepare()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, read-only or full: another may be using it
            self._delete()
            return self._prepare()

    def _delete(self) -> None:
        """A broken database is only a cache."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def _prepare(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=5.0, check_same_thread=False)
        try:
            connection.execute("pragma auto_vacuum = incremental")
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = off")  # at a power cut: a broken cache, which is made again
            connection.execute(
                "create table if not exists planes (key text primary key, plane blob, size integer, used real)"
            )
            connection.execute("create index if not exists by_use on planes (used)")
            connection.commit()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _give_up(self, error: Exception) -> None:
        """Go on without."""
        _log.warning("thumbnails are not kept on the disk: %s: %s", self.path, error)
        self._broken = True
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                self._delete()  # the next start makes another
