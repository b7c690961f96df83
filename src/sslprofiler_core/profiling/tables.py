"""Sites tables and wells tables: ``Metadata_`` columns first, features as vectors, the story in the file's metadata.

A sites table is a folder with one part a plate, so that a killed ``embed`` loses at most the plate it was at. A wells
table is one file. Tables made by others, one column a feature, are read as wells tables too.
"""

from __future__ import annotations

import urllib.parse
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .csv_files import is_csv, read_csv
from .parquet import (
    open_parquet,
    read_metadata_columns,
    read_parquet,
    schema_info,
    vector_columns,
    write_parquet,
)

PROFILE = "profile"
KEYS = ("Metadata_Plate", "Metadata_Well")

# Numbers that count rows: CellProfiler's, and the index that pandas writes as a column.
_ROW_NUMBERS = {"imagenumber", "objectnumber", "unnamed: 0", "index", "__index_level_0__"}
# Columns that say what a row is, in tables whose columns have no prefix.
_FACTS = {"plate", "well", "site", "field", "row", "col", "column", "batch", "dose", "concentration", "time"}


@dataclass(frozen=True, slots=True)
class SitesTable:
    """Embeddings of sites: ``metadata`` has S rows, ``features`` maps ``<group>_cls``, ``<group>_patch`` to (S, D)."""

    metadata: pd.DataFrame
    features: dict[str, NDArray[np.float32]]
    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class WellsTable:
    """Profiles of wells: ``metadata`` has W rows, ``profiles`` is float32 (W, D).

    ``names`` are the features' of a table made by others, D of them; empty for ours.
    """

    metadata: pd.DataFrame
    profiles: NDArray[np.float32]
    info: dict[str, Any]
    names: tuple[str, ...] = ()


def write_sites_part(
    folder: Path | str,
    plate: str,
    metadata: pd.DataFrame,
    features: Mapping[str, NDArray[np.float32]],
    info: Mapping[str, Any],
) -> Path:
    """Write one plate's part of a sites table, whole or not at all; an earlier part of the plate is replaced.

    Parameters
    ----------
    folder
        The sites table, for example ``sites.parquet``.
    plate
        The plate's name, which names the part.
    metadata
        S rows with ``Metadata_Plate``, ``Metadata_Well``, ``Metadata_Site`` (the field number) and any others. Stage
        positions, where known, are ``Metadata_PositionX`` and ``Metadata_PositionY`` in micrometres.
    features
        ``<group>_cls`` and ``<group>_patch`` -> (S, D).
    info
        Version, runs, channels, where the plates are.

    Returns
    -------
    The part's path.
    """
    part = part_path(folder, plate)
    write_parquet(part, _metadata_first(metadata, "Metadata_Site"), features, info)
    return part


def part_path(folder: Path | str, plate: str) -> Path:
    """Where a plate's part of a sites table is: there when the plate has been embedded."""
    return Path(folder) / f"{urllib.parse.quote(plate, safe=' ()+,=@')}.parquet"


def sites_parts(path: Path | str) -> list[Path]:
    """The parts of a sites table in order of their names; unfinished files are passed over.

    Raises
    ------
    UserError
        When there is no such table, or it has no part.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"There is no sites table {path}. Make one with `sslprofiler embed`.")
    parts = sorted(part for part in path.glob("*.parquet") if not part.name.startswith("."))
    if not parts:
        raise UserError(f"{path} has no part: no plate in it has been embedded. Make one with `sslprofiler embed`.")
    return parts


def read_sites(path: Path | str, features: Collection[str] | None = None) -> SitesTable:
    """Read a sites table whole.

    Parameters
    ----------
    path
        The table's folder, or one of its parts.
    features
        Feature columns to read, None for all; ``()`` reads metadata only.

    Raises
    ------
    UserError
        For a path that is no sites table, or parts that do not belong together.
    """
    tables = [read_sites_part(part, features) for part in sites_parts(path)]
    first = tables[0]
    shapes = {name: array.shape[1] for name, array in first.features.items()}
    for table, part in zip(tables, sites_parts(path), strict=True):
        if {name: array.shape[1] for name, array in table.features.items()} != shapes:
            raise UserError(f"{part} has other feature columns than the table's first part. Embed its plate again.")
    metadata = pd.concat([table.metadata for table in tables], ignore_index=True)
    arrays = {name: np.concatenate([table.features[name] for table in tables]) for name in shapes}
    return SitesTable(metadata, arrays, first.info)


def read_sites_part(part: Path, features: Collection[str] | None = None) -> SitesTable:
    """Read one plate's part of a sites table; see `read_sites`."""
    metadata, arrays, info = read_parquet(part, features)
    missing = [name for name in (*KEYS, "Metadata_Site") if name not in metadata]
    if missing:
        raise UserError(
            f"{part} is not a sites table: it has no column {missing[0]}. Make one with `sslprofiler embed`."
        )
    return SitesTable(metadata, arrays, info)


