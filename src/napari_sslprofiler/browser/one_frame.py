"""What one act of the person changes, on show in one frame.

Each frame of napari's window is composed whole, in software some 20 ms. An answer that comes from a thread, or a layout
that Qt gets round to later, takes a frame more: so what is small is answered at once, and laid out before the window
paints.
"""

from __future__ import annotations

from typing import Any, TypeVar

from psygnal import SignalGroup
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, Signal

from napari_sslprofiler.background import Latest, sentence

Request = TypeVar("Request")
Result = TypeVar("Result")

# Up to so many rows the panels' work takes some milliseconds: less than a thread and another frame would.
FEW_ROWS = 20_000
_DEEP = 12  # a layout asks its parent's, up to the window's


def lay_out_now() -> None:
    """Do the layouts that Qt has put off."""
    for _ in range(_DEEP):
        QCoreApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest.value)


class Prompt(Latest[Request, Result]):
    """As `Latest`, and answers small requests at once."""

    def ask(self, request: Request, at_once: bool = False) -> None:
        """Ask; ``at_once`` on the GUI thread, where the answer takes some milliseconds."""
        if not at_once:
            super().ask(request)
            return
        self.forget()
        try:
            answer = self._work(request)
        except Exception as error:
            if self._failed is not None:
                self._failed(sentence(error))
            return
        self._done(answer)

    def _arrived(self, value: tuple[int, bool, Any]) -> None:
        super()._arrived(value)
        lay_out_now()


class OneFrame(QObject):
    """Lays out what a state's events have changed before the window paints."""

    _wanted = Signal()

    def __init__(self, events: SignalGroup, parent: QObject) -> None:
        super().__init__(parent)
        self._waiting = False
        # Queued, it comes when all have heard of the event, and before Qt paints.
        self._wanted.connect(self._lay_out, Qt.ConnectionType.QueuedConnection)
        for signal in events.signals.values():
            signal.connect(self._want)

    def _want(self, *_: object) -> None:
        if not self._waiting:
            self._waiting = True
            self._wanted.emit()

    def _lay_out(self) -> None:
        self._waiting = False
        lay_out_now()
