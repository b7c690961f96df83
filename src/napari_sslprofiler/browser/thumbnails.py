"""Thumbnails of a table's rows: made in threads, what is in sight first, kept in bounded memory and on the disk."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QImage

from napari_sslprofiler.background import sentence

from .thumbnails_cache import DiskCache
from .thumbnails_read import Choice, picture_of
from .thumbnails_sites import Missing, Pictured

MEMORY_BYTES = 160 << 20  # about 2,000 thumbnails of a 1080 px site
THREADS = max(2, min(6, (os.cpu_count() or 2)))

# Who asks, and who is answered first.
PRIORITY = ("hover", "neighbours", "gallery")

Find = Callable[[int], Pictured | Missing]
Scale = Mapping[str, Mapping[str, tuple[float, float]]]


class ThumbnailStore(QObject):
    """Pictures of rows.

    Signals
    -------
    arrived
        frozenset of rows whose picture, or the reason for having none, has come.
    changed
        Everything is to be asked for again: other channels, other plates, another contrast.
    unmeasured
        A plate whose contrast is not known: its pictures are drawn in their own, until `set_contrast`.
    """

    arrived = Signal(object)
    changed = Signal()
    unmeasured = Signal(object)
    _landed = Signal()

    def __init__(
        self,
        find: Find = lambda row: Missing("no plates open", "No plates are open."),
        *,
        cache: DiskCache | None = None,
        memory: int = MEMORY_BYTES,
        threads: int = THREADS,
        parent: QObject | None = None,
    ) -> None:
        """``find`` gives a row's images; it is called in threads."""
        super().__init__(parent)
        self._find, self._cache, self._memory, self._threads = find, cache, memory, threads
        self._scale: dict[str, Mapping[str, tuple[float, float]]] = {}
        self._told: set[str] = set()
        self._choice = Choice()
        self._images: OrderedDict[int, QImage] = OrderedDict()
        self._plates: dict[int, str] = {}
        self._bytes = 0
        self._missing: dict[int, Missing] = {}
        self._lock = threading.Lock()
        self._wanted: dict[str, deque[int]] = {}
        self._busy: set[int] = set()
        self._running = 0
        self._held = False
        self._results: list[tuple[int, int, str, QImage | Missing]] = []
        self._generation = 0
        self._landed.connect(self._collect, Qt.ConnectionType.QueuedConnection)

    # --- What is shown ---------------------------------------------------------------------------------------------

    @property
    def choice(self) -> Choice:
        """Channels and sites; assigning another makes all pictures anew."""
        return self._choice

    @choice.setter
    def choice(self, choice: Choice) -> None:
        if choice != self._choice:
            self._choice = choice
            self._restart()

    def set_source(self, find: Find) -> None:
        """Other rows, or other images of them."""
        self._find = find
        self._restart()

    def set_contrast(self, scale: Scale) -> None:
        """Plate -> channel -> (low, high), besides what is known; pictures of these plates are made anew."""
        fresh = {plate: limits for plate, limits in scale.items() if limits and self._scale.get(plate) != limits}
        if not fresh:
            return
        self._scale = {**self._scale, **fresh}
        for row in [row for row, plate in self._plates.items() if plate in fresh]:
            image = self._images.pop(row, None)
            self._bytes -= image.sizeInBytes() if image is not None else 0
            del self._plates[row]
        self.changed.emit()

    def _restart(self) -> None:
        with self._lock:
            self._generation += 1
            self._wanted.clear()
            self._busy.clear()
        self._images.clear()
        self._plates.clear()
        self._missing.clear()
        self._told.clear()
        self._bytes = 0
        self.changed.emit()

    # --- Asking ----------------------------------------------------------------------------------------------------

    def image(self, row: int) -> QImage | None:
        """The row's picture if it is here now."""
        found = self._images.get(row)
        if found is not None:
            self._images.move_to_end(row)
        return found

    def missing(self, row: int) -> Missing | None:
        """Why the row has no picture, if that is known."""
        return self._missing.get(row)

    def thumbnail_for(self, row: int) -> QImage | None:
        """The row's picture; where it is not here yet, it is made next, and ``arrived`` tells."""
        found = self.image(row)
        if found is None:
            self.want("hover", [row])
        return found

    def want(self, who: str, rows: Iterable[int]) -> None:
        """Ask for rows, the first first. What ``who`` asked for before, and is not under way, is forgotten."""
        waiting = deque(int(row) for row in rows if row not in self._images and row not in self._missing)
        with self._lock:
            self._wanted[who] = waiting
        self._start()

    def hold(self) -> None:
        """Make no more pictures until `release`: something else needs the processor now."""
        self._held = True

    def release(self) -> None:
        """Go on."""
        self._held = False
        self._start()

    def _start(self) -> None:
        with self._lock:
            waiting = 0 if self._held else sum(map(len, self._wanted.values()))
            start = max(0, min(self._threads - self._running, waiting))
            self._running += start
        for _ in range(start):
            threading.Thread(target=self._work, name="sslprofiler-thumbnails", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether pictures are being made, wait to be made, or are waiting to be taken."""
        with self._lock:
            return bool(self._running or self._results or (self._held and any(self._wanted.values())))

    def close(self) -> None:
        """Stop, and let go of the cache on the disk."""
        with self._lock:
            self._generation += 1
            self._wanted.clear()
        if self._cache is not None:
            self._cache.close()

    # --- In threads ------------------------------------------------------------------------------------------------

    def _next(self) -> tuple[int, int] | None:
        """The next row to do, with the generation; None, and one thread fewer, when there is none."""
        with self._lock:
            for who in () if self._held else (*PRIORITY, *(w for w in self._wanted if w not in PRIORITY)):
                waiting = self._wanted.get(who)
                while waiting:
                    row = waiting.popleft()
                    if row not in self._busy:
                        self._busy.add(row)
                        return row, self._generation
            self._running -= 1
            return None

    def _work(self) -> None:
        while (task := self._next()) is not None:
            row, generation = task
            scale = self._scale
            plate, result = self._make(row, scale)
            with self._lock:
                if generation != self._generation:
                    continue
                if scale.get(plate) != self._scale.get(plate):
                    self._busy.discard(row)  # drawn in a contrast of before: whoever sees it asks again
                    continue
                self._results.append((row, generation, plate, result))
                first = len(self._results) == 1
            if first:
                with suppress(RuntimeError):  # the window has gone
                    self._landed.emit()

    def _make(self, row: int, scale: Scale) -> tuple[str, QImage | Missing]:
        try:
            pictured = self._find(row)
            if isinstance(pictured, Missing):
                return "", pictured
            picture = picture_of(pictured, self._choice, scale, self._cache)
        except Exception as error:
            return "", Missing("cannot be read", sentence(error))
        name = pictured.plate.name
        if isinstance(picture, Missing):
            return name, picture
        if name not in scale and name not in self._told:
            self._told.add(name)
            with suppress(RuntimeError):
                self.unmeasured.emit(pictured.plate)
        height, width, _ = picture.shape
        image = QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        return name, image.convertToFormat(
            QImage.Format.Format_RGB32
        )  # its own pixels, in the form that paints fastest

    def _collect(self) -> None:
        """On the GUI thread: take what has come."""
        with self._lock:
            results, self._results = self._results, []
            results = [r for r in results if r[1] == self._generation]
            self._busy.difference_update(row for row, *_ in results)
        for row, _, plate, result in results:
            if isinstance(result, Missing):
                self._missing[row] = result
            else:
                self._images[row] = result
                self._plates[row] = plate
                self._bytes += result.sizeInBytes()
        while self._bytes > self._memory and len(self._images) > 1:
            row, oldest = self._images.popitem(last=False)
            self._plates.pop(row, None)
            self._bytes -= oldest.sizeInBytes()
        if results:
            self.arrived.emit(frozenset(row for row, *_ in results))
