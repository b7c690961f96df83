"""Talk to an object store through fsspec: list a folder, fetch an object; patiently, and never half.

A store that is busy, refuses for a while or cuts a connection is asked again, with growing pauses. What has come is a
file only when its size is the object's and, where the object was written in one part, its MD5 is the ETag.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock, get_ident
from typing import Any, TypeVar

from sslprofiler_core.errors import UserError

from .remote_cache import PARTIAL, SCHEME, url_of, usable_name

CHECK_VARIABLE = "SSLPROFILER_CHECK_MD5"

# Tries of a listing (7 s of pauses: somebody waits for it) and of an object (a minute: a training can wait).
LISTING_TRIES, OBJECT_TRIES = 5, 8
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
_CONNECT_S, _READ_S = 10.0, 30.0
_MD5 = re.compile(r"[0-9a-f]{32}")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """What a store says of an object: size in bytes, time of change in ns since 1970, ETag (empty when none)."""

    size: int
    modified_ns: int
    etag: str


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """What lies directly in a folder of a store, by name."""

    objects: dict[str, RemoteObject]
    folders: tuple[str, ...]


class MissingError(UserError, FileNotFoundError):
    """A store has no such object or folder."""


class IncompleteError(Exception):
    """What came is not what the store has."""


class Store:
    """An S3 store, or another one that speaks its protocol.

    Each bucket is asked without credentials first, so that public ones need none, and where it refuses, with those that
    AWS's tools find (environment, ``~/.aws``, the machine's role).

    Parameters
    ----------
    endpoint
        Its address; None is AWS.
    """

    def __init__(self, endpoint: str | None = None) -> None:
        self.endpoint = endpoint
        self._systems: dict[bool, Any] = {}
        self._signed: set[str] = set()
        self._lock = Lock()

    def list_folder(self, address: str, start: str = "") -> RemoteFolder:
        """List a folder ``bucket/prefix``, what lies below its folders left out.

        Parameters
        ----------
        start
            How the names start that are wanted; their folders are not listed then.

        Raises
        ------
        UserError
            When it is not there, or can't be listed.
        """
        address = address.rstrip("/")

        def ask(system: Any) -> list[dict[str, Any]]:
            if start:
                return list(system.find(address, maxdepth=1, prefix=start, detail=True).values())
            return list(system.ls(address, detail=True, refresh=True))

        found = self._patiently(address, ask, LISTING_TRIES)
        objects, folders = {}, []
        for entry in found:
            inner = str(entry["name"]).removeprefix(f"{address}/")
            name = inner.rstrip("/")
            if inner == str(entry["name"]) or not usable_name(name):
                continue
            if entry["type"] == "directory":
                folders.append(name)
            else:
                objects[name] = _object(entry)
        return RemoteFolder(objects, tuple(sorted(folders)))

    def describe(self, address: str) -> RemoteObject:
        """Ask for an object's size, time and ETag. Raises UserError."""
        found: RemoteObject = self._patiently(address, lambda system: _object(system.info(address)), OBJECT_TRIES)
        return found

    def fetch(self, address: str, path: Path, known: RemoteObject | None = None) -> RemoteObject:
        """Fetch an object into a file, which has its name only when it is whole.

        Parameters
        ----------
        known
            What a listing said of the object; asked for where None.

        Raises
        ------
        UserError
            When it is not there, can't be reached, does not come whole, or can't be written.
        """
        expected = known or self.describe(address)
        aside = path.with_name(f"{path.name}.{os.getpid()}-{get_ident()}{PARTIAL}")

        def get(system: Any) -> None:
            system.get_file(address, os.fspath(aside))
            _check(aside, expected)

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb"):  # says now, and in words, that a disk takes nothing
                pass
            self._patiently(address, get, OBJECT_TRIES)
            os.utime(aside, ns=(time.time_ns(), expected.modified_ns))
            aside.replace(path)
        except OSError as error:
            raise UserError(f"Cannot write {path} ({error.strerror or error}). Make room on that disk.") from error
        finally:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
        return expected

    def close(self) -> None:
        """Close the connections."""
        for system in self._systems.values():
            with suppress(Exception):  # they end with the process in any case
                system.close_session(system.loop, system.s3)
        self._systems.clear()

    def _patiently(self, address: str, ask: Callable[[Any], T], tries: int) -> T:
        """Ask until there is an answer; with credentials where the bucket refuses without."""
        bucket = address.partition("/")[0]
        pause = FIRST_PAUSE_S
        for attempt in range(1, tries + 1):
            signed = bucket in self._signed
            try:
                return ask(self._system(signed))
            except FileNotFoundError as error:
                raise MissingError(f"There is no {url_of(address)}. Check the path.") from error
            except PermissionError as error:
                if signed:
                    raise UserError(_refused(address, str(error))) from error
                self._signed.add(bucket)
                try:
                    return ask(self._system(signed=True))
                except PermissionError as second:
                    self._signed.discard(bucket)
                    raise UserError(_refused(address, str(second))) from second
                except Exception as second:  # whatever the credentials' finders raise
                    if type(second).__name__ not in ("NoCredentialsError", "PartialCredentialsError"):
                        continue  # a busy store: with credentials from now on
                    self._signed.discard(bucket)
                    raise UserError(_refused(address, "and no credentials were found")) from second
            except UserError:
                raise
            except Exception as error:  # what each library and network calls "busy", "cut" and "not reached"
                if _is_local(error):
                    raise
                if attempt == tries:
                    raise UserError(_given_up(address, self.endpoint, error, tries)) from error
            # Not all at once: threads that were refused together would be so again.
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2.0 * pause, LONGEST_PAUSE_S)
        raise UserError(f"{url_of(address)} was asked for {tries} times in vain. Try again later.")

    def _system(self, signed: bool) -> Any:
        with self._lock:
            if signed not in self._systems:
                self._systems[signed] = _connect(self.endpoint, signed)
            return self._systems[signed]


