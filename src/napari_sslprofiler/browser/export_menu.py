"""The menu that takes a selection away: export, annotate, copy as code. One keeper of annotations a state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_sslprofiler import style
from napari_sslprofiler.background import Latest
from sslprofiler_core.errors import UserError

from .annotate import Annotations, read_annotations, save_annotations
from .export import export_rows, selection_code
from .gallery_flow import dress_menu_button
from .state import BrowserState

if TYPE_CHECKING:
    from pandas import DataFrame

    from .state import TableView

# What a file dialog offers: words, ending, with features.
_KINDS = (
    ("Parquet (*.parquet)", ".parquet", False),
    ("CSV (*.csv)", ".csv", False),
    ("Parquet with features (*.parquet)", ".parquet", True),
    ("CSV with features (*.csv)", ".csv", True),
)


@dataclass(frozen=True, eq=False)
class Export:
    """What is to be written."""

    table: TableView
    metadata: DataFrame
    rows: NDArray[np.int64]
    path: Path
    features: bool


class Keeper(QObject):
    """Keeps a state's annotations: read when a table opens, shown as columns, saved at each change.

    Signals
    -------
    said
        A sentence: what was done, or what went wrong.
    """

    said = Signal(str)

    def __init__(self, state: BrowserState) -> None:
        super().__init__()
        self._state = state
        self.annotations: Annotations | None = None
        self._reading: Latest[TableView, tuple[Annotations, str]] = Latest(
            read_annotations, self._read, self.said.emit, self
        )
        self._saving: Latest[Annotations, Path] = Latest(save_annotations, self._saved, self.said.emit, self)
        state.events.table.connect(self._new_table)
        self._new_table(state.table)

    @property
    def busy(self) -> bool:
        """Whether anything is being read or written."""
        return self._reading.busy or self._saving.busy

    def put(self, words: str, rows: NDArray[np.int64], value: str) -> None:
        """Annotate rows; see `Annotations.put`."""
        if self.annotations is None:
            raise UserError("The table is still being read. Try again in a moment.")
        self._show(self.annotations.put(words, rows, value))
        self._saving.ask(self.annotations.snapshot())

    def undo(self) -> None:
        """Take the last change back."""
        if self.annotations is not None and self.annotations.can_undo:
            self._show(self.annotations.undo())
            self._saving.ask(self.annotations.snapshot())

    def _new_table(self, table: TableView | None) -> None:
        self.annotations = None
        if table is not None:
            self._reading.ask(table)

    def _read(self, found: tuple[Annotations, str]) -> None:
        annotations, note = found
        if annotations.table is not self._state.table:
            return
        self.annotations = annotations
        for name in annotations.columns:
            self._show(name)
        if note:
            self.said.emit(note)

    def _show(self, name: str) -> None:
        values = self.annotations.columns.get(name) if self.annotations is not None else None
        if values is None:
            self._state.drop_column(name)
        else:
            self._state.add_column(name, values)

    def _saved(self, path: Path) -> None:
        self.said.emit(f"annotations saved in {path.name}")


# Weak on both sides: what holds a state may not be kept by it.
_keepers: WeakKeyDictionary[Any, ref[Keeper]] = WeakKeyDictionary()


def keeper_of(state: BrowserState) -> Keeper:
    """The state's keeper of annotations, made when first asked for."""
    found = _keepers[state]() if state in _keepers else None
    if found is None:
        found = Keeper(state)
        _keepers[state] = ref(found)
    return found


