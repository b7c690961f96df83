"""Columns made ready for colouring and filters: codes of categories, or numbers. No Qt."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

# A column of numbers with at most so many different ones can be a list of categories; whole numbers are at first:
# replicates, clusters.
FEW = 12

Kind = Literal["categorical", "numeric"]

# Computed columns as people read them.
TITLES = {
    "Metadata_Cluster": "Clusters (k-means)",
    "Metadata_NearestDistance": "Distance to the nearest neighbour",
    "Metadata_LabelAgreement": "Agreement of neighbours' labels",
    "Metadata_ControlDistance": "Distance to the plate's controls",
    "Metadata_QueryDistance": "Distance to the current row",
}

_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, eq=False)
class Column:
    """One column of N rows.

    Parameters
    ----------
    name
        As in the table.
    kind
        How it is coloured and filtered. Few numbers have names and values, and can be either.
    codes
        (N,) int32 into ``names``, -1 for rows without a value.
    names
        Categories in natural order ("A2" before "A10").
    values
        (N,) float32, NaN for rows without a value; None for text.
    """

    name: str
    kind: Kind
    codes: NDArray[np.int32]
    names: tuple[str, ...]
    values: NDArray[np.float32] | None = None

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Rows of each category, (len(names),)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.names))

    @cached_property
    def missing(self) -> int:
        """Rows without a value."""
        if self.kind == "numeric" and self.values is not None:
            return int(np.isnan(self.values).sum())
        return int((self.codes < 0).sum())

    @property
    def either(self) -> bool:
        """Whether it can be categories and numbers."""
        return self.values is not None and len(self.names) > 0

    def matching(self, text: str) -> NDArray[np.bool_]:
        """Rows whose value contains some text, whatever its case."""
        wanted = text.casefold()
        hits = np.fromiter((wanted in name.casefold() for name in self.names), bool, len(self.names))
        return np.append(hits, False)[self.codes]


def title_of(name: str) -> str:
    """A column's name as people read it."""
    return TITLES.get(name) or name.removeprefix("Metadata_").replace("_", " ")


def read_column(name: str, series: Any) -> Column:
    """Make a column of a pandas Series or an array ready.

    Text, truth values and at most 12 different whole numbers are categories; other numbers are numbers, and with more
    than 12 different ones they cannot be categories.
    """
    import pandas as pd

    series = pd.Series(series)
    numeric = pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series)
    if numeric:
        values = series.to_numpy(np.float32, na_value=np.nan)
        values = np.where(np.isfinite(values), values, np.float32(np.nan))
        known = np.unique(values[np.isfinite(values)])
        if len(known) > FEW:
            return Column(name, "numeric", np.full(len(values), -1, np.int32), (), values)
        codes = np.searchsorted(known, values).astype(np.int32)
        codes[np.isnan(values)] = -1
        kind: Kind = "categorical" if (known == np.rint(known)).all() else "numeric"
        return Column(name, kind, codes, tuple(f"{value:g}" for value in known), values)
    codes, found = pd.factorize(series)
    words = [str(value) for value in found]
    order = sorted(range(len(words)), key=lambda i: natural_key(words[i]))
    rank = np.full(len(words) + 1, -1, np.int32)
    rank[np.asarray(order, np.int64)] = np.arange(len(words), dtype=np.int32)
    return Column(name, "categorical", rank[codes], tuple(words[i] for i in order))


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Sorts numbers within text by their value."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part.casefold()) for part in _DIGITS.split(text))


class ColumnStore:
    """A table's columns and those computed beside it, made ready when first used and kept."""

    def __init__(self, metadata: pd.DataFrame | None) -> None:
        self._own = metadata
        self._ready: dict[str, Column] = {}
        self.kinds: dict[str, Kind] = {}  # as somebody has chosen, of columns that can be either
        self.computed: dict[str, NDArray[Any]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The table's columns, then computed ones."""
        own = () if self._own is None else tuple(map(str, self._own.columns))
        return own + tuple(name for name in self.computed if name not in own)

    def values(self, name: str) -> Any:
        """A column as it is; KeyError for a name that is not there."""
        if name in self.computed:
            return self.computed[name]
        if self._own is None or name not in self._own:
            raise KeyError(name)
        return self._own[name]

    def get(self, name: str) -> Column:
        """A column made ready; KeyError for a name that is not there."""
        if name not in self._ready:
            self._ready[name] = read_column(name, self.values(name))
        column, kind = self._ready[name], self.kinds.get(name)
        if kind is not None and kind != column.kind and column.either:
            column = self._ready[name] = replace(column, kind=kind)
        return column

    def tells(self, name: str) -> bool:
        """Whether a column tells rows apart; True as well for one that is not made ready yet."""
        column = self._ready.get(name)
        return column is None or column.kind == "numeric" or len(column.names) > 1

    def put(self, name: str, values: NDArray[Any]) -> None:
        """Add or replace a computed column."""
        self.computed[name] = values
        self._ready.pop(name, None)

    def drop(self, name: str) -> bool:
        """Take a computed column away; whether it was there."""
        self._ready.pop(name, None)
        return self.computed.pop(name, None) is not None

    def find(self, text: str, rows: int) -> NDArray[np.bool_]:
        """Rows in which any column of text contains some text, whatever the case."""
        found = np.zeros(rows, bool)
        for name in self.names:
            column = self.get(name)
            if column.kind == "categorical" and column.values is None:
                found |= column.matching(text)
        return found
