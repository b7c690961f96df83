"""The browser's work off the GUI thread: tables, maps, computed columns."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_sslprofiler.background import Latest, Report, Task
from napari_sslprofiler.child_process import run_child

from .colouring import colour_column, first_column
from .columns import ColumnStore, title_of
from .saved import SUFFIX, SavedState, apply_state, read_state
from .state import BrowserState, TableView, open_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sslprofiler_core.exploring.derived import Derived

# Up to so many rows a map is made without asking: some minutes at most.
MAP_AT_ONCE = 60_000

_WARM_AFTER = 1000  # milliseconds: the first picture comes first

# Computed columns and the recipes that saved states keep.
COMPUTED: dict[str, dict[str, Any]] = {
    "Metadata_Cluster": {"kind": "clusters", "clusters": 12},
    "Metadata_NearestDistance": {"kind": "nearest"},
    "Metadata_LabelAgreement": {"kind": "agreement"},
    "Metadata_ControlDistance": {"kind": "controls"},
    "Metadata_QueryDistance": {"kind": "distance"},
}


@dataclass(frozen=True, eq=False)
class Opened:
    """A table made ready: columns, and its map where there is one."""

    table: TableView
    columns: ColumnStore
    map: Derived | None
    saved: SavedState | None = None


def prepare(path: Path) -> Opened:
    """Open a table, or a saved state and its table."""
    from sslprofiler_core.exploring.derived import read_derived

    saved = read_state(path) if path.name.endswith(SUFFIX) else None
    table = open_table(saved.table if saved else path)
    centred = bool(saved and saved.map.get("centred"))
    with ThreadPoolExecutor(1) as beside:  # mostly digests, which let others work
        wanted = table.axes is None or centred
        found = beside.submit(read_derived, table, "map", centred=centred) if wanted else None
        columns = ColumnStore(table.metadata)
        names = tuple(map(str, table.metadata.columns))
        first = first_column(names, table.label, columns.get)
        if first:
            colour_column(columns.get(first))  # its counts are then ready too
        return Opened(table, columns, found.result() if found is not None else None, saved)


def _warm(columns: ColumnStore) -> ColumnStore:
    """Make all columns ready, so that the first search and the first use of each are quick."""
    for name in columns.names:
        columns.get(name)
    return columns


def compute(table: TableView, recipe: dict[str, Any], report: Report) -> NDArray[Any]:
    """Compute a column, (N,), by its recipe."""
    from sslprofiler_core.exploring import control_rows
    from sslprofiler_core.exploring.derived import make_derived, read_derived

    kind = recipe["kind"]
    report(0, 0)
    if kind == "clusters":
        clusters = int(recipe.get("clusters", 12))
        found = read_derived(table, "clusters", clusters=clusters)
        if found is None:
            found = make_derived(table, "clusters", report, clusters=clusters)
        return found.columns["Metadata_Cluster"].to_numpy()
    if kind in ("nearest", "agreement"):
        found = read_derived(table, "neighbours")
        if found is None:
            found = make_derived(table, "neighbours", report)
        name = "Metadata_NearestDistance" if kind == "nearest" else "Metadata_LabelAgreement"
        return found.columns[name].to_numpy()
    if kind == "controls":
        return table.index().distances_to_controls(control_rows(table.metadata, table.roles))
    return table.index().distances_to([int(row) for row in recipe["rows"]])


class Jobs(QObject):
    """Runs what takes time and puts the results into the state.

    Signals
    -------
    opened
        `Opened`, after the state shows it.
    problem
        A sentence: what went wrong.
    map_progress
        (done, total, seconds left or None) of the map that is being laid out; done = -1 when that ends.
    """

    opened = Signal(object)
    problem = Signal(str)
    map_progress = Signal(int, int, object)
    computing = Signal(str)

    def __init__(self, state: BrowserState, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.centred = False
        self._opening: Latest[Path, Opened] = Latest(prepare, self._show, self.problem.emit, self)
        self._warming: Latest[ColumnStore, ColumnStore] = Latest(_warm, self._warmed, None, self)
        self._warm_later = QTimer(self)
        self._warm_later.setSingleShot(True)
        self._warm_later.setInterval(_WARM_AFTER)
        self._warm_later.timeout.connect(lambda: self._warming.ask(state.columns))
        self._map: Task[Any] | None = None
        self._column: Task[Any] | None = None

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        running = any(task is not None and task.running for task in (self._map, self._column))
        return self._opening.busy or self._warming.busy or running

    @property
    def laying_out(self) -> bool:
        """Whether a map is being made."""
        return self._map is not None and self._map.running

    def open(self, path: Path) -> None:
        """Open a table or a saved state; the newest wish wins."""
        self._opening.ask(Path(path))

    def make_map(self, centred: bool = False) -> None:
        """Lay the table out, in a child process; with ``centred``, after taking each plate's mean away."""
        table = self._state.table
        if table is None:
            return
        self.cancel_map()

        def work(report: Report) -> Derived:
            from sslprofiler_core.exploring.derived import make_derived, read_derived

            found = read_derived(table, "map", centred=centred)
            if found is None:
                report(0, 0)
                arguments = [str(table.path), "map", *(["--centred"] if centred else [])]
                run_child(arguments, report, module="sslprofiler_core.exploring.derived")
                found = read_derived(table, "map", centred=centred)
            # Where nothing can be written the child's map is lost: lay it out here, slower.
            return found or make_derived(table, "map", report, centred=centred)

        def done(found: Derived) -> None:
            self.map_progress.emit(-1, 0, None)
            if self._state.table is table:
                self.centred = centred
                self._place(found)

        def failed(message: str) -> None:
            self.map_progress.emit(-1, 0, None)
            self.problem.emit(message)

        self._map = Task(
            work,
            done,
            failed,
            label="Laying out the map",
            parent=self,
            cancelled=lambda: self.map_progress.emit(-1, 0, None),
            progressed=lambda n, of, left: self.map_progress.emit(n, of, left),
        )
        self.map_progress.emit(0, 0, None)

    def cancel_map(self) -> None:
        """Stop laying out."""
        if self._map is not None and self._map.running:
            self._map.cancel()

    def compute(self, name: str, recipe: dict[str, Any], done: Callable[[], None] | None = None) -> None:
        """Compute a column and colour by it, unless ``done`` does something else with it."""
        table = self._state.table
        if table is None:
            return
        if self._column is not None and self._column.running:
            self._column.cancel()
        words = title_of(name)

        def finish(values: NDArray[np.generic]) -> None:
            self.computing.emit("")
            if self._state.table is not table:
                return
            self._state.add_column(name, values, recipe)
            if done is None:
                self._state.colour_by(name)
            else:
                done()

        def failed(message: str) -> None:
            self.computing.emit("")
            self.problem.emit(message)

        self.computing.emit(words)
        self._column = Task(lambda report: compute(table, recipe, report), finish, failed, label=words, parent=self)

    def stop(self) -> None:
        """Stop all: the window closes."""
        self._opening.forget()
        self._warm_later.stop()
        self._warming.forget()
        for task in (self._map, self._column):
            if task is not None and task.running:
                task.cancel()

    def _show(self, opened: Opened) -> None:
        self.cancel_map()
        table, state = opened.table, self._state
        self.centred = bool(opened.saved and opened.saved.map.get("centred"))
        if opened.saved is not None:
            try:
                notes = apply_state(state, opened.saved, table)
            except Exception as error:
                self.problem.emit(str(error))
                notes = []
            for note in notes:
                self.problem.emit(note)
        else:
            state.open(table, opened.columns)
        if opened.map is not None:
            self._place(opened.map)
        elif opened.saved is not None and state.positions is not None:
            state.set_positions(state.positions, state.map_note)  # look where the saved state did
        elif state.positions is None and len(table) <= MAP_AT_ONCE:
            self.make_map(self.centred)
        if opened.saved is not None:
            self._compute_again(opened.saved)
        self.opened.emit(opened)
        self._warm_later.start()

    def _warmed(self, columns: ColumnStore) -> None:
        if columns is self._state.columns:
            self._state.events.columns.emit(self._state.column_names)

    def _place(self, found: Derived) -> None:
        import numpy as np

        self._state.set_positions(found.columns.to_numpy(np.float32), found.note)

    def _compute_again(self, saved: SavedState) -> None:
        """Columns that a saved state had, one after the other; then what it coloured and filtered by them."""
        waiting = list(saved.recipes.items())

        def next_one() -> None:
            if waiting:
                name, recipe = waiting.pop(0)
                self.compute(name, recipe, next_one)
                return
            columns = set(self._state.column_names)
            for name, names in saved.content.get("hidden", {}).items():
                if name in columns:
                    self._state.set_hidden(name, names)
            for name, limits in saved.content.get("ranges", {}).items():
                if name in columns:
                    self._state.set_range(name, (float(limits[0]), float(limits[1])))
            column = saved.content.get("colour", {}).get("column")
            if column in saved.recipes and column in columns:
                self._state.colour_by(column)

        if waiting:
            next_one()
