"""Listening and waiting only as long as a widget lives: napari deletes a closed widget's Qt half first."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakMethod

from psygnal import SignalInstance
from qtpy.QtCore import QObject, QTimer


def hear(signal: SignalInstance, method: Callable[..., None], owner: QObject) -> None:
    """Connect a widget's method to a session's signal, until Qt deletes the widget."""
    signal.connect(method)
    weak = WeakMethod(method)

    def forget() -> None:
        heard = weak()
        if heard is not None:
            signal.disconnect(heard, missing_ok=True)

    owner.destroyed.connect(forget)


def later(owner: QObject, milliseconds: int, then: Callable[[], None]) -> QTimer:
    """A timer that, started, acts once after some time, unless its owner is gone by then.

    ``QTimer.singleShot`` with a method is not called off with the widget on PySide6.
    """
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(then)
    return timer
