"""Plates in an object store: ``s3://bucket/folder`` opens and reads as a folder does.

A folder is listed when it is opened, and a file is fetched when it is first read, into a folder of bounded size on this
machine (see ``remote_cache``); whatever is later done with it is done with that file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from io import FileIO
from pathlib import Path
from threading import Lock

from .layouts import IMAGE_SUFFIXES, Listing
from .remote_cache import ROOM, address_of, is_mirrored, note_use
from .remote_store import RemoteObject, Store

# Objects fetched at once: a plane takes 0.1 s of waiting for each 0.02 s of work.
_TOGETHER = 16
# A file may be deleted to make room between being fetched and being opened.
_TRIES = 3

_STORES: dict[str | None, Store] = {}
_KNOWN: dict[str, dict[str, RemoteObject]] = {}  # folder -> name -> what its listing said
_RUNNING: dict[str, Future[None]] = {}
_LOCK = Lock()


def store_at(endpoint: str | None) -> Store:
    """The store at an address (None: AWS), one for all of this process."""
    with _LOCK:
        return _STORES.setdefault(endpoint, Store(endpoint))


def list_remote(folder: Path) -> Listing:
    """List a mirrored folder, hidden entries left out; remembers what the store says of its objects.

    Raises
    ------
    UserError
        When it is not there, or the store can't be reached.
    """
    endpoint, address = address_of(folder)
    found = store_at(endpoint).list_folder(address)
    _KNOWN[os.fspath(folder)] = found.objects
    files = sorted(name for name in found.objects if not name.startswith("."))
    folders = [name for name in found.folders if not name.startswith(".")]
    zarr = not {"zarr.json", ".zgroup", ".zarray"}.isdisjoint(found.objects)
    return Listing(folder, files, folders, zarr)


def known_object(path: Path) -> RemoteObject | None:
    """What the listing of a mirrored file's folder said of it, where that was listed by this process."""
    return _KNOWN.get(os.path.dirname(path), {}).get(path.name)  # noqa: PTH120  # called for each of 27,648 files


def is_waiting(path: Path) -> bool:
    """Whether a file is a store's, and not on this machine yet."""
    return is_mirrored(path) and _there(path) is None


def status_of(path: Path) -> tuple[int, int]:
    """Size in bytes and time of change in ns of a file; of one in a store, without fetching it. Raises OSError."""
    if is_mirrored(path) and (known := known_object(path)):
        return known.size, known.modified_ns
    status = local(path).stat()
    return status.st_size, status.st_mtime_ns


def local(path: Path) -> Path:
    """Have a file on this machine: fetched when it is a store's and not here yet; any other is left alone.

    Raises
    ------
    UserError
        When it can't be fetched.
    """
    if not is_mirrored(path):
        return path
    status = _there(path)
    if status is None:
        _fetch_once(path)
    else:
        note_use(path, status)
    return path


def open_file(path: Path) -> FileIO:
    """Open a file to read, without a buffer; one of a store is fetched first. Raises OSError and UserError."""
    if not is_mirrored(path):
        return path.open("rb", buffering=0)
    for _ in range(_TRIES - 1):
        here = local(path)
        with suppress(FileNotFoundError):
            return here.open("rb", buffering=0)
    return local(path).open("rb", buffering=0)


def fetch_all(paths: Iterable[Path]) -> None:
    """Fetch what is not on this machine yet of some files, several at once. Raises UserError for the first failure."""
    files = (path for path in dict.fromkeys(paths) if path.name.lower().endswith(IMAGE_SUFFIXES))  # and no Zarr arrays
    waiting = [path for path in files if is_waiting(path)]
    if len(waiting) > 1:
        list(_pool().map(_fetch_once, waiting))


def forget_stores() -> None:
    """Close all connections and forget all listings."""
    with _LOCK:
        stores = list(_STORES.values())
        _STORES.clear()
    for store in stores:
        store.close()
    _KNOWN.clear()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_TOGETHER, thread_name_prefix="fetch")


def _there(path: Path) -> os.stat_result | None:
    """A file's status, None when it is not there or the store's listing says another size or time."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    known = known_object(path)
    if known and (status.st_size, status.st_mtime_ns) != (known.size, known.modified_ns):
        return None
    return status


def _fetch_once(path: Path) -> None:
    """Fetch a file; threads that want the same one wait for it."""
    key = os.fspath(path)
    with _LOCK:
        running = _RUNNING.get(key)
        if running is None:
            mine = _RUNNING[key] = Future()
    if running is not None:
        running.result()
        return
    try:
        if _there(path) is None:
            endpoint, address = address_of(path)
            found = store_at(endpoint).fetch(address, path, known_object(path))
            ROOM.take(path, found.size)
    except BaseException as error:
        mine.set_exception(error)
        raise
    else:
        mine.set_result(None)
    finally:
        with _LOCK:
            del _RUNNING[key]
