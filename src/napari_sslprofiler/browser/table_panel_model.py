"""The rows that a table panel shows: searched and sorted as numbers, so that a million rows are never copied. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .columns import Column


@dataclass(frozen=True)
class View:
    """What is shown: which rows in which order.

    ``words`` must all be found in a row, each in any of ``columns``; ``sort`` is a column, "" for the table's order.
    """

    rows: NDArray[np.int64]
    columns: tuple[str, ...]
    words: tuple[str, ...] = ()
    sort: str = ""
    descending: bool = False


def arrange_rows(view: View, column: Callable[[str], Column]) -> NDArray[np.int64]:
    """The rows that hold the words, in order; those without a value come last either way.

    ``column`` gives a column made ready: text is then searched and sorted once a category, not once a row.
    """
    rows = view.rows
    for word in view.words:
        found = np.zeros(len(rows), bool)
        for name in view.columns:
            found |= holds(column(name), word)[rows]
        rows = rows[found]
    if not view.sort:
        return rows
    own = column(view.sort)
    if own.values is not None:
        keys = own.values[rows].astype(np.float64)
        missing = np.isnan(keys)
    else:
        keys = own.codes[rows].astype(np.float64)
        missing = keys < 0
    keys = np.where(missing, np.inf, -keys if view.descending else keys)
    return rows[np.argsort(keys, kind="stable")]


def holds(column: Column, word: str) -> NDArray[np.bool_]:
    """Rows in which a column's text holds a word, whatever the case; numbers as they are shown."""
    if column.names:
        return column.matching(word)
    if column.values is None:
        return np.zeros(len(column.codes), bool)
    # Only what may be part of a number is looked for in numbers.
    if not set(word) <= set("0123456789.-+e"):
        return np.zeros(len(column.values), bool)
    try:
        wanted = float(word)
    except ValueError:
        return np.zeros(len(column.values), bool)
    return np.isclose(column.values, np.float32(wanted), rtol=1e-4, atol=0.0)


def default_columns(names: Sequence[str], roles: Sequence[str | None], column: Callable[[str], Column]) -> list[str]:
    """Columns worth showing first: what was done and where, then those that tell rows apart; at most eight."""
    first = [name for name in roles if name is not None and name in names]
    rest = [name for name in names if name not in first]
    telling = []
    for name in rest:
        own = column(name)
        varied = len(own.names) > 1 or own.kind == "numeric"
        if varied and own.missing < 0.9 * len(own.codes):
            telling.append(name)
        if len(first) + len(telling) >= 8:
            break
    return [*first, *telling]


def as_text(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as tab-separated text, which spreadsheets take; tabs and line ends inside a value become spaces."""
    lines = [titles, *rows]
    return "\n".join("\t".join(" ".join(cell.split()) for cell in line) for line in lines) + "\n"
