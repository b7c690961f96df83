"""Listening and waiting only as long as a widget lives: napari deletes a closed widget's Qt half first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakMethod

from psygnal import SignalInstance
from qtpy.QtCore import QObject, QTimer


class _Ending:
    """What is done when Qt deletes an owner.

    Held here until then, and heard of by a method, which PyQt holds weakly: the garbage collector, too, deletes owners,
    and a function that only their signal held it has taken apart by then. Calling that ends the process.
    """

    _all: ClassVar[set[_Ending]] = set()

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._all.add(self)

    def come(self) -> None:
        self._all.discard(self)
        self._act()


def at_end(owner: QObject, act: Callable[[], None]) -> None:
    """Call ``act``, which may not hold the owner, when Qt deletes it."""
    owner.destroyed.connect(_Ending(act).come)


def hear(signal: SignalInstance, method: Callable[[Any], None], owner: QObject) -> None:
    """Connect a widget's method to a session's signal, until Qt deletes the widget."""
    weak: list[WeakMethod[Callable[[Any], None]]] = [WeakMethod(method)]

    # Not the method itself: psygnal ends a signal's emission with an error when a listener goes while it is under way.
    def relay(value: Any) -> None:
        heard = weak[0]() if weak else None
        if heard is not None:
            heard(value)

    def forget() -> None:
        weak.clear()
        signal.disconnect(relay, missing_ok=True)

    signal.connect(relay)
    at_end(owner, forget)


def later(owner: QObject, milliseconds: int, then: Callable[[], None]) -> QTimer:
    """A timer that, started, acts once after some time, unless its owner is gone by then.

    ``QTimer.singleShot`` with a method is not called off with the widget on PySide6.
    """
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(then)
    return timer
