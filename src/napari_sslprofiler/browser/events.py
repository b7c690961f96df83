"""What the browser's state tells of."""

from __future__ import annotations

from psygnal import Signal, SignalGroup


class BrowserEvents(SignalGroup):
    """One signal a shared value; each gives the new value."""

    table = Signal(object)  # TableView | None
    positions = Signal(object)  # (N, 2) float32 | None
    columns = Signal(object)  # names of all columns, computed ones included
    colouring = Signal(object)  # Colouring
    filter = Signal(object)  # (N,) bool: what is shown
    matches = Signal(object)  # (N,) bool: what the search finds; None without a search
    selection = Signal(object)  # (N,) bool
    hovered = Signal(object)  # row | None
    current = Signal(object)  # row | None
    images = Signal(object)  # Images | None
