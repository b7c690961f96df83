"""Rows of a table as wells of plates: which plate and well each row is at, and what colour each well has. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .colouring import Colouring
from .columns import Column, natural_key
from .palette import STEPS

if TYPE_CHECKING:
    from sslprofiler_core.exploring import TableView

# Rows and columns of the standard plates (ANSI/SLAS 4).
_FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))


@dataclass(frozen=True, eq=False)
class Grid:
    """Where N rows lie on P plates of R x C wells.

    Parameters
    ----------
    plates
        Names, in natural order.
    shape
        R and C: the smallest standard plate that has all wells of the table.
    plate
        (N,) int32 into ``plates``, -1 for rows without a plate.
    place
        (N,) int32, ``row * C + column`` from 0, -1 for rows at no well position.
    """

    plates: tuple[str, ...]
    shape: tuple[int, int]
    plate: NDArray[np.int32]
    place: NDArray[np.int32]

    @property
    def lost(self) -> int:
        """Rows that are at no well position of a plate."""
        return int(((self.plate < 0) | (self.place < 0)).sum())

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """Each row's well counted over all plates, (N,), -1 for rows at none."""
        wells = self.shape[0] * self.shape[1]
        cells = self.plate.astype(np.int64) * wells + self.place
        return np.where((self.plate < 0) | (self.place < 0), -1, cells)

    def rows_of(self, plate: int | None, places: NDArray[np.integer]) -> NDArray[np.int64]:
        """Rows at some places of a plate, or of all plates; ascending."""
        chosen = np.zeros(self.shape[0] * self.shape[1] + 1, bool)
        chosen[places] = True
        chosen[-1] = False  # place -1
        at = chosen[self.place] & (self.plate >= 0)
        if plate is not None:
            at &= self.plate == plate
        return np.flatnonzero(at)

    def place_of(self, well: str) -> int:
        """A well's place, -1 for a name that is no well of this plate."""
        from sslprofiler_core.plates import well_position

        found = well_position(well)
        if found is None or found[0] > self.shape[0] or found[1] > self.shape[1]:
            return -1
        return (found[0] - 1) * self.shape[1] + found[1] - 1

    def well_of(self, place: int) -> str:
        """A place's name."""
        return self._names[place]

    @cached_property
    def _names(self) -> tuple[str, ...]:
        from sslprofiler_core.plates import well_name

        rows, columns = self.shape
        return tuple(well_name(row + 1, column + 1) for row in range(rows) for column in range(columns))


def grid_of(table: TableView) -> Grid | None:
    """Find each row's plate and well; None for a table without columns of them."""
    import pandas as pd

    from sslprofiler_core.plates import well_position

    roles = table.roles
    if roles.well is None:
        return None
    if roles.plate is None:
        plate, names = np.zeros(len(table), np.int32), ["all rows"]
    else:
        codes, found = pd.factorize(table.metadata[roles.plate])
        words = [str(value) for value in found]
        order = sorted(range(len(words)), key=lambda i: natural_key(words[i]))
        rank = np.full(len(words) + 1, -1, np.int32)
        rank[np.asarray(order, np.int64)] = np.arange(len(words), dtype=np.int32)
        plate, names = rank[codes], [words[i] for i in order]
    codes, found = pd.factorize(table.metadata[roles.well])
    spots = [well_position(str(value)) for value in found]
    known = [spot for spot in spots if spot is not None]
    rows, columns = max((r for r, _ in known), default=1), max((c for _, c in known), default=1)
    shape = next((s for s in _FORMATS if s[0] >= rows and s[1] >= columns), _FORMATS[-1])
    places = [-1 if spot is None else (spot[0] - 1) * shape[1] + spot[1] - 1 for spot in spots]
    return Grid(tuple(names), shape, plate, np.array([*places, -1], np.int32)[codes])


def well_colours(
    grid: Grid, colouring: Colouring, shown: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Colour wells as the map colours their rows.

    A well of several rows has the colour of their mean, of numbers, or of their most frequent category (the earlier
    one of the legend, where two are as frequent).

    Parameters
    ----------
    grid
        Where rows are.
    colouring
        Of all rows.
    shown
        (N,): other rows count for nothing.

    Returns
    -------
    Colours (P, R, C, 3) uint8, and which wells have any row, (P, R, C) bool.
    """
    wells = grid.shape[0] * grid.shape[1]
    count = len(grid.plates) * wells
    cells = grid.cells
    rows = np.flatnonzero((cells >= 0) & shown)
    cells, codes = cells[rows], colouring.codes[rows].astype(np.int64)
    there = np.zeros(count, bool)
    there[cells] = True
    chosen = np.zeros(count, np.int64)
    if colouring.kind == "numeric":
        chosen[there] = STEPS  # no value
        known = codes < STEPS
        times = np.bincount(cells[known], minlength=count)
        total = np.bincount(cells[known], weights=codes[known], minlength=count)
        some = times > 0
        chosen[some] = np.rint(total[some] / times[some]).astype(np.int64)
    elif rows.size:
        kinds = len(colouring.palette)
        keys, times = np.unique(cells * kinds + codes, return_counts=True)
        # The last written wins: rarer ones first, later codes before earlier.
        order = np.lexsort((-(keys % kinds), times))
        chosen[keys[order] // kinds] = keys[order] % kinds
    colours = colouring.palette[chosen]
    colours[~there] = 0
    shape = (len(grid.plates), *grid.shape)
    return colours.reshape(*shape, 3), there.reshape(shape)


def words_of_rows(rows: NDArray[np.int64], label: Column | None, column: Column | None) -> list[str]:
    """What is known of a well with some rows, a line each: its label, the coloured column's value, how many rows."""
    known = [_text(own, rows) for own in dict.fromkeys((label, column)) if own is not None]
    several = [f"{len(rows)} rows"] if len(rows) > 1 else []
    return [*filter(None, known), *several]


def _text(column: Column, rows: NDArray[np.int64]) -> str:
    plain = column.name.removeprefix("Metadata_").replace("_", " ")
    if column.kind == "numeric" and column.values is not None:
        values = column.values[rows]
        values = values[np.isfinite(values)]
        if not values.size:
            return ""
        return f"{plain} {values.mean():.4g}" + (" (mean)" if values.size > 1 else "")
    codes = column.codes[rows]
    codes = codes[codes >= 0]
    if not codes.size:
        return ""
    kinds, times = np.unique(codes, return_counts=True)
    name = column.names[int(kinds[times.argmax()])]
    return f"{plain} {name}" + (f" and {len(kinds) - 1} more" if len(kinds) > 1 else "")
