"""Measures the contrast of plates, one after the other, once for all parts of the browser that draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, Signal

from napari_sslprofiler.background import Latest
from napari_sslprofiler.plates.opening import measure_contrast, with_contrast
from napari_sslprofiler.state import Session, session_of

if TYPE_CHECKING:
    from napari import Viewer

    from sslprofiler_core.plates import Plate

_Limits = dict[str, tuple[float, float]]


class ContrastMeter(QObject):
    """Measures plates of one session.

    Signals
    -------
    measured
        (plate's name, channel -> (low, high)); the session's screen has them already, where the plate is its.
    """

    measured = Signal(str, object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._waiting: list[Plate] = []
        self._asked: set[tuple[str, str]] = set()
        self.busy = False  # whether a plate is being measured
        self._measuring: Latest[Plate, tuple[str, _Limits]] = Latest(_measure, self._done, self._skip, self)

    def want(self, plate: Plate) -> None:
        """Measure a plate, unless that is done, or under way."""
        key = (plate.name, str(plate.root))
        screen = self._session.screen
        if key not in self._asked and not (screen is not None and plate.name in screen.scale):
            self._asked.add(key)
            self._waiting.append(plate)
            self._next()

    def _next(self) -> None:
        if self._waiting and not self.busy:
            self.busy = True
            self._measuring.ask(self._waiting.pop(0))

    def _done(self, made: tuple[str, _Limits]) -> None:
        self.busy = False
        name, limits = made
        screen = self._session.screen
        if screen is not None and screen.plate(name) is not None and name not in screen.scale:
            self._session.screen = with_contrast(screen, name, limits)  # napari's layers then have it too
        self.measured.emit(name, limits)
        self._next()

    def _skip(self, message: str) -> None:
        self.busy = False
        self._next()


def _measure(plate: Plate) -> tuple[str, _Limits]:
    return plate.name, measure_contrast(plate, lambda done, total: None)


_all: WeakKeyDictionary[Session, ContrastMeter] = WeakKeyDictionary()


def contrast_of(viewer: Viewer) -> ContrastMeter:
    """The viewer's meter, made when first asked for."""
    session = session_of(viewer)
    if session not in _all:
        _all[session] = ContrastMeter(session)
    return _all[session]
