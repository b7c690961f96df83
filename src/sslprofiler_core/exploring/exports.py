"""Tables for other programs: one column a feature, the challenge's CSV, AnnData."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

Form = Literal["columns", "challenge"]

_CELLS = 4_000_000  # values made into text or columns at once


def export_table(table: Path | str, out: Path | str, *, form: Form = "columns", identity: str | None = None) -> Path:
    """Write a wells or sites table for other programs.

    Parameters
    ----------
    table
        A wells table, a sites table (a folder), or a table of profiles made by others.
    out
        By its ending: ``.parquet``, ``.csv`` or ``.csv.gz`` with the ``Metadata_`` columns and one column a feature, as
        pycytominer has them; ``.h5ad`` with ``obs``, ``X``, and ``obsm["X_umap"]``, the map that the browser shows
        (made now, and kept beside the table, if it is not there).
    form
        ``"challenge"``: a CSV with ``ID`` and the features alone.
    identity
        With ``"challenge"``: the column that becomes ``ID``; None for ``<plate>_<well>``, with ``_<site>`` for sites.

    Returns
    -------
    ``out``. Features are named ``<group>_0001`` after their channel group; of sites ``<group>_cls_0001``. Floats in CSV
    have eight digits.

    Raises
    ------
    UserError
        For an ending that is none of these, empty or infinite values, or an ``ID`` that two rows share.
    """
    table, out = Path(table), Path(out)
    if table.resolve() == out.resolve():
        raise UserError(f"{out} is the table itself. Choose another --out.")
    metadata, names, values = _read(table)
    name = out.name.lower()
    csv = name.endswith((".csv", ".csv.gz"))
    if form == "challenge":
        if not csv:
            raise UserError(f"The challenge wants a CSV, not {out.name}. Name one with --out.")
        # Its protocol refuses a table with any such value.
        _check_finite(table, values)
        _write_csv(out, pd.DataFrame({"ID": _identities(metadata, identity)}), names, values)
    elif csv:
        _write_csv(out, metadata, names, values)
    elif name.endswith(".parquet"):
        _write_columns(out, metadata, names, values)
    elif name.endswith(".h5ad"):
        from sslprofiler_core.profiling.anndata_files import need_anndata, write_anndata

        need_anndata(out)
        index = _identities(metadata, None, unique=False)
        write_anndata(out, metadata, values, names, {"X_umap": _map(table)}, index)
    else:
        raise UserError(f"{out.name} ends in no format that can be written. Choose .parquet, .csv, .csv.gz or .h5ad.")
    return out


def _read(table: Path) -> tuple[pd.DataFrame, list[str], NDArray[np.float32]]:
    from sslprofiler_core.profiling import read_info, read_sites, read_wells
    from sslprofiler_core.profiling.parquet import open_parquet, vector_columns
    from sslprofiler_core.profiling.tables import PROFILE

    if table.is_dir():
        sites = read_sites(table)
        names = [f"{group}_{i:04d}" for group, array in sites.features.items() for i in range(1, array.shape[1] + 1)]
        return sites.metadata, names, np.concatenate(list(sites.features.values()), axis=1)
    wells = read_wells(table)
    width = wells.profiles.shape[1]
    own = table.suffix == ".parquet" and PROFILE in vector_columns(open_parquet(table).schema_arrow)
    if not own:
        return wells.metadata, list(wells.names or _numbered("feature", width)), wells.profiles
    widths = (read_info(table).get("profile") or {}).get("widths") or {"profile": width}
    if sum(widths.values()) != width:
        widths = {"profile": width}
    return wells.metadata, [n for group, count in widths.items() for n in _numbered(group, count)], wells.profiles


def _numbered(stem: str, count: int) -> list[str]:
    digits = max(4, len(str(count)))
    return [f"{stem}_{i:0{digits}d}" for i in range(1, count + 1)]


def _identities(metadata: pd.DataFrame, column: str | None, unique: bool = True) -> list[str]:
    if column is not None:
        found = next((name for name in (column, f"Metadata_{column}") if name in metadata), None)
        if found is None:
            raise UserError(f"There is no column {column!r}. Columns there: {', '.join(map(str, metadata.columns))}.")
        texts = metadata[found].astype(str)
    else:
        keys = [name for name in ("Metadata_Plate", "Metadata_Well", "Metadata_Site") if name in metadata]
        texts = metadata[keys].astype(str).agg("_".join, axis=1)
    twice = texts[texts.duplicated()]
    if len(twice) and unique:
        raise UserError(
            f"{len(twice)} rows share their ID with another, such as {twice.iloc[0]}. Name a column with --id."
        )
    if len(twice):
        texts = texts + "_" + pd.Series(range(len(texts)), index=texts.index).astype(str)
    return [str(text) for text in texts]


def _check_finite(table: Path, values: NDArray[np.float32]) -> None:
    bad = int((~np.isfinite(values)).any(axis=1).sum())
    if bad:
        raise UserError(f"{table}: {bad} of {len(values)} rows have empty or infinite values. Drop or fill them first.")


def _parts(rows: int, width: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(1, width))
    for start in range(0, max(rows, 1), step):
        yield slice(start, start + step)


def _write_csv(out: Path, metadata: pd.DataFrame, names: list[str], values: NDArray[np.float32]) -> None:
    def write(aside: Path) -> None:
        for part in _parts(len(metadata), len(names)):
            frame = pd.DataFrame(values[part], columns=names)
            frame = pd.concat([metadata.iloc[part].reset_index(drop=True), frame], axis=1)
            first = part.start == 0
            frame.to_csv(
                aside,
                mode="w" if first else "a",
                header=first,
                index=False,
                float_format="%.8g",
                compression="gzip" if out.suffix == ".gz" else None,
            )

    _aside(out, write)


def _write_columns(out: Path, metadata: pd.DataFrame, names: list[str], values: NDArray[np.float32]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = pa.Table.from_pandas(metadata, preserve_index=False).replace_schema_metadata(None)
    schema = pa.schema([*facts.schema, *(pa.field(name, pa.float32()) for name in names)])

    def write(aside: Path) -> None:
        with pq.ParquetWriter(aside, schema, use_dictionary=list(metadata.columns), write_statistics=False) as writer:
            # One group of rows: each of these costs a reader a header for every column.
            columns = [*facts.columns, *(pa.array(np.ascontiguousarray(values[:, i])) for i in range(len(names)))]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))

    _aside(out, write)


def _aside(out: Path, write: Callable[[Path], None]) -> None:
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(aside)
        aside.replace(out)
    except OSError as error:
        raise UserError(f"Cannot write {out} ({error.strerror or error}). Choose a folder you may write to.") from error
    finally:
        aside.unlink(missing_ok=True)


def _map(table: Path) -> NDArray[np.float32]:
    from .derived import make_derived, read_derived
    from .tables import open_table

    view = open_table(table)
    found = read_derived(view, "map") or make_derived(view, "map")
    return np.asarray(found.columns.to_numpy(), np.float32)