def write_wells(
    path: Path | str, metadata: pd.DataFrame, profiles_WD: NDArray[np.floating[Any]], info: Mapping[str, Any]
) -> Path:
    """Write a wells table, whole or not at all.

    Parameters
    ----------
    path
        The file.
    metadata
        W rows with ``Metadata_Plate`` and ``Metadata_Well``.
    profiles_WD
        (W, D), stored as the float32 column ``profile``.
    info
        As of the sites table, and any alignment applied.
    """
    path = check_wells_path(path)
    write_parquet(path, _metadata_first(metadata), {PROFILE: np.asarray(profiles_WD, np.float32)}, info)
    return path


def check_wells_path(path: Path | str) -> Path:
    """Refuse a path that no wells table can have, before there is one to write."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder. Name a file for the wells table, for example {path / 'wells.parquet'}.")
    return path


def read_wells(path: Path | str | Sequence[Path | str]) -> WellsTable:
    """Read a wells table, or a table of profiles made by others.

    Parameters
    ----------
    path
        A wells table; a Parquet, CSV or TSV file (or .gz) with ``Metadata_`` columns and one numeric column a
        feature, as CellProfiler and pycytominer make; an AnnData file (``.h5ad``); or several files, whose rows are put
        together.

    Raises
    ------
    UserError
        For a file that is no table or has no profile, or features that are empty, infinite or not numbers: their
        count and their first names. For tables of several models, or profiled in several ways.
    """
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(p) for p in path]
    if not paths:
        raise UserError("No table of wells given. Name at least one.")
    tables = [_read_wells_file(p) for p in paths]
    names = _common_names([t[1] for t in tables], paths)
    _refuse_mixed([t[3] for t in tables], paths)
    metadata = pd.concat([t[0] for t in tables], ignore_index=True)
    arrays = [t[2] if t[1] == names else t[2][:, _places(names, t[1])] for t in tables]
    profiles = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    info = dict(tables[0][3])
    aligned = next((t[3]["alignment"] for t in tables if t[3].get("alignment")), None)
    if aligned:
        info["alignment"] = aligned
    if not len(profiles):
        raise UserError(f"{paths[0]} has no wells. Check how it was made.")
    return WellsTable(metadata, profiles, info, names if isinstance(names, tuple) else ())


def read_metadata(path: Path | str) -> pd.DataFrame:
    """Read the ``Metadata_`` columns of a sites or wells table without its features."""
    path = Path(path)
    if path.is_dir():
        return pd.concat([read_metadata_columns(part) for part in sites_parts(path)], ignore_index=True)
    if is_csv(path):
        return read_csv(path, lambda name: name.startswith("Metadata_"))
    return read_metadata_columns(path)


def read_info(path: Path | str) -> dict[str, Any]:
    """Read what a table's metadata key ``sslprofiler`` holds: empty for tables made by others."""
    path = Path(path)
    if is_csv(path):
        return {}
    part = sites_parts(path)[0] if path.is_dir() else path
    return schema_info(open_parquet(part).schema_arrow, part)


def is_fact(name: str, number: bool) -> bool:
    """Whether a column of a table made by others says what a row is; ``number``: whether it holds numbers."""
    plain = name.removeprefix("Image_")
    return plain.startswith("Metadata_") or plain.lower() in _FACTS or not (number or is_row_number(name))


def is_row_number(name: str) -> bool:
    """Whether a column only counts rows: neither a fact nor a feature."""
    return name.removeprefix("Image_").lower() in _ROW_NUMBERS


def _metadata_first(metadata: pd.DataFrame, *keys: str) -> pd.DataFrame:
    wrong = [str(name) for name in metadata.columns if not str(name).startswith("Metadata_")]
    missing = [name for name in (*KEYS, *keys) if name not in metadata]
    if wrong or missing:
        raise ValueError(f"metadata columns: {wrong} lack the prefix Metadata_, {missing} are missing")
    first = [*KEYS, *keys]
    return metadata[first + [name for name in metadata.columns if name not in first]]


