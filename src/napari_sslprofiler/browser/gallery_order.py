"""In what order a gallery shows rows, and under which headings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .gallery_layout import Group

if TYPE_CHECKING:
    from pandas import DataFrame, Series

MOST_GROUPS = 2000
NO_VALUE = "(no value)"


def arrange(
    metadata: DataFrame,
    rows: NDArray[np.int64],
    *,
    sort: str = "",
    descending: bool = False,
    group: str = "",
) -> tuple[NDArray[np.int64], tuple[Group, ...]]:
    """Sort and group rows by columns.

    Parameters
    ----------
    metadata
        Of the whole table.
    rows
        Those to show.
    sort, descending
        A column, "" for the table's own order. Rows without a value come last either way; equal ones keep the table's
        order.
    group
        A column, "" for none. Groups come in the order of their values; beyond `MOST_GROUPS` the rows are sorted by
        it, without headings.

    Returns
    -------
    The rows in order, and their groups.
    """
    rows = np.asarray(rows, np.int64)
    if sort and sort in metadata:
        ranks = ranks_of(metadata[sort])[rows]
        if descending:
            ranks = np.where(ranks == _LAST, _LAST, -ranks)
        rows = rows[np.argsort(ranks, kind="stable")]
    if not group or group not in metadata or not rows.size:
        return rows, ()
    column = metadata[group]
    ranks = ranks_of(column)[rows]
    order = np.argsort(ranks, kind="stable")
    rows, ranks = rows[order], ranks[order]
    edges = np.flatnonzero(np.diff(ranks)) + 1
    if len(edges) >= MOST_GROUPS:
        return rows, ()
    starts = [0, *edges.tolist()]
    stops = [*edges.tolist(), len(rows)]
    titles = [text_of(column.iloc[int(rows[start])]) or NO_VALUE for start in starts]
    return rows, tuple(Group(title, start, stop) for title, start, stop in zip(titles, starts, stops, strict=True))


_LAST = np.iinfo(np.int64).max


def ranks_of(column: Series) -> NDArray[np.int64]:
    """Ranks of a column's values: equal values, equal ranks; numbers by size, all else by its text; none last."""
    import pandas as pd

    codes, values = pd.factorize(column, use_na_sentinel=True)
    if pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype):
        order = np.argsort(np.asarray(values), kind="stable")
    else:
        order = np.argsort(np.array([str(value) for value in values], dtype=str), kind="stable")
    rank_of_code = np.empty(len(values) + 1, np.int64)
    rank_of_code[order] = np.arange(len(values))
    rank_of_code[-1] = _LAST  # code -1 of those without value
    ranks: NDArray[np.int64] = rank_of_code[codes]
    return ranks


def text_of(value: object) -> str:
    """A value as people read it: "" for none, numbers without needless digits."""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.6g}"
    text = "" if value is None else str(value)
    return "" if text in ("<NA>", "NaT") else text
