"""What is computed from a table once and kept beside it: the map, neighbours, clusters.

``wells.umap.parquet`` and the like name what they were made from, so that a table that has changed gets new ones.
``python -m sslprofiler_core.exploring.derived TABLE map`` makes one: a browser runs that as a child process.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling.parquet import open_parquet, read_metadata_columns, schema_info, write_parquet
from sslprofiler_core.progress import progress_bar

from .roles import PREFIX
from .tables import TableView, open_table

if TYPE_CHECKING:
    from .layout import Report

Kind = Literal["map", "neighbours", "clusters"]

AXES = (f"{PREFIX}UMAP1", f"{PREFIX}UMAP2")

_BLOCK = 1 << 16
_BLOCKS = 64
_SUFFIXES: dict[Kind, str] = {"map": "umap", "neighbours": "neighbours", "clusters": "clusters"}
_VERSION = 1
# The demo's maps name their profiles' digest; to compare it these must be read, which is quick up to here.
_READ_TO_CHECK = 1 << 28


@dataclass(frozen=True, eq=False)
class Derived:
    """A table's derived columns (N rows, names with ``Metadata_``), and a sentence on how they were made."""

    columns: pd.DataFrame
    note: str


def derived_path(table: Path, kind: Kind, option: str = "") -> Path:
    """Where a derived table lies: ``wells.umap.parquet`` beside ``wells.parquet``."""
    stem = table.name
    for ending in (".parquet", ".gz", ".csv", ".tsv", ".h5ad"):
        stem = stem.removesuffix(ending)
    return table.with_name(f"{stem}.{_SUFFIXES[kind]}{option}.parquet")


