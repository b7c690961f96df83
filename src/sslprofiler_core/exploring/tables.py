"""Tables as a browser opens them: metadata at once, features when they are asked for.

Wells and sites tables of ours, and tables made by others. Nothing is refused that can be shown: rows without values
stay, and are left out of maps and neighbours.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates.remote_cache import is_url, mirrored
from sslprofiler_core.profiling.csv_files import is_csv, read_csv
from sslprofiler_core.profiling.parquet import (
    open_parquet,
    read_metadata_columns,
    read_parquet,
    schema_info,
    vector_columns,
)
from sslprofiler_core.profiling.tables import PROFILE, is_fact, is_row_number, sites_parts

from .roles import Roles, natural_names, roles_of

if TYPE_CHECKING:
    import pyarrow as pa

    from .queries import NeighbourIndex

Kind = Literal["wells", "sites", "foreign"]

_CLIP = 10.0  # standard deviations: a few runaway features would else decide every distance


class Features:
    """Vectors of a table's rows, read when first asked for; any thread may ask."""

    def __init__(self, read: Callable[[], NDArray[np.float32]]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._values: NDArray[np.float32] | None = None

    @property
    def loaded(self) -> bool:
        """Whether they have been read."""
        return self._values is not None

    def __call__(self) -> NDArray[np.float32]:
        """(N, D) float32; rows without values are NaN."""
        with self._lock:
            if self._values is None:
                values = self._read()
                values.setflags(write=False)
                self._values = values
            return self._values


@dataclass(frozen=True, eq=False)
class TableView:
    """A table that is open.

    Parameters
    ----------
    path
        The file, or the folder of a sites table.
    kind
        ``"wells"`` and ``"sites"`` are ours, ``"foreign"`` any other.
    metadata
        N rows, indexed 0 to N - 1, columns ``Metadata_...``.
    features
        Call for (N, D) float32, read when first called. Sites: every group's ``cls`` and ``patch`` side by side.
        Foreign: columns standardised over the table and clipped to +-10 (hand-made features come in all units).
    info
        What the table says of itself; empty for tables made by others.
    roles
        Which columns are plate, well, site, label and cell line.
    plate_roots
        Plate -> its folder, where that is there.
    notes
        What was odd, in sentences.
    axes
        (N, 2) float32 when the table brings a map of its own.
    """

    path: Path
    kind: Kind
    metadata: pd.DataFrame
    features: Features
    info: dict[str, Any] = field(default_factory=dict)
    roles: Roles = field(default_factory=Roles)
    plate_roots: dict[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    axes: NDArray[np.float32] | None = None
    _index: list[NeighbourIndex] = field(default_factory=list, repr=False)
    _index_lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __len__(self) -> int:
        return len(self.metadata)

    @property
    def alignment(self) -> dict[str, Any] | None:
        """The alignment already applied to the profiles (``mode``, ``alpha``), or None."""
        found = self.info.get("alignment")
        return found if isinstance(found, dict) else None

    @property
    def label(self) -> str | None:
        """The column that says what was done to a well, as far as can be told."""
        return self.roles.label

    @property
    def unit(self) -> str:
        """What a row is: ``"well"``, ``"site"`` or ``"row"``."""
        if self.roles.site is not None:
            return "site"
        return "well" if self.roles.well is not None else "row"

    def index(self) -> NeighbourIndex:
        """Neighbours of the rows by cosine distance: made when first asked for, then kept. Any thread may ask."""
        from .queries import NeighbourIndex

        with self._index_lock:
            if not self._index:
                self._index.append(NeighbourIndex(self.features(), self.metadata, roles=self.roles))
            return self._index[0]

    def row_name(self, row: int) -> str:
        """Name a row as people say it: plate, well, site."""
        own = self.metadata.iloc[row]
        words = [str(own[name]) for name in (self.roles.plate, self.roles.well) if name and pd.notna(own[name])]
        if self.roles.site and pd.notna(own[self.roles.site]):
            words.append(f"site {own[self.roles.site]}")
        return "  ".join(words) or f"row {row + 1}"


def open_table(path: Path | str) -> TableView:
    """Open a table to look at: metadata now, features later.

    Parameters
    ----------
    path
        A wells table; a sites table (a folder); a Parquet, CSV or TSV table (or .gz) of CellProfiler or pycytominer,
        one column a feature; an AnnData file (``.h5ad``, with the ``anndata`` extra).

    Raises
    ------
    UserError
        For a path that is no such table, or has no rows.
    """
    path = Path(path)
    name = path.name.lower()
    if not path.exists():
        raise UserError(f"There is no table {path}. Check the path.")
    if name.endswith(".h5ad"):
        from .anndata_tables import open_anndata

        view = open_anndata(path)
    elif is_csv(path):
        view = _open_csv(path)
    elif path.is_dir():
        view = _open_sites(path)
    else:
        view = _open_parquet(path)
    if not len(view):
        raise UserError(f"{path} has no rows. Check how it was made.")
    return view


def make_view(
    path: Path,
    kind: Kind,
    metadata: pd.DataFrame,
    read: Callable[[], NDArray[np.float32]],
    info: dict[str, Any] | None = None,
    notes: tuple[str, ...] = (),
    axes: NDArray[np.float32] | None = None,
) -> TableView:
    """Put a view together: names, roles, where the plates are, and what is odd."""
    metadata = natural_names(metadata.reset_index(drop=True))
    roles = roles_of(metadata)
    if roles.plate and roles.well:
        keys = [name for name in (roles.plate, roles.well, roles.site) if name]
        twice = int(metadata.duplicated(keys).sum())
        if twice:
            unit = "sites" if roles.site else "wells"
            notes = (*notes, f"{twice:,} rows repeat {unit} that stand there already; all are shown.")
    roots = _plate_roots(path, (info or {}).get("plates"))
    opened = _stamp(path)

    def read_same() -> NDArray[np.float32]:
        if _stamp(path) != opened:  # its rows may be others, or in another order
            raise UserError(f"{path} has changed, or gone, since it was opened. Open it again.")
        return read()

    return TableView(path, kind, metadata, Features(read_same), dict(info or {}), roles, roots, notes, axes)


def _stamp(path: Path) -> list[tuple[str, int, int]]:
    """What tells a table from one that was written in its place: names, sizes and times of its files."""
    try:
        files = sites_parts(path) if path.is_dir() else [path]
        return [(file.name, own.st_size, own.st_mtime_ns) for file in files for own in [file.stat()]]
    except (OSError, UserError):
        return []


def _open_sites(path: Path) -> TableView:
    parts = sites_parts(path)
    files = [open_parquet(part) for part in parts]
    metadata = pd.concat([read_metadata_columns(part) for part in parts], ignore_index=True)
    widths = [vector_columns(file.schema_arrow) for file in files]
    odd = next((part for part, own in zip(parts, widths, strict=True) if own != widths[0]), None)
    if odd is not None:
        raise UserError(f"{odd} has other feature columns than the table's first part. Embed its plate again.")
    if not widths[0]:
        raise UserError(f"{path} has no embeddings. Make a sites table with `sslprofiler embed`.")

    def read() -> NDArray[np.float32]:
        values = np.empty((len(metadata), sum(widths[0].values())), np.float32)
        start = 0
        for part in parts:
            _, arrays, _ = read_parquet(part, None)
            stop = start + len(next(iter(arrays.values())))
            np.concatenate([arrays[name] for name in widths[0]], axis=1, out=values[start:stop])
            start = stop
        return values

    return make_view(path, "sites", metadata, read, schema_info(files[0].schema_arrow, parts[0]))


def _open_parquet(path: Path) -> TableView:
    file = open_parquet(path)
    schema = file.schema_arrow
    info = schema_info(schema, path)
    vectors = vector_columns(schema)
    if PROFILE in vectors or (vectors and "Metadata_Site" in schema.names):
        wanted = [PROFILE] if PROFILE in vectors else list(vectors)

        def read() -> NDArray[np.float32]:
            _, arrays, _ = read_parquet(path, wanted)
            return np.concatenate([arrays[name] for name in wanted], axis=1) if len(wanted) > 1 else arrays[wanted[0]]

        kind: Kind = "wells" if PROFILE in vectors else "sites"
        return make_view(path, kind, read_metadata_columns(path), read, info)
    facts = [field.name for field in schema if is_fact(field.name, _is_number(field.type))]
    features = [field.name for field in schema if field.name not in facts and _is_number(field.type)]
    features = [name for name in features if not is_row_number(name)]
    metadata = file.read(columns=facts).to_pandas(ignore_metadata=True)
    if not facts:
        metadata = pd.DataFrame(index=range(file.metadata.num_rows))

    def read_columns() -> NDArray[np.float32]:
        return standardised(file_features(path, features))

    return make_view(path, "foreign", metadata, read_columns, info, _feature_notes(path, len(features)))


def file_features(path: Path, names: list[str]) -> NDArray[np.float32]:
    """Numeric columns of a Parquet file, (N, D); nulls are NaN."""
    file = open_parquet(path)
    values = np.empty((file.metadata.num_rows, len(names)), np.float32)
    for start in range(0, len(names), 256):  # Arrow's copy of a few columns at a time
        some = names[start : start + 256]
        frame = file.read(columns=some).to_pandas(ignore_metadata=True)
        values[:, start : start + len(some)] = frame[some].to_numpy(np.float32, na_value=np.nan)
    return values


def _open_csv(path: Path) -> TableView:
    head = read_csv(path, rows=200)
    number = {str(name): pd.api.types.is_numeric_dtype(head[name]) for name in head.columns}
    facts = [name for name in number if is_fact(name, number[name] and not head[name].isna().all())]
    features = [name for name in number if name not in facts and not is_row_number(name)]
    count = len(read_csv(path, [head.columns[0]])) if not facts else 0
    metadata = read_csv(path, facts) if facts else pd.DataFrame(index=range(count))

    def read() -> NDArray[np.float32]:
        if not features:
            return np.empty((len(metadata), 0), np.float32)
        frame = read_csv(path, features).select_dtypes("number")
        return standardised(frame.to_numpy(np.float32, na_value=np.nan))

    order = [name for name in facts if name in metadata]
    return make_view(path, "foreign", metadata[order], read, {}, _feature_notes(path, len(features)))


def standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns to mean 0 and standard deviation 1, clipped to +-10; those that hardly any row has, or that never vary,
    go. Rows that lack values stay, as NaN.
    """
    values = np.where(np.isfinite(values), values, np.nan).astype(np.float32)
    empty = np.isnan(values).all(axis=1)
    known = values[~empty]
    lacking = np.isnan(known).mean(axis=0) if len(known) else np.ones(values.shape[1])
    kept = lacking <= 0.05
    values = values[:, kept]
    if not values.shape[1] or not len(known):
        return values
    known = values[~empty]
    centre: NDArray[np.float64] = np.asarray(np.nanmean(known, axis=0, dtype=np.float64))
    spread: NDArray[np.float64] = np.asarray(np.nanstd(known, axis=0, dtype=np.float64))
    varies = spread > 1e-12
    if len(known) == 1:
        varies[:] = True
        spread[:] = 1.0
        centre[:] = 0.0
    scaled = (values[:, varies] - centre[varies]) / spread[varies]
    return np.asarray(np.clip(scaled, -_CLIP, _CLIP), np.float32)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _feature_notes(path: Path, count: int) -> tuple[str, ...]:
    if count:
        return ()
    return (f"{path.name} has no numeric feature column: there is no map and there are no neighbours.",)


def _plate_roots(table: Path, roots: Any) -> dict[str, Path]:
    """Folders that the table names, or the same folders beside it when all was moved together."""
    found: dict[str, Path] = {}
    for plate, text in (roots if isinstance(roots, dict) else {}).items():
        if is_url(str(text)):
            found[str(plate)] = mirrored(str(text))
            continue
        root = Path(str(text))
        tails = [Path(*root.parts[-n:]) for n in range(1, min(5, len(root.parts)))]
        places = [root, *(base / tail for base in list(table.resolve().parents)[:3] for tail in reversed(tails))]
        there = next((place for place in places if place.is_dir()), None)
        if there is not None:
            found[str(plate)] = there
    return found