class TakeAway(QToolButton):
    """A menu for the selection, or for all that is shown when nothing is selected.

    Signals
    -------
    said
        A sentence: what was done, or what went wrong.
    """

    said = Signal(str)

    def __init__(self, state: BrowserState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self.keeper = keeper_of(state)
        self.keeper.said.connect(self.said)
        self._exporting: Latest[Export, tuple[Path, int]] = Latest(_export, self._exported, self.said.emit, self)
        self.setToolTip("Export, annotate or copy the selection; all that is shown when nothing is selected")
        menu = dress_menu_button(self, "Take away")
        self._export_action = menu.addAction("Export …", self.ask_export)
        self._annotate_action = menu.addAction("Annotate …", self.ask_annotation)
        self._undo_action = menu.addAction("Undo the last annotation", self.keeper.undo)
        menu.addSeparator()
        self._code_action = menu.addAction("Copy as pandas code", self.copy_code)
        menu.aboutToShow.connect(self.refresh)

    @property
    def busy(self) -> bool:
        """Whether anything is being written."""
        return self._exporting.busy or self.keeper.busy

    def rows(self) -> NDArray[np.int64]:
        """The selected rows that are shown; all that are shown when there are none."""
        selected = self._state.selected_rows()
        return selected if selected.size else np.flatnonzero(self._state.filter)

    def refresh(self) -> None:
        """Say in the menu how many rows are meant."""
        there = self._state.table is not None
        count, table = len(self.rows()), self._state.table
        what = "selected" if self._state.selected_rows().size else "shown"
        unit = table.unit if table is not None else "row"
        self._export_action.setText(f"Export {count:,} {what} {unit}{'' if count == 1 else 's'} …")
        self._annotate_action.setText(f"Annotate {count:,} {what} {unit}{'' if count == 1 else 's'} …")
        for action in (self._export_action, self._annotate_action, self._code_action):
            action.setEnabled(there and count > 0)
        annotations = self.keeper.annotations
        self._undo_action.setEnabled(annotations is not None and annotations.can_undo)

    # --- Export ----------------------------------------------------------------------------------------------------

    def ask_export(self) -> None:
        """Let the person choose a file."""
        table = self._state.table
        if table is None:
            return
        start = str(table.path.parent / f"{table.path.name.split('.')[0]}-selection.parquet")
        kinds = ";;".join(words for words, _, _ in _KINDS)
        path, kind = QFileDialog.getSaveFileName(self, "Export rows", start, kinds)
        if path:
            ending, features = next(((e, f) for words, e, f in _KINDS if words == kind), (".parquet", False))
            self.export(Path(path), features, ending)

    def export(self, path: Path, features: bool = False, ending: str = ".parquet") -> None:
        """Write the rows, in a thread; ``ending`` is added where the name has none."""
        table = self._state.table
        if table is None:
            return
        if not path.name.lower().endswith((".parquet", ".csv", ".csv.gz")):
            path = path.with_name(path.name + ending)
        self.said.emit(f"writing {path.name} …")
        self._exporting.ask(Export(table, self._state.metadata, self.rows(), path, features))

    def _exported(self, made: tuple[Path, int]) -> None:
        path, count = made
        self.said.emit(f"exported {count:,} rows to {path.name}")

    # --- Annotate --------------------------------------------------------------------------------------------------

    def ask_annotation(self) -> None:
        """Let the person name a column and a value."""
        dialog = AnnotationDialog(self.keeper.annotations, len(self.rows()), self)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            self.annotate(dialog.column.currentText(), dialog.value.currentText())

    def annotate(self, column: str, value: str) -> None:
        """Give the rows a value in a column, and colour by it."""
        try:
            self.keeper.put(column, self.rows(), value)
        except UserError as error:
            self.said.emit(str(error))

    # --- Code ------------------------------------------------------------------------------------------------------

    def copy_code(self) -> None:
        """Put code that selects the same rows on the clipboard."""
        if self._state.table is not None:
            QGuiApplication.clipboard().setText(selection_code(self._state.table, self.rows()))
            self.said.emit("copied: code that reads the table and selects these rows")


class AnnotationDialog(QDialog):
    """Asks for a column's name and a value; those used before are offered."""

    def __init__(self, annotations: Annotations | None, count: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Annotate")
        self._annotations = annotations
        self.column, self.value = QComboBox(), QComboBox()
        for box in (self.column, self.value):
            box.setEditable(True)
            box.setMinimumContentsLength(24)
        names = list(annotations.columns) if annotations is not None else []
        self.column.addItems([name.removeprefix("Metadata_") for name in names] or ["Phenotype"])
        self.column.currentTextChanged.connect(self._offer)
        self._offer(self.column.currentText())
        form = QFormLayout()
        form.addRow("Column", self.column)
        form.addRow("Value", self.value)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(
            style.hint(f"For {count:,} rows. Kept beside the table, which is not changed; empty takes a value away.")
        )
        layout.addWidget(buttons)
        self.value.setFocus()

    def _offer(self, column: str) -> None:
        self.value.clear()
        if self._annotations is not None:
            self.value.addItems(self._annotations.values_of("Metadata_" + column))
        self.value.setCurrentText("")


def _export(wish: Export) -> tuple[Path, int]:
    return export_rows(wish.table, wish.metadata, wish.rows, wish.path, features=wish.features), len(wish.rows)
