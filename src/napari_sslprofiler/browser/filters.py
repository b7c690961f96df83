"""Which rows are shown: hidden categories, ranges of numbers, a search, rows isolated by hand. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Column, title_of

Mask = NDArray[np.bool_]


def as_mask(rows: Iterable[int] | NDArray[Any], count: int) -> Mask:
    """Rows by number, or a mask, as a mask of so many rows; ValueError for a mask of another length."""
    array = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows))
    if array.dtype == bool:
        if array.shape != (count,):
            raise ValueError(f"a mask of shape {array.shape} for {count} rows")
        return array
    mask = np.zeros(count, bool)
    mask[array.astype(np.int64)] = True
    return mask


@dataclass
class Filters:
    """All that keeps rows from being shown; each further filter hides more.

    Attributes
    ----------
    hidden
        Column -> hidden categories; None stands for rows without a value.
    ranges
        Column -> lowest and highest value shown; rows without a value are not.
    isolated
        Rows that alone are shown, or None.
    search
        The text searched for; ``search_hides`` hides the rows that it does not find.
    """

    hidden: dict[str, frozenset[str | None]] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    isolated: Mask | None = None
    search: str = ""
    search_hides: bool = False

    def hide(self, column: str, names: frozenset[str | None]) -> bool:
        """Hide categories of a column and show its others; whether that changes anything."""
        if names == self.hidden.get(column, frozenset()):
            return False
        self.hidden[column] = names
        if not names:
            del self.hidden[column]
        return True

    def limit(self, column: str, limits: tuple[float, float] | None) -> bool:
        """Show values from low to high, both included, None for all; whether that changes anything."""
        wanted = None if limits is None else (min(limits), max(limits))
        if wanted == self.ranges.get(column):
            return False
        if wanted is None:
            del self.ranges[column]
        else:
            self.ranges[column] = wanted
        return True

    def forget(self, column: str) -> bool:
        """Drop what is filtered by a column; whether anything was."""
        gone = (self.hidden.pop(column, None), self.ranges.pop(column, None))
        return gone != (None, None)

    def clear(self) -> None:
        """Show all; the search goes on without hiding."""
        self.hidden.clear()
        self.ranges.clear()
        self.isolated, self.search_hides = None, False

    def mask(self, rows: int, column: Callable[[str], Column], matches: Mask | None) -> Mask:
        """Rows that are shown, (rows,)."""
        shown = np.ones(rows, bool)
        for name, names in self.hidden.items():
            own = column(name)
            if own.names:
                keep = np.fromiter((category not in names for category in own.names), bool, len(own.names))
                shown &= np.append(keep, None not in names)[own.codes]
            elif None in names and own.values is not None:
                shown &= ~np.isnan(own.values)
        for name, (low, high) in self.ranges.items():
            values = column(name).values
            if values is not None:
                shown &= (values >= np.float32(low)) & (values <= np.float32(high))
        if self.isolated is not None:
            shown &= self.isolated
        if self.search_hides and matches is not None:
            shown &= matches
        shown.setflags(write=False)
        return shown

    def words(self) -> list[str]:
        """What is filtered, a few words each."""
        words = [f"{title_of(name)}: {len(names):,} hidden" for name, names in sorted(self.hidden.items())]
        words += [f"{title_of(name)}: {low:.3g} to {high:.3g}" for name, (low, high) in sorted(self.ranges.items())]
        if self.isolated is not None:
            words.append(f"{int(self.isolated.sum()):,} isolated")
        if self.search_hides and self.search:
            words.append(f"“{self.search}”")
        return words
