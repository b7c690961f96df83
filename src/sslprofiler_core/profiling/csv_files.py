"""Tables in text: CSV as programs and spreadsheets write it, also separated by semicolons or tabs."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sslprofiler_core.errors import UserError

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")

# Names of the plate's and the well's column without prefix and case, the first found wins: ours, then JUMP's,
# pycytominer's and CellProfiler's.
PLATE_NAMES = ("plate", "assay_plate_barcode", "plate_id", "barcode", "plateid", "plate_name")
WELL_NAMES = ("well", "well_position", "well_id", "wellid", "well_name")


def is_csv(path: Path) -> bool:
    """Whether a file's name is that of a table in text."""
    return path.name.lower().endswith(ENDINGS)


def csv_options(path: Path) -> dict[str, Any]:
    """What `pandas.read_csv` must be told to read a file as it was meant.

    Names of plates and wells stay the text they are: as numbers, plate ``00123`` would be another one.

    Returns
    -------
    ``sep`` and ``decimal`` where they are not comma and point; ``dtype`` of the columns that name plates and wells.
    """
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        header, line = file.readline(), file.readline()
    options: dict[str, Any] = {}
    separator = max(",;\t", key=header.count)
    if separator != ",":
        options["sep"] = separator
        if re.search(r"\d,\d", line) and not re.search(r"\d\.\d", line):
            options["decimal"] = ","
    names = next(csv.reader([header], delimiter=separator), [])
    texts = [name for name in names if _plain(name) in (*PLATE_NAMES, *WELL_NAMES)]
    if texts:
        options["dtype"] = dict.fromkeys(texts, "str")
    return options


def read_csv(
    path: Path, columns: Sequence[str] | Callable[[str], bool] | None = None, rows: int | None = None
) -> pd.DataFrame:
    """Read a table in text, or say what is wrong with it.

    Parameters
    ----------
    path
        The file.
    columns
        Columns to read: their names, or what says so of a name; None for all.
    rows
        How many rows to read from the first on; None for all.

    Raises
    ------
    UserError
        When there is no such file, or it is no table.
    """
    try:
        options = csv_options(path) | {"usecols": columns, "nrows": rows}
        frame: pd.DataFrame = pd.read_csv(path, low_memory=False, **options)
    except FileNotFoundError as error:
        raise UserError(f"There is no table {path}. Check the path.") from error
    except (OSError, ValueError, EOFError, csv.Error) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read as a table: {problem}. Give a CSV, Parquet or h5ad file.") from error
    return frame


def _plain(name: str) -> str:
    return name.removeprefix("Image_").removeprefix("Metadata_").casefold()
