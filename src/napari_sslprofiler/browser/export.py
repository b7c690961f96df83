"""Take rows away: as a table that pandas and our own readers open, or as code that selects the same rows. No Qt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame

    from sslprofiler_core.exploring import TableView

FORMATS = (".parquet", ".csv", ".csv.gz")
_MOST_LINES = 40  # of keys in a snippet of code; more rows are named by their numbers


def export_rows(
    table: TableView, metadata: DataFrame, rows: NDArray[np.int64], path: Path | str, *, features: bool = False
) -> Path:
    """Write some rows to a file, whole or not at all.

    Parameters
    ----------
    table
        Where features come from.
    metadata
        The table's columns and any computed ones, all rows.
    rows
        Which to write, in this order.
    path
        ``.parquet``, ``.csv`` or ``.csv.gz``.
    features
        Write features too, as the table's file has them: vectors in Parquet, one column a feature in CSV.

    Returns
    -------
    The file.

    Raises
    ------
    UserError
        For another ending, no rows, the table's own path, or a place that cannot be written.
    """
    path = Path(path)
    ending = next((e for e in FORMATS if path.name.lower().endswith(e)), None)
    if ending is None:
        raise UserError(f"{path.name} is neither Parquet nor CSV. Name it .parquet, .csv or .csv.gz.")
    if not len(rows):
        raise UserError("There are no rows to export. Select some, or show some.")
    if path.exists() and path.samefile(table.path):
        raise UserError(f"{path} is the table itself, which is left alone. Choose another name.")
    own = tidy(metadata.iloc[rows].reset_index(drop=True))
    vectors, single = _features(table, rows) if features else ({}, None)
    if ending == ".parquet":
        info = {**table.info, "exported_from": table.path.name}
        if single is None:
            from sslprofiler_core.profiling.parquet import write_parquet

            write_parquet(path, own, vectors, info)
        else:
            _write_single(path, own, single, info)
        return path
    import pandas as pd

    parts = [own, *([single] if single is not None else [])]
    for name, array in vectors.items():
        digits = len(str(array.shape[1] - 1))
        parts.append(pd.DataFrame(array, columns=[f"{name}_{i:0{digits}d}" for i in range(array.shape[1])]))
    frame = pd.concat(parts, axis=1)
    compression: Any = "gzip" if ending == ".csv.gz" else None
    with whole_file(path) as temporary:
        frame.to_csv(temporary, index=False, compression=compression)
    return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside the wanted one, which becomes it when all went well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose a folder you may write to.") from error
    finally:
        temporary.unlink(missing_ok=True)


def tidy(frame: DataFrame) -> DataFrame:
    """Columns whose values are of several kinds as text, which is what a file can hold of them."""
    mixed = {
        name: frame[name].map(str, na_action="ignore")
        for name in frame.columns
        if frame[name].dtype == object and frame[name].dropna().map(type).nunique() > 1
    }
    return frame.assign(**mixed) if mixed else frame


def _features(table: TableView, rows: NDArray[np.int64]) -> tuple[dict[str, NDArray[np.float32]], DataFrame | None]:
    """Vectors by name, or single columns as a table of others has them."""
    from sslprofiler_core.profiling.parquet import open_parquet, vector_columns
    from sslprofiler_core.profiling.tables import sites_parts

    if table.kind == "foreign":
        return {}, _single_features(table, rows)
    part = sites_parts(table.path)[0]
    widths = vector_columns(open_parquet(part).schema_arrow)
    values = table.features()
    if "profile" in widths:
        return {"profile": values[rows]}, None
    edges = np.cumsum([0, *widths.values()])
    return {name: values[rows, a:b] for name, a, b in zip(widths, edges[:-1], edges[1:], strict=True)}, None


def _single_features(table: TableView, rows: NDArray[np.int64]) -> DataFrame:
    import pandas as pd

    from sslprofiler_core.profiling.csv_files import is_csv, read_csv

    if is_csv(table.path):
        frame = read_csv(table.path)
    elif table.path.name.lower().endswith(".parquet"):
        frame = pd.read_parquet(table.path)
    else:  # AnnData: as the browser has them
        values = table.features()[rows]
        return pd.DataFrame(values, columns=[f"Feature_{i}" for i in range(values.shape[1])])
    frame = frame.select_dtypes("number")
    facts = {str(c).removeprefix("Metadata_") for c in table.metadata.columns}
    plain = [str(c).removeprefix("Image_").removeprefix("Metadata_") for c in frame.columns]
    kept = [c for c, p in zip(frame.columns, plain, strict=True) if p not in facts]
    return frame[kept].iloc[rows].reset_index(drop=True)


def _write_single(path: Path, metadata: DataFrame, features: DataFrame, info: dict[str, Any]) -> None:
    import json

    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sslprofiler_core.profiling.parquet import INFO_KEY

    whole = pa.Table.from_pandas(pd.concat([metadata, features], axis=1), preserve_index=False)
    whole = whole.replace_schema_metadata({INFO_KEY: json.dumps(info, default=str).encode()})
    with whole_file(path) as temporary:
        pq.write_table(whole, temporary)


def selection_code(table: TableView, rows: NDArray[np.int64]) -> str:
    """Write pandas code that reads the table and selects the same rows, as ``selected``.

    Rows are named by plate, well and site where that is unambiguous and short; else by their numbers.
    """
    rows = np.unique(np.asarray(rows, np.int64))
    keys = [name for name in (table.roles.plate, table.roles.well, table.roles.site) if name]
    head = _reading(table)
    own = table.metadata.iloc[rows]
    if keys and len(rows) <= _MOST_LINES and _found_again(table, keys, rows):
        lines = [f"    {tuple(_plain(value) for value in values)!r}," for values in own[keys].itertuples(index=False)]
        names = [_in_file(table, key) for key in keys]
        if len(keys) == 1:
            values = ", ".join(repr(_plain(value)) for value in own[keys[0]])
            return "\n".join([*head, f'selected = table[table["{names[0]}"].isin([{values}])]', ""])
        columns = ", ".join(f'"{name}"' for name in names)
        body = ["keys = [", *lines, "]", f"columns = [{columns}]"]
        body.append("selected = table[pd.MultiIndex.from_frame(table[columns]).isin(keys)]")
        return "\n".join([*head, *body, ""])
    return "\n".join([*head, f"rows = {_ranges(rows)}  # counted from 0", "selected = table.iloc[rows]", ""])


def _reading(table: TableView) -> list[str]:
    """Lines that read the table as ``table``."""
    from sslprofiler_core.profiling.csv_files import csv_options, is_csv

    where = repr(str(table.path))
    name = table.path.name.lower()
    if name.endswith(".h5ad"):
        return ["import anndata", "import pandas as pd", "", f"table = anndata.read_h5ad({where}).obs"]
    if is_csv(table.path):
        options = "".join(f", {key}={value!r}" for key, value in csv_options(table.path).items())
        return ["import pandas as pd", "", f"table = pd.read_csv({where}{options})"]
    if table.path.is_dir():  # a sites table: its parts in order of their names
        lines = [
            "from pathlib import Path",
            "",
            "import pandas as pd",
            "",
            f"parts = sorted(Path({where}).glob('*.parquet'))",
        ]
        return [*lines, "table = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)"]
    return ["import pandas as pd", "", f"table = pd.read_parquet({where})"]


def _found_again(table: TableView, keys: list[str], rows: NDArray[np.int64]) -> bool:
    """Whether these rows' keys are theirs alone, and none is empty."""
    import pandas as pd

    own = table.metadata[keys].iloc[rows]
    if own.isna().any(axis=None):
        return False
    index = pd.MultiIndex.from_frame(table.metadata[keys])
    return int(index.isin(list(own.itertuples(index=False, name=None))).sum()) == len(rows)


def _in_file(table: TableView, name: str) -> str:
    """A column's name in the table's file: those of ours have the prefix, others may lack it."""
    if table.kind != "foreign":
        return name
    from sslprofiler_core.exploring.roles import natural_names

    file = _head(table.path)
    renamed = natural_names(file).columns
    return next((str(own) for own, new in zip(file.columns, renamed, strict=True) if new == name), name)


def _head(path: Path) -> DataFrame:
    import pandas as pd

    from sslprofiler_core.profiling.csv_files import is_csv, read_csv

    if is_csv(path):
        return read_csv(path, rows=0)
    if path.name.lower().endswith(".parquet"):
        from sslprofiler_core.profiling.parquet import open_parquet

        return pd.DataFrame(columns=open_parquet(path).schema_arrow.names)
    return pd.DataFrame()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _ranges(rows: NDArray[np.int64]) -> str:
    """Row numbers as Python has them, runs as ranges."""
    if not rows.size:
        return "[]"
    cuts = np.flatnonzero(np.diff(rows) != 1) + 1
    runs = np.split(rows, cuts)
    parts = [f"*range({run[0]}, {run[-1] + 1})" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"[{', '.join(parts)}]"