def _connect(endpoint: str | None, signed: bool) -> Any:
    try:
        import fsspec

        importlib.import_module("s3fs")  # fsspec would name a package that is not ours
    except ImportError as error:
        raise UserError(
            "Reading from object stores needs s3fs. Install it: pip install 'napari-sslprofiler[cloud]'."
        ) from error
    system = fsspec.filesystem(
        SCHEME,
        anon=not signed,
        endpoint_url=endpoint,
        # Trying again is done here, where it is counted and ends with words.
        config_kwargs={
            "connect_timeout": _CONNECT_S,
            "read_timeout": _READ_S,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "max_pool_connections": 32,
        },
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    system.retries = 1
    return system


def _object(entry: Mapping[str, Any]) -> RemoteObject:
    modified = entry.get("LastModified")
    seconds = modified.timestamp() if isinstance(modified, datetime) else 0.0
    return RemoteObject(int(entry["size"] or 0), int(seconds) * 10**9, str(entry.get("ETag") or "").strip('"'))


def is_same(path: Path, expected: RemoteObject) -> bool:
    """Whether a file is there and the object's: by size and time of change, else by size and MD5. Raises OSError."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if (status.st_size, status.st_mtime_ns) == (expected.size, expected.modified_ns):
        return True
    return status.st_size == expected.size and expected.etag == _md5(path)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _check(path: Path, expected: RemoteObject) -> None:
    size = path.stat().st_size
    if size != expected.size:
        raise IncompleteError(f"{size:,} of {expected.size:,} bytes came")
    checked = _MD5.fullmatch(expected.etag) and os.environ.get(CHECK_VARIABLE, "1") != "0"
    if checked and _md5(path) != expected.etag:
        raise IncompleteError(
            f"its MD5 is not its ETag; of a bucket that encrypts with its own keys that is no error: set "
            f"{CHECK_VARIABLE}=0"
        )


def _is_local(error: BaseException) -> bool:
    """Whether the disk of this machine refused, instead of the network: a full one, or one that is read-only."""
    import errno

    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def _refused(address: str, why: str) -> str:
    return (
        f"The store refuses {url_of(address)} ({_words(why)}). Check the path, or set AWS_PROFILE or AWS_ACCESS_KEY_ID "
        "and AWS_SECRET_ACCESS_KEY."
    )


def _given_up(address: str, endpoint: str | None, error: Exception, tries: int) -> str:
    reason = _words(str(error)) or type(error).__name__
    where = f" at {endpoint}" if endpoint else ""
    if isinstance(error, IncompleteError):
        return f"{url_of(address)} did not come whole in {tries} tries: {reason}. Try again later."
    return (
        f"{url_of(address)} cannot be read{where} ({tries} tries; the last: {reason}). Check the network, and run "
        "the same command again: what has come is kept."
    )


def _words(text: str) -> str:
    return " ".join(text.split()).rstrip(".")[:300]