def fingerprint(table: Path) -> str:
    """What a table holds, in 16 letters, from its size and 64 blocks spread over each of its files.

    Features that were computed again differ everywhere, so the blocks tell; a digest of all would read gigabytes each
    time a browser opens (our choice).
    """
    digest = hashlib.sha256()
    files = [table] if table.is_file() else sorted(part for part in table.glob("*.parquet") if part.name[0] != ".")
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name if table.is_dir() else ''}:{size};".encode())
        with path.open("rb") as file:
            for start in sorted({size * i // _BLOCKS for i in range(_BLOCKS)} | {max(0, size - _BLOCK)}):
                file.seek(start)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:16]


def read_derived(table: TableView, kind: Kind, **options: Any) -> Derived | None:
    """Read a derived table, when there is one of this table as it is now, made with these options.

    ``options`` are those of `make_derived`.
    """
    wanted = _wanted(kind, options)
    for path in _places(table.path, kind, wanted):
        if not path.is_file():
            continue
        try:
            info = schema_info(open_parquet(path).schema_arrow, path)
            columns = read_metadata_columns(path)
        except UserError:
            continue  # cut short: it is made again
        if len(columns) != len(table):
            continue
        own = {key: info.get(key) for key in wanted}
        if own == wanted and info.get("made_from") == fingerprint(table.path):
            return Derived(columns, str(info.get("note", "")))
        if kind == "map" and "made_from" not in info and _is_of_demo(table, info):
            axes = demo_axes(bool(wanted["centred"]))
            if set(axes) <= set(columns):
                return Derived(columns[list(axes)].set_axis(list(AXES), axis=1), "UMAP (cosine, 15 neighbours).")
    return None


def make_derived(table: TableView, kind: Kind, report: Report | None = None, **options: Any) -> Derived:
    """Compute a derived table and keep it beside the table, or in the user's cache where that cannot be written.

    Parameters
    ----------
    table
        An open table.
    kind
        ``"map"``: columns ``Metadata_UMAP1`` and ``Metadata_UMAP2``, options ``centred`` (each plate's mean goes
        first) and ``seed``. ``"neighbours"``: ``Metadata_NearestDistance`` and ``Metadata_LabelAgreement``, over the
        10 nearest rows of other wells. ``"clusters"``: ``Metadata_Cluster``, options ``clusters`` and ``seed``.
    report
        Called with (done, total); may raise to stop.
    """
    wanted = _wanted(kind, options)
    makers: dict[Kind, Callable[..., Derived]] = {"map": _map, "neighbours": _neighbours, "clusters": _clusters}
    made = makers[kind](table, wanted, report or (lambda done, total: None))
    info = {**wanted, "made_from": fingerprint(table.path), "note": made.note}
    for path in _places(table.path, kind, wanted):
        try:
            write_parquet(path, made.columns, {}, info)
        except UserError:
            continue
        break
    return made


def demo_axes(centred: bool) -> tuple[str, str]:
    """Columns of the demo's maps."""
    return (f"{PREFIX}CentredUMAP1", f"{PREFIX}CentredUMAP2") if centred else AXES


def centred_per_plate(features_ND: NDArray[np.float32], plates_N: NDArray[Any]) -> NDArray[np.float32]:
    """Rows less the mean of their plate's finite rows, (N, D)."""
    from .queries import finite_rows

    centred = np.array(features_ND, np.float32)
    finite = finite_rows(centred)
    for plate in pd.unique(plates_N):
        own = np.flatnonzero((plates_N == plate) & finite)
        if own.size:
            centred[own] -= centred[own].mean(axis=0, dtype=np.float64).astype(np.float32)
    return centred


def centred_features(table: TableView) -> NDArray[np.float32]:
    """A table's features less the mean of each plate, (N, D): what all wells of a plate share is gone.

    Raises
    ------
    UserError
        When the table has no column of plates.
    """
    plates = table.roles.plate
    if plates is None:
        raise UserError(f"{table.path.name} has no column of plates, so its rows cannot be centred per plate.")
    return centred_per_plate(table.features(), table.metadata[plates].astype(str).to_numpy())


def _wanted(kind: Kind, options: dict[str, Any]) -> dict[str, Any]:
    known: dict[Kind, dict[str, Any]] = {
        "map": {"centred": False, "seed": 0},
        "neighbours": {"k": 10},
        "clusters": {"clusters": 12, "seed": 0},
    }
    if kind not in known or set(options) - set(known[kind]):
        raise UserError(f"Unknown table {kind} with {', '.join(options) or 'no options'}.")
    return {"kind": kind, "version": _VERSION, **known[kind], **options}


def _places(table: Path, kind: Kind, wanted: dict[str, Any]) -> list[Path]:
    import platformdirs

    option = ""
    if kind == "map" and wanted["centred"]:
        option = "-centred"
    if kind == "clusters":
        option = f"-{wanted['clusters']}"
    beside = derived_path(table, kind, option)
    cache = Path(platformdirs.user_cache_dir("sslprofiler")) / fingerprint(table)
    return [beside, cache / beside.name]


def _is_of_demo(table: TableView, info: dict[str, Any]) -> bool:
    path = table.path
    if "profiles" not in info or not path.is_file() or path.stat().st_size > _READ_TO_CHECK:
        return False
    digest = hashlib.sha256(np.ascontiguousarray(table.features()).tobytes()).hexdigest()[:16]
    return bool(info["profiles"] == digest)


def _map(table: TableView, wanted: dict[str, Any], report: Report) -> Derived:
    from .layout import map_rows

    features = centred_features(table) if wanted["centred"] else table.features()
    positions, note = map_rows(features, seed=wanted["seed"], report=report)
    if wanted["centred"]:
        note += " Each plate was centred first."
    return Derived(pd.DataFrame(positions, columns=list(AXES)), note)


def _neighbours(table: TableView, wanted: dict[str, Any], report: Report) -> Derived:
    from .nearest import neighbours
    from .queries import finite_rows, row_codes

    features = table.features()
    rows = np.flatnonzero(finite_rows(features))
    nearest = np.full(len(table), np.nan, np.float32)
    agree = np.full(len(table), np.nan, np.float32)
    codes = row_codes(table.metadata, table.roles)
    wells = codes.get("well", np.arange(len(table)))[rows]
    labels = codes.get("compound")
    # Rows of the same well are each other's nearest by nature, so as many more are looked at.
    same = int(np.bincount(wells[wells >= 0]).max(initial=1)) if rows.size else 1
    k = min(wanted["k"] + same, len(rows))
    step = 2048
    own = features[rows]
    for start in range(0, len(rows) if k > 1 else 0, step):
        indices, distances = neighbours(own[start : start + step], own, k)
        here = np.arange(start, min(start + step, len(rows)))
        other = indices != here[:, None]
        other &= (wells[indices] != wells[here][:, None]) | (wells[here] < 0)[:, None]
        other &= np.cumsum(other, axis=1) <= wanted["k"]
        some = other.any(axis=1)
        nearest[rows[here[some]]] = distances[some, other[some].argmax(axis=1)]
        if labels is not None:
            theirs, mine = labels[rows[indices]], labels[rows[here]][:, None]
            known = other & (theirs >= 0)
            counted = (mine[:, 0] >= 0) & known.any(axis=1)
            share = (known & (theirs == mine)).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
            agree[rows[here[counted]]] = share[counted]
        report(min(start + step, len(rows)), len(rows))
    columns = pd.DataFrame({f"{PREFIX}NearestDistance": nearest, f"{PREFIX}LabelAgreement": agree})
    return Derived(columns, f"Cosine distance over the {wanted['k']} nearest rows of other wells.")


def _clusters(table: TableView, wanted: dict[str, Any], report: Report) -> Derived:
    from .clusters import cluster_rows

    report(0, 1)
    clusters = cluster_rows(table.features(), wanted["clusters"], wanted["seed"])
    report(1, 1)
    columns = pd.DataFrame({f"{PREFIX}Cluster": clusters})
    return Derived(columns, f"k-means, k = {wanted['clusters']}, on 50 principal axes of unit vectors.")


def main(argv: Sequence[str] | None = None) -> int:
    """Make one derived table: what the browser's child process does."""
    parser = argparse.ArgumentParser(prog="python -m sslprofiler_core.exploring.derived")
    parser.add_argument("table", type=Path)
    parser.add_argument("kind", choices=list(_SUFFIXES))
    parser.add_argument("--centred", action="store_true")
    parser.add_argument("--clusters", type=int)
    arguments = parser.parse_args(argv)
    options: dict[str, Any] = {"centred": True} if arguments.centred else {}
    if arguments.clusters is not None:
        options["clusters"] = arguments.clusters
    labels = {"map": "Laying out the map", "neighbours": "Finding neighbours", "clusters": "Finding clusters"}
    try:
        with progress_bar(100, labels[arguments.kind], "%") as bar:

            def report(done: int, total: int) -> None:
                bar.update(100 * done // max(total, 1) - bar.n)

            make_derived(open_table(arguments.table), arguments.kind, report, **options)
    except UserError as error:
        print(f"sslprofiler: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