# One file's metadata, feature names (None: one vector column), profiles and info.
_Read = tuple[pd.DataFrame, tuple[str, ...] | int, NDArray[np.float32], dict[str, Any]]


def _read_wells_file(path: Path) -> _Read:
    if path.is_dir():
        raise UserError(f"{path} is a folder; a wells table is one file. Make one with `sslprofiler profile {path}`.")
    info: dict[str, Any] = {}
    if path.suffix.lower() == ".h5ad":
        from .anndata_files import read_anndata

        metadata, names, values = read_anndata(path)
        _check_keys(metadata, path)
        facts = [name for name in metadata.columns if str(name).startswith("Metadata_")]
        frame = pd.concat([metadata[facts], pd.DataFrame(values, columns=list(names))], axis=1)
    elif is_csv(path):
        frame = read_csv(path)
    else:
        schema = open_parquet(path).schema_arrow
        info = schema_info(schema, path)
        if PROFILE in vector_columns(schema):
            metadata, arrays, info = read_parquet(path, [PROFILE])
            profiles = arrays[PROFILE]
            _check_keys(metadata, path)
            bad = int((~np.isfinite(profiles)).any(axis=1).sum())
            if bad:
                raise UserError(
                    f"{path}: {bad} of {len(profiles)} profiles have empty or infinite values. "
                    "Embed and profile their plates again."
                )
            return metadata, profiles.shape[1], profiles, info
        frame = open_parquet(path).read().to_pandas(ignore_metadata=True)
    _check_keys(frame, path)
    metadata = frame[[name for name in frame.columns if str(name).startswith("Metadata_")]]
    features = frame.drop(columns=metadata.columns).select_dtypes("number")
    numbers = [str(name) for name in features.columns]
    features = features.loc[:, [not (is_fact(name, True) or is_row_number(name)) for name in numbers]]
    if not features.shape[1]:
        raise UserError(f"{path} has no column 'profile' and no numeric feature column. Give a table of well profiles.")
    profiles = features.to_numpy(np.float32, na_value=np.nan)
    bad_columns = np.flatnonzero(~np.isfinite(profiles).all(axis=0))
    if bad_columns.size:
        some = ", ".join(str(features.columns[i]) for i in bad_columns[:3])
        more = ", ..." if bad_columns.size > 3 else ""
        raise UserError(
            f"{path}: {bad_columns.size} of {features.shape[1]} features have empty or infinite values "
            f"({some}{more}). Drop those columns or fill them."
        )
    return metadata.copy(), tuple(map(str, features.columns)), profiles, info


def _check_keys(frame: pd.DataFrame, path: Path) -> None:
    missing = [name for name in KEYS if name not in frame]
    if missing:
        raise UserError(f"{path} is not a table of wells: it has no column {missing[0]}. Add it, or give another file.")


def _common_names(names: list[tuple[str, ...] | int], paths: list[Path]) -> tuple[str, ...] | int:
    first = names[0]
    if all(other == first for other in names):
        return first
    lists = [other for other in names if isinstance(other, tuple)]
    if len(lists) < len(names):
        other = next(p for p, n in zip(paths, names, strict=True) if n != first)
        raise UserError(
            f"{other} has profiles of another length or kind than {paths[0]}. Give tables made the same way."
        )
    common = set(lists[0]).intersection(*lists[1:])
    if not common:
        raise UserError(f"{paths[0]} and {paths[1]} have no feature in common. Give tables made the same way.")
    total = len(set().union(*lists))
    warnings.warn(f"The tables share {len(common)} of {total} features; the others are left out.", stacklevel=3)
    return tuple(name for name in lists[0] if name in common)


def _refuse_mixed(infos: list[dict[str, Any]], paths: list[Path]) -> None:
    for key, what in (("models", "were embedded by other models"), ("profile", "were made with other options")):
        known = [(path, info[key]) for path, info in zip(paths, infos, strict=True) if info.get(key) is not None]
        for path, value in known[1:]:
            if value != known[0][1]:
                raise UserError(
                    f"The profiles of {path} {what} than those of {known[0][0]}: distances between them mean nothing. "
                    "Give tables made the same way."
                )


def _places(names: tuple[str, ...] | int, own: tuple[str, ...] | int) -> list[int]:
    assert isinstance(names, tuple) and isinstance(own, tuple)
    where = {name: i for i, name in enumerate(own)}
    return [where[name] for name in names]
