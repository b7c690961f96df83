"""Read metadata tables: CPJUMP1's four kinds, and plain ones with ``Metadata_`` columns.

Every value stays the text it is in the file: plate names and compound numbers must not lose a leading zero, and
"column = value" filters compare text.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sslprofiler_core.errors import UserError

from .types import well_name, well_position

PLATE, WELL, SAMPLE = "Metadata_Plate", "Metadata_Well", "Metadata_broad_sample"
PLATE_MAP, BATCH = "Metadata_Plate_Map_Name", "Metadata_Batch"

_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
# CPJUMP1's names for what has a name here. Its Cell_line ("Parental", "Cas9") is not the cell type.
_NAMES = {"Assay_Plate_Barcode": PLATE, "well_position": WELL, "Cell_type": "Metadata_CellType"}
_EXPECTED = (
    "Give a plate map (well_position, broad_sample), a table of plates (Assay_Plate_Barcode), "
    "a table with Metadata_Plate or Metadata_Well, or a folder of these."
)


@dataclass(frozen=True, slots=True)
class Table:
    """One file: all columns text and named ``Metadata_...``; "" where the file's cell is empty."""

    path: Path
    frame: pd.DataFrame

    @property
    def stem(self) -> str:
        """The file's name without its ending: how a table of plates refers to a plate map."""
        return self.path.name.removesuffix(".gz").rpartition(".")[0]

    def has(self, *columns: str) -> bool:
        """Whether the table has all of these columns."""
        return all(column in self.frame.columns for column in columns)


@dataclass(frozen=True, slots=True)
class Tables:
    """Tables by what their rows stand for."""

    wells: list[Table]
    maps: list[Table]
    plates: list[Table]
    compounds: list[Table]
    warnings: list[str]

    @property
    def names(self) -> str:
        """All file names, for a message."""
        return ", ".join(table.path.name for table in (*self.wells, *self.maps, *self.plates, *self.compounds))


def read_tables(path: Path) -> Tables:
    """Read a metadata file, or all in a folder.

    Raises
    ------
    UserError
        For a path that is not there, can't be read, or has no table that says something about plates or wells.
    """
    tables = Tables([], [], [], [], [])
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        raise UserError(f"Cannot read the metadata folder {path}: {error.strerror or error}.") from error
    for file in files:
        if path.is_dir() and (file.name.startswith(".") or not file.name.lower().endswith(_SUFFIXES)):
            continue
        table = _read_table(file)
        if table.has(PLATE, WELL):
            tables.wells.append(Table(file, unique_rows(table, [PLATE, WELL])))
        elif table.has(WELL):
            tables.maps.append(Table(file, unique_rows(table, [WELL])))
        elif table.has(PLATE):
            tables.plates.append(table)
        elif table.has(SAMPLE):
            tables.compounds.append(Table(file, unique_rows(table, [SAMPLE])))
        elif path.is_dir():
            tables.warnings.append(f"{file.name} has no column for plates, wells or broad_sample: not used.")
        else:
            raise UserError(f"{file} has no column for plates or wells. {_EXPECTED}")
    if not (tables.wells or tables.maps or tables.plates):
        raise UserError(f"{path} has no table of plates or wells. {_EXPECTED}")
    return tables


def _read_table(path: Path) -> Table:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = max("\t;,", key=first.count)
            header, rows = _read_rows(csv.reader(file, delimiter=separator, strict=True), path)
    except FileNotFoundError as error:
        raise UserError(f"There is no metadata file or folder {path}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"Cannot read the metadata file {path}: no text in UTF-8. Save it as CSV UTF-8.") from error
    except (OSError, EOFError, csv.Error) as error:
        raise UserError(f"Cannot read the metadata file {path}: {error}. {_EXPECTED}") from error
    frame = pd.DataFrame(rows, columns=header, dtype=str)
    if WELL in frame:
        frame[WELL] = [_well(name, path) for name in frame[WELL]]
    return Table(path, frame)


def _read_rows(lines: Iterator[list[str]], path: Path) -> tuple[list[str], list[list[str]]]:
    """Read a table's column names and rows; what has no name and rows without a value are left out.

    Only ``Metadata_`` columns where there are some: the rest are features, 904 of them in a profile table.
    """
    header = [name.strip() for name in next(lines, [])]
    if not header:
        raise UserError(f"{path} has no column names in its first row. {_EXPECTED}")
    kept = [i for i, name in enumerate(header) if name.startswith("Metadata_")]
    kept = kept or [i for i, name in enumerate(header) if name]
    names = [_NAMES.get(header[i]) or _prefixed(header[i]) for i in kept]
    _refuse_doubles(names, path)
    rows = []
    for number, line in enumerate(lines, start=2):
        if any(map(str.strip, line[len(header) :])):
            raise UserError(
                f"{path} has {len(line)} values in row {number}, but {len(header)} columns. "
                'Put values that hold a separator in quotes: "1,4-dioxane".'
            )
        if any(map(str.strip, line)):
            line += [""] * (len(header) - len(line))
            rows.append([line[i].strip() for i in kept])
    return names, rows


def _refuse_doubles(names: list[str], path: Path) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise UserError(f"{path} has two columns for {name}. Keep one of them.")


def _prefixed(name: str) -> str:
    if name in ("Metadata_Cell_type", "Metadata_Assay_Plate_Barcode"):
        return _NAMES[name.removeprefix("Metadata_")]
    return name if name.startswith("Metadata_") else f"Metadata_{name}"


def _well(name: str, path: Path) -> str:
    position = well_position(name)
    if position is None:
        raise UserError(f"{path}: {name!r} is not a well. Write wells like D08.")
    return well_name(*position)


def unique_rows(table: Table, keys: list[str]) -> pd.DataFrame:
    """Drop rows that stand twice; UserError when two rows with the same keys differ."""
    frame = table.frame.drop_duplicates()
    doubles = frame[frame.duplicated(keys)]
    if len(doubles):
        what = " ".join(str(doubles.iloc[0][key]) or "(empty)" for key in keys)
        raise UserError(f"{table.path} has two rows for {what} that differ. Keep one of them.")
    return frame


def combine(frames: Iterable[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Join tables on their keys, all rows kept; where two tables give the same cell, the first is used.

    An empty cell gives nothing, but for an empty ``broad_sample``, which says that there was solvent alone.
    """
    joined: pd.DataFrame | None = None
    for frame in frames:
        indexed = frame.set_index(keys)
        if joined is None:
            joined = indexed
        else:
            columns = list(dict.fromkeys([*joined.columns, *indexed.columns]))
            given = joined.mask((joined == "") & (joined.columns != SAMPLE))
            joined = given.combine_first(indexed).combine_first(joined)[columns]
    return pd.DataFrame(columns=keys, dtype=str) if joined is None else joined.reset_index()
