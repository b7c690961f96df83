"""What all parts of the browser share: one table, one selection, one filter, one colouring. No Qt, no napari.

A part assigns or calls, the others hear of it through ``events``. Masks are (N,) and never written in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.exploring.tables import TableView, open_table

from . import saved
from .colouring import Colouring, LegendEntry, colour_column, colour_matches, colour_plain, first_column
from .columns import Column, ColumnStore, Kind
from .events import BrowserEvents, MarkedRow
from .filters import Filters, Mask, as_mask
from .images import Images

if TYPE_CHECKING:
    from qtpy.QtGui import QImage

__all__ = ["BrowserEvents", "BrowserState", "TableView", "open_table"]

How = Literal["replace", "add", "remove", "toggle"]


class BrowserState:
    """One browser's state.

    Attributes
    ----------
    events
        ``events.<name>.connect(callback)``.
    thumbnail_for
        What draws a row's thumbnail for the card at the pointer, or None; it must answer at once (from a cache).
    view
        Centre x, y and data units a pixel of the map, for saving; None before it is shown.
    wanted_view
        What the map is to look at when it next gets positions: of a saved state.
    """

    def __init__(self) -> None:
        self.events = BrowserEvents()
        self.thumbnail_for: Callable[[int], QImage | None] | None = None
        self._reset(None)

    def _reset(self, table: TableView | None, columns: ColumnStore | None = None) -> None:
        rows = 0 if table is None else len(table)
        self._table = table
        self._columns = columns or ColumnStore(None if table is None else table.metadata)
        self.recipes: dict[str, dict[str, Any]] = {}
        self._positions: NDArray[np.float32] | None = None if table is None else table.axes
        self.map_note = "" if self._positions is None else "The map that the table brings."
        self.view: tuple[float, float, float] | None = None
        self.wanted_view: tuple[float, float, float] | None = None
        self._filters = Filters()
        self._matches: Mask | None = None
        self._selection = np.zeros(rows, bool)
        self._filter = np.ones(rows, bool)
        self._marked: dict[str, int | None] = {"hovered": None, "current": None}
        self._neighbours = np.zeros(0, np.int64)
        self._colouring = colour_plain(rows)
        self._images = None if table is None else Images(table)

    # --- The table -------------------------------------------------------------------------------------------------

    @property
    def table(self) -> TableView | None:
        """The table on show; assigning another one forgets all that was about the old one."""
        return self._table

    @table.setter
    def table(self, table: TableView | None) -> None:
        self.open(table)

    def open(self, table: TableView | None, columns: ColumnStore | None = None) -> None:
        """Show a table; ``columns`` are those of it that a worker has made ready already."""
        self._reset(table, columns)
        first = first_column(self.column_names, table.label, self.column) if table is not None else ""
        if first:
            self._colouring = colour_column(self.column(first))
        self.events.table.emit(table)
        self.events.columns.emit(self.column_names)
        self.events.images.emit(self._images)
        self.events.positions.emit(self._positions)
        self.events.filter.emit(self._filter)
        self.events.matches.emit(None)
        self.events.colouring.emit(self._colouring)
        self.events.selection.emit(self._selection)
        self.events.hovered.emit(None)
        self.events.current.emit(None)
        self.events.neighbours.emit(self._neighbours)

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Columns of the table, then computed ones."""
        return self._columns.names

    @property
    def columns(self) -> ColumnStore:
        """All columns; those that are made ready and those that are not."""
        return self._columns

    def column(self, name: str) -> Column:
        """One column made ready for colours and filters; KeyError for a name that is not there."""
        return self._columns.get(name)

    def values(self, name: str) -> Any:
        """A column as it is, computed or the table's; KeyError for a name that is not there."""
        return self._columns.values(name)

    @property
    def metadata(self) -> pd.DataFrame:
        """The table's columns and the computed ones, N rows."""
        if self._table is None:
            return pd.DataFrame()
        computed = self._columns.computed
        return self._table.metadata.assign(**computed) if computed else self._table.metadata

    def add_column(self, name: str, values: Iterable[Any], recipe: Mapping[str, Any] | None = None) -> None:
        """Add or replace a computed column, (N,): distances, clusters, annotations.

        ``recipe`` says how to compute it again, for a saved state (see `saved`).
        """
        array = np.asarray(values)
        if array.shape != (len(self),):
            raise ValueError(f"a column of shape {array.shape} for {len(self)} rows")
        self._columns.put(name, array)
        self.recipes.pop(name, None)
        if recipe is not None:
            self.recipes[name] = dict(recipe)
        if self._filters.forget(name):
            self._refilter()
        self.events.columns.emit(self.column_names)
        if self._colouring.column == name:
            self.colour_by(name)

    def drop_column(self, name: str) -> None:
        """Take a computed column away; the table's own stay."""
        if not self._columns.drop(name):
            return
        self.recipes.pop(name, None)
        if self._filters.forget(name):
            self._refilter()
        self.events.columns.emit(self.column_names)
        if self._colouring.column == name:
            self.colour_by((self._table.label if self._table else None) or "")

    @property
    def positions(self) -> NDArray[np.float32] | None:
        """The map, (N, 2) float32; NaN for rows that have no place; None before it is made."""
        return self._positions

    def set_positions(self, positions: NDArray[Any] | None, note: str = "") -> None:
        """Give the map, and a sentence on how it was made."""
        if positions is not None:
            positions = np.ascontiguousarray(positions, np.float32)
            if positions.shape != (len(self), 2):
                raise ValueError(f"positions of shape {positions.shape} for {len(self)} rows")
        self._positions, self.map_note = positions, note
        self.events.positions.emit(positions)

    # --- Images ----------------------------------------------------------------------------------------------------

    @property
    def images(self) -> Images | None:
        """Where the images of rows are."""
        return self._images

    def images_changed(self) -> None:
        """Tell that plates have been found."""
        self.events.images.emit(self._images)

    # --- Selection -------------------------------------------------------------------------------------------------

    @property
    def selection(self) -> Mask:
        """Selected rows, (N,)."""
        return self._selection

    @selection.setter
    def selection(self, mask: Mask) -> None:
        mask = np.asarray(mask, bool)
        if mask.shape != (len(self),):
            raise ValueError(f"a selection of shape {mask.shape} for {len(self)} rows")
        if np.array_equal(mask, self._selection):
            return
        mask = mask.copy()
        mask.setflags(write=False)
        self._selection = mask
        self.events.selection.emit(mask)

    def select(self, rows: Iterable[int] | NDArray[Any], how: How = "replace") -> None:
        """Select rows (numbers, or a mask): instead of, besides, or without those selected, or the other way round."""
        chosen = as_mask(rows, len(self))
        if how == "add":
            chosen = self._selection | chosen
        elif how == "remove":
            chosen = self._selection & ~chosen
        elif how == "toggle":
            chosen = self._selection ^ chosen
        elif how != "replace":
            raise ValueError(f"how to select is {how!r}")
        self.selection = chosen

    def invert(self) -> None:
        """Select what is shown and not selected."""
        self.selection = self._filter & ~self._selection

    def select_all(self) -> None:
        """Select all that is shown."""
        self.selection = self._filter

    def clear_selection(self) -> None:
        """Select nothing."""
        self.selection = np.zeros(len(self), bool)

    def selected_rows(self) -> NDArray[np.int64]:
        """Rows that are selected and shown, ascending."""
        return np.flatnonzero(self._selection & self._filter)

    # --- Filter ----------------------------------------------------------------------------------------------------

    @property
    def filter(self) -> Mask:
        """Rows that are shown, (N,): not hidden in the legend, within the ranges, found, isolated."""
        return self._filter

    @property
    def hidden(self) -> dict[str, frozenset[str | None]]:
        """Column -> hidden categories (None: rows without a value)."""
        return dict(self._filters.hidden)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Column -> lowest and highest value shown; rows without a value are not."""
        return dict(self._filters.ranges)

    @property
    def isolated(self) -> Mask | None:
        """Rows that alone are shown, or None."""
        return self._filters.isolated

    @property
    def filtered(self) -> bool:
        """Whether any row is not shown."""
        return not self._filter.all()

    def filter_words(self) -> list[str]:
        """What is filtered, a few words each."""
        return self._filters.words()

    def set_hidden(self, column: str, names: Iterable[str | None]) -> None:
        """Hide categories of a column, and show its others."""
        self.column(column)
        if self._filters.hide(column, frozenset(names)):
            self._refilter()
            if self._colouring.column == column:
                self._recolour(column)

    def toggle_entry(self, entry: LegendEntry) -> None:
        """Hide or show a line of the legend."""
        hidden = self._filters.hidden.get(self._colouring.column, frozenset())
        names = frozenset(entry.names)
        self.set_hidden(self._colouring.column, hidden - names if entry.hidden else hidden | names)

    def only_entry(self, entry: LegendEntry) -> None:
        """Show one line of the legend alone; once more shows all."""
        others = {name for other in self._colouring.entries if other.code != entry.code for name in other.names}
        alone = others == self._filters.hidden.get(self._colouring.column, frozenset())
        self.set_hidden(self._colouring.column, () if alone else others)

    def set_range(self, column: str, limits: tuple[float, float] | None) -> None:
        """Show values from low to high, both included; None shows all."""
        self.column(column)
        if self._filters.limit(column, limits):
            self._refilter()

    def isolate(self, rows: Iterable[int] | NDArray[Any] | None) -> None:
        """Show these rows alone; None ends it."""
        self._filters.isolated = None if rows is None else as_mask(rows, len(self)).copy()
        self._refilter()

    def show_all(self) -> None:
        """End every filter."""
        self._filters.clear()
        self._refilter()
        if self._colouring.column:
            self._recolour(self._colouring.column)

    def _refilter(self) -> None:
        shown = self._filters.mask(len(self), self.column, self._matches)
        if not np.array_equal(shown, self._filter):
            self._filter = shown
            self.events.filter.emit(shown)

    # --- Search ----------------------------------------------------------------------------------------------------

    @property
    def search(self) -> str:
        """The text that is searched for."""
        return self._filters.search

    @property
    def search_hides(self) -> bool:
        """Whether rows that the search does not find are hidden; otherwise they are faint."""
        return self._filters.search_hides

    @property
    def matches(self) -> Mask | None:
        """Rows that the search finds, None without a search."""
        return self._matches

    def set_search(self, text: str, hides: bool | None = None) -> None:
        """Search the columns of text, whatever the case; "" ends the search."""
        text = text.strip()
        if hides is not None:
            self._filters.search_hides = hides
        if text != self._filters.search:
            self._filters.search = text
            self._matches = self._columns.find(text, len(self)) if text else None
            self.events.matches.emit(self._matches)
            if self._colouring.kind == "search":
                self.colour_by_search()
        self._refilter()

    # --- Colours ---------------------------------------------------------------------------------------------------

    @property
    def colouring(self) -> Colouring:
        """Colours of all rows, and the legend."""
        return self._colouring

    def colour_by(self, column: str) -> None:
        """Colour by a column, "" for one colour; KeyError for a name that is not there."""
        if column:
            self._recolour(column)
        else:
            self._tell_colouring(colour_plain(len(self)))

    def read_as(self, column: str, kind: Kind) -> None:
        """Take a column of few numbers as categories or as numbers; another column stays what it is."""
        if self.column(column).either:
            self._columns.kinds[column] = kind
            if self._filters.forget(column):  # lines of the legend and ranges are of the other kind
                self._refilter()
            self.events.columns.emit(self.column_names)
            if self._colouring.column == column:
                self._recolour(column)

    def colour_by_search(self) -> None:
        """Colour what the search finds."""
        matches = self._matches if self._matches is not None else np.zeros(len(self), bool)
        self._tell_colouring(colour_matches(matches, self.search))

    def _recolour(self, column: str) -> None:
        self._tell_colouring(colour_column(self.column(column), self._filters.hidden.get(column, frozenset())))

    def _tell_colouring(self, colouring: Colouring) -> None:
        self._colouring = colouring
        self.events.colouring.emit(colouring)

    # --- Rows in the light -----------------------------------------------------------------------------------------

    hovered = MarkedRow("hovered", "The row under the pointer, in whichever part; or None.")
    current = MarkedRow("current", "The row whose images are shown, and whose neighbours; or None.")

    @property
    def neighbours(self) -> NDArray[np.int64]:
        """Neighbours of the current row as some part shows them, nearest first: the map draws lines to them."""
        return self._neighbours

    @neighbours.setter
    def neighbours(self, rows: Iterable[int]) -> None:
        rows = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), np.int64)
        if not np.array_equal(rows, self._neighbours):
            self._neighbours = rows
            self.events.neighbours.emit(rows)

    # --- A file ----------------------------------------------------------------------------------------------------

    def save(self, path: Path | str) -> Path:
        """Save as a file that a colleague opens; see `saved.save_state`."""
        return saved.save_state(self, Path(path))

    def restore(self, path: Path | str) -> list[str]:
        """Open a saved state and its table; see `saved.read_state`; returns what `saved.apply_state` does."""
        content = saved.read_state(Path(path))
        return saved.apply_state(self, content, open_table(content.table))
