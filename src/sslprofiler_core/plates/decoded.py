"""The planes decoded last, for pseudo-sites: n x n pieces of one plane cost one decoding, not n x n."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from .remote import local
from .types import Source

_BYTES = 128 * 2**20

_Key = tuple[Source, int, int]


class DecodedPlanes:
    """Planes by source, the least recently used forgotten first; threads that want the same one wait for its decoding.

    A file's size and time of change are part of the key, so that a file written anew is read anew.
    """

    def __init__(self, room: int = _BYTES) -> None:
        self._room = room
        self._held = 0
        self._planes: OrderedDict[_Key, Future[NDArray[Any]]] = OrderedDict()
        self._lock = Lock()

    def get(self, source: Source, decode: Callable[[Path, int | None], NDArray[Any]]) -> NDArray[Any]:
        """Give a plane that nobody may write to, decoded now or before. Raises what ``decode`` raises."""
        try:
            status = local(source.path).stat()
        except OSError:
            return decode(*source)  # which says what is wrong
        key = (source, status.st_size, status.st_mtime_ns)
        with self._lock:
            known = self._planes.get(key)
            if known is not None:
                self._planes.move_to_end(key)
            else:
                mine = self._planes[key] = Future()
        if known is not None:
            return known.result()
        try:
            plane = decode(*source)
        except BaseException as error:
            with self._lock:
                del self._planes[key]
            mine.set_exception(error)
            raise
        plane.flags.writeable = False
        mine.set_result(plane)
        self._keep(plane)
        return plane

    def _keep(self, plane: NDArray[Any]) -> None:
        with self._lock:
            self._held += plane.nbytes
            for key, future in list(self._planes.items()):
                if self._held <= self._room:
                    break
                if future.done():
                    del self._planes[key]
                    self._held -= future.result().nbytes


DECODED = DecodedPlanes()
