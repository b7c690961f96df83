"""What the browser's state tells of."""

from __future__ import annotations

from typing import Any

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
    neighbours = Signal(object)  # rows of the current row's neighbours, nearest first


class MarkedRow:
    """A row that is marked; assigning another one tells."""

    def __init__(self, name: str, doc: str) -> None:
        self._name, self.__doc__ = name, doc

    def __get__(self, state: Any, owner: type) -> Any:
        return state._marked[self._name] if state is not None else self

    def __set__(self, state: Any, row: int | None) -> None:
        if row is not None and not 0 <= row < len(state):
            raise ValueError(f"row {row} of a table of {len(state)}")
        if row != state._marked[self._name]:
            state._marked[self._name] = row
            getattr(state.events, self._name).emit(row)
