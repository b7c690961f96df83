"""Files of object stores on this machine: where they lie, and how much room they take.

An object ``s3://bucket/a/b.tiff`` lies at ``CACHE/s3/bucket/a/b.tiff``, with the object's time of change. So that path
alone says which object it is, in every process; what reads files needs no other name for it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from urllib.parse import quote, unquote

from sslprofiler_core.errors import UserError

SCHEME = "s3"
FOLDER_VARIABLE, ROOM_VARIABLE = "SSLPROFILER_CACHE", "SSLPROFILER_CACHE_GB"
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
PARTIAL = ".partial"

_DEFAULT_GB = 100.0
_FILLED_TO = 0.9
# A file whose last use was noted within this time is not noted again.
_NOTED_S = 60.0
# A download that has not grown for so long has been given up.
_ABANDONED_S = 3600.0


def cache_root() -> Path:
    """The folder of the files: ``$SSLPROFILER_CACHE``, or one in the user's cache folder."""
    return _root(os.environ.get(FOLDER_VARIABLE, ""))


@lru_cache(maxsize=8)
def _root(given: str) -> Path:
    if given:
        return Path(given).expanduser().absolute().resolve()
    import platformdirs

    return Path(platformdirs.user_cache_dir("sslprofiler", appauthor=False)).resolve() / "objects"


def cache_room() -> int:
    """How many bytes the files may take: ``$SSLPROFILER_CACHE_GB``, 100 GB where that says nothing.

    Raises
    ------
    UserError
        For a value that is no positive number.
    """
    text = os.environ.get(ROOM_VARIABLE, "")
    with suppress(ValueError):
        if (size := float(text or _DEFAULT_GB)) > 0.0:
            return int(size * 1e9)
    raise UserError(f"{ROOM_VARIABLE} is {text!r}, which is no size. Give gigabytes, such as 200.")


def is_url(path: Path | str) -> bool:
    """Whether a path is an object store's (``s3://bucket/folder``, also when it went through ``Path``)."""
    return Path(path).parts[:1] == (f"{SCHEME}:",)


def is_mirrored(path: Path) -> bool:
    """Whether a path is that of an object's file on this machine (there or not)."""
    root = os.fspath(cache_root())
    text = os.fspath(path)
    return text.startswith(root) and text[len(root) : len(root) + 1] in ("/", "\\")


def mirrored(path: Path | str, endpoint: str | None = None) -> Path:
    """Where the file or folder of an ``s3://`` path lies on this machine; any other path as it is.

    Parameters
    ----------
    endpoint
        The store's address; None takes ``$AWS_ENDPOINT_URL_S3`` or ``$AWS_ENDPOINT_URL``, and AWS where these are not
        set.

    Raises
    ------
    UserError
        For a path without a bucket, or with parts that no file can have.
    """
    if not is_url(path):
        return Path(path)
    parts = Path(path).parts[1:]
    if not parts or any(part in (".", "..") for part in parts):
        raise UserError(f"{path} names no bucket and folder. Give a path such as s3://bucket/folder/plate.")
    if endpoint is None:
        endpoint = next((address for name in ENDPOINT_VARIABLES if (address := os.environ.get(name))), None)
    store = SCHEME if endpoint is None else f"{SCHEME}@{quote(endpoint.rstrip('/'), safe='')}"
    return cache_root().joinpath(store, *parts)


def address_of(path: Path) -> tuple[str | None, str]:
    """Which object a file on this machine is: the store's address (None: AWS) and ``bucket/key``."""
    store, *parts = path.relative_to(cache_root()).parts
    _, _, endpoint = store.partition("@")
    return unquote(endpoint) or None, "/".join(parts)


def location(path: Path | str) -> str:
    """Name a path for a run's or a table's notes: absolute, or the URL of what lies in an object store."""
    path = Path(path)
    if is_url(path):
        return url_of("/".join(path.parts[1:]))
    return url_of(address_of(path)[1]) if is_mirrored(path) else str(path.resolve())


def shown(path: Path) -> str:
    """Name a path in a message: the URL of what lies in an object store, any other as it is."""
    return location(path) if is_url(path) or is_mirrored(path) else str(path)


def url_of(address: str) -> str:
    """The URL of ``bucket/key``."""
    return f"{SCHEME}://{address}"


def usable_name(name: str) -> bool:
    """Whether an object's name can be a file's on this machine, and in the folder that it says."""
    return name not in ("", ".", "..") and not any(mark in name for mark in ("/", "\\", "\0"))


def note_use(path: Path, status: os.stat_result) -> None:
    """Note that a file was used: the least recently used go first. Its time of change stays the object's."""
    now = time.time()
    if now - status.st_atime > _NOTED_S:
        with suppress(OSError):
            os.utime(path, ns=(int(now * 1e9), status.st_mtime_ns))


def remove_abandoned(folder: Path) -> None:
    """Delete what downloads into a folder left that were killed."""
    for path in folder.glob(f"*{PARTIAL}"):
        with suppress(OSError):  # another process is at it
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()


class Room:
    """Keeps the files within their room; other processes' files count when they are next looked at."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[Path, int] = {}

    def take(self, path: Path, size: int) -> None:
        """Count a file that has come, and delete the least recently used ones where there is no room for it."""
        root, room = cache_root(), cache_room()
        with self._lock:
            if root not in self._held:
                self._held[root] = sum(size for _, size, _ in _files(root))
            else:
                self._held[root] += size
            if self._held[root] > room:
                self._held[root] = _clear(root, int(_FILLED_TO * room), path)


def _files(root: Path) -> list[tuple[float, int, str]]:
    """Last use, size and path of each file; what abandoned downloads left is deleted."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118  # a Path for each of 100,000 files takes a second
            try:
                status = os.stat(path)  # noqa: PTH116  # likewise
            except OSError:
                continue
            if name.endswith(PARTIAL):
                if time.time() - status.st_mtime > _ABANDONED_S:
                    with suppress(OSError):
                        Path(path).unlink()
                continue
            found.append((status.st_atime, status.st_size, path))
    return found


def _clear(root: Path, limit: int, keep: Path) -> int:
    files = sorted(_files(root))
    held = sum(size for _, size, _ in files)
    for _, size, path in files:
        if held <= limit:
            break
        if path != os.fspath(keep):
            with suppress(OSError):  # in use (Windows), or gone already
                Path(path).unlink()
                held -= size
    return held


ROOM = Room()
