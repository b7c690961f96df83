"""Columns that a person adds: kept beside the table, found again by plate, well and site; the table is never touched.

``wells.annotations.parquet`` lies beside ``wells.parquet`` and holds the annotated rows alone. No Qt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

    from sslprofiler_core.exploring import TableView

PREFIX = "Metadata_"
ROW = "Metadata_TableRow"  # the key of a table that has neither plate nor well
COPY = "Metadata_TableCopy"  # which of several rows with one plate, well and site
_MOST_UNDO = 50

Values = NDArray[Any]  # (N,) of str or None


def annotations_path(table: Path) -> Path:
    """Where a table's annotations lie: ``wells.annotations.parquet`` beside ``wells.parquet``."""
    stem = table.name
    for ending in (".parquet", ".gz", ".csv", ".tsv", ".h5ad"):
        stem = stem.removesuffix(ending)
    return table.with_name(f"{stem}.annotations.parquet")


def row_keys(table: TableView) -> DataFrame:
    """What tells rows apart, as text: plate, well, site; and a number where rows repeat them."""
    import pandas as pd

    roles = table.roles
    names = [name for name in (roles.plate, roles.well, roles.site) if name]
    if not names:
        return pd.DataFrame({ROW: np.arange(len(table)).astype(str)})
    keys = pd.DataFrame({name: table.metadata[name].astype("string").fillna("") for name in names})
    copies = keys.groupby(names, sort=False).cumcount()
    if copies.any():
        keys[COPY] = copies.astype("string")
    return keys.astype(object)


@dataclass
class Annotations:
    """A table's annotations: column -> values, with undo.

    Attributes
    ----------
    columns
        ``Metadata_...`` -> (N,) of str, None where nothing was said.
    """

    table: TableView
    columns: dict[str, Values] = field(default_factory=dict)
    _before: list[tuple[str, Values | None]] = field(default_factory=list)

    def name_of(self, words: str) -> str:
        """A column's name from what a person typed.

        Raises
        ------
        UserError
            For an empty name, or that of a column of the table.
        """
        plain = "_".join(words.strip().removeprefix(PREFIX).split())
        if not plain:
            raise UserError("The annotation has no name. Type one, such as Phenotype.")
        name = PREFIX + plain
        if name in self.table.metadata or name in (ROW, COPY):
            raise UserError(f"The table has a column {plain} already, which is left alone. Choose another name.")
        return name

    def put(self, words: str, rows: NDArray[np.int64], value: str) -> str:
        """Give rows a value in a column, which is made if need be; "" takes their value away. Returns its name."""
        name = self.name_of(words)
        before = self.columns.get(name)
        values = np.full(len(self.table), None, object) if before is None else before.copy()
        values[np.asarray(rows, np.int64)] = value.strip() or None
        self._before = [*self._before, (name, before)][-_MOST_UNDO:]
        self.columns[name] = values
        if not any(v is not None for v in values):
            del self.columns[name]
        return name

    @property
    def can_undo(self) -> bool:
        """Whether there is anything to undo."""
        return bool(self._before)

    def undo(self) -> str:
        """Take the last change back; returns the column's name."""
        name, before = self._before.pop()
        if before is None:
            self.columns.pop(name, None)
        else:
            self.columns[name] = before
        return name

    def values_of(self, name: str) -> list[str]:
        """The different values of a column, sorted."""
        return sorted({str(v) for v in self.columns.get(name, ()) if v is not None})

    def snapshot(self) -> Annotations:
        """As it is now, for a thread that saves it."""
        return Annotations(self.table, dict(self.columns))


def save_annotations(annotations: Annotations) -> Path:
    """Write the annotated rows beside the table, whole or not at all; without any, the file goes.

    Raises
    ------
    UserError
        Where the folder cannot be written.
    """
    from sslprofiler_core.profiling.parquet import write_parquet

    path = annotations_path(annotations.table.path)
    if not annotations.columns:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"Cannot delete {path}: {error.strerror or error}. Delete it by hand.") from error
        return path
    frame = row_keys(annotations.table).assign(**annotations.columns)
    some = frame[list(annotations.columns)].notna().any(axis=1)
    write_parquet(path, frame[some].reset_index(drop=True), {}, {"annotations_of": annotations.table.path.name})
    return path


def read_annotations(table: TableView) -> tuple[Annotations, str]:
    """Read what is beside a table; empty without a file.

    Returns
    -------
    The annotations, and a sentence on what could not be put back, "" when all could.

    Raises
    ------
    UserError
        For a file that is no annotations file.
    """
    path = annotations_path(table.path)
    if not path.exists():
        return Annotations(table), ""
    from sslprofiler_core.profiling.parquet import read_metadata_columns

    saved = read_metadata_columns(path)
    keys = row_keys(table)
    by = [name for name in saved.columns if name in keys or name in (ROW, COPY)]
    names = [str(name) for name in saved.columns if name not in by and name not in table.metadata]
    if not by or not names:
        raise UserError(f"{path} has no annotations of this table. Move it away, or rename it.")
    for name in (ROW, COPY):
        if name in by and name not in keys:
            keys[name] = "0" if name == COPY else np.arange(len(table)).astype(str)
        elif name == COPY and name in keys and name not in by:
            saved[name] = "0"
            by.append(name)
    where = keys[by].drop_duplicates().reset_index(names="row")
    rows = saved[by].astype(object).merge(where, on=by, how="left")["row"].fillna(-1).to_numpy(np.int64)
    known = rows >= 0
    found = Annotations(table)
    for name in names:
        values = np.full(len(table), None, object)
        own = saved[name].astype(object).where(saved[name].notna(), None).to_numpy(object)
        values[rows[known]] = own[known]
        if any(v is not None for v in values):
            found.columns[name] = values
    lost = int((~known).sum())
    unit = table.unit
    note = f"{lost:,} annotated {unit}s of {path.name} are not in the table any more." if lost else ""
    return found, note
