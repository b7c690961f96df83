"""Metadata of wells: which compound, which cell line, from plate maps and tables of plates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sslprofiler_core.errors import UserError

from .metadata_files import BATCH, PLATE, PLATE_MAP, SAMPLE, WELL, Table, Tables, combine, read_tables
from .types import Plate, well_position

COMPOUND, CELL_TYPE, CONTROL = "Metadata_Compound", "Metadata_CellType", "Metadata_control_type"
_NAME, _SOLVENT = "Metadata_pert_iname", "Metadata_solvent"


def load_metadata(path: Path | str, plates: Sequence[str] | Sequence[Plate] | None = None) -> pd.DataFrame:
    """Load what is known about wells.

    Parameters
    ----------
    path
        A file or a folder of files (CSV or TSV), each one of: a plate map (``well_position``, ``broad_sample``), for
        the plates whose ``Plate_Map_Name`` is its name, or for all when no table of plates says so; a table of plates
        (``Assay_Plate_Barcode``); a table of compounds (``broad_sample``); a plain table with ``Metadata_`` columns,
        keyed by ``Metadata_Plate`` and ``Metadata_Well``, or by one of them (a well's row then holds for every plate).
    plates
        Only these plates. Given as opened plates rather than names, their imaged wells are all in the result: wells
        that no table knows have no values, and a table of plates is enough.

    Returns
    -------
    A table of text, one row a well, by plate and well: ``Metadata_Plate``, ``Metadata_Well``, ``Metadata_Compound``
    (``pert_iname``, else ``broad_sample``; where ``broad_sample`` is empty the solvent, "DMSO" when no column names
    it), ``Metadata_CellType`` (from ``Cell_type``: CPJUMP1's ``Cell_line`` says "Parental"), and every other column as
    ``Metadata_<its name>``. DMSO wells without a ``control_type`` are "negcon", as in CPJUMP1's public profiles. What
    is not known is NaN. A plate that stands in several batches has the values of the batch with the shortest name.
    ``attrs["warnings"]`` lists in words what was left out or not covered.

    Raises
    ------
    UserError
        For files that can't be used, and when none of the given plates is in them. (When some are, the others are
        named in the warnings: a partly annotated screen is usual.)
    """
    tables = read_tables(Path(path))
    warnings = list(tables.warnings)
    opened = {plate.name: plate.wells for plate in plates or () if isinstance(plate, Plate)}
    wanted = [plate if isinstance(plate, str) else plate.name for plate in plates] if plates is not None else None
    of_plates = combine((_one_row_a_plate(table, wanted, warnings) for table in tables.plates), [PLATE])
    rows = _well_rows(tables, of_plates, wanted, warnings)
    if wanted is not None:
        rows = rows[rows[PLATE].isin(wanted)]
        _refuse_unknown(Path(path), tables, of_plates, rows, wanted, warnings)
    rows = _add_imaged(rows, opened, bool(tables.wells or tables.maps), warnings)
    if rows.empty:
        raise UserError(f"{path} names no wells ({tables.names}). Add a plate map with a column well_position.")
    rows = rows.merge(_without(of_plates, rows, PLATE), on=PLATE, how="left")
    if SAMPLE in rows and tables.compounds:
        compounds = combine((table.frame for table in tables.compounds), [SAMPLE])
        rows = rows.merge(_without(compounds, rows, SAMPLE), on=SAMPLE, how="left")
    return _finish(rows, warnings)


def _one_row_a_plate(table: Table, wanted: list[str] | None, warnings: list[str]) -> pd.DataFrame:
    """Keep a plate's row of the batch with the shortest name: CPJUMP1's table has plates under "_DL" and others too."""
    frame = table.frame if wanted is None else table.frame[table.frame[PLATE].isin(wanted)]
    if BATCH in frame:
        frame = frame.sort_values(BATCH, key=lambda batch: batch.str.len(), kind="stable")
    counts = frame.drop(columns=BATCH, errors="ignore").groupby(PLATE).nunique()
    differing = counts[(counts > 1).any(axis=1)]
    if len(differing):
        columns = ", ".join(name.removeprefix("Metadata_") for name in counts.columns[(counts > 1).any()])
        which = "of the batch with the shortest name" if BATCH in frame else "that comes first"
        warnings.append(
            f"{table.path.name} lists {_count(len(differing), 'plate')} several times with different {columns} "
            f"(the first: {differing.index[0]}): the row {which} is used."
        )
    return frame.drop_duplicates(PLATE).sort_values(PLATE)


def _well_rows(tables: Tables, of_plates: pd.DataFrame, wanted: list[str] | None, warnings: list[str]) -> pd.DataFrame:
    """Write out every well of every plate that the tables name."""
    known = list(dict.fromkeys([*of_plates[PLATE], *(p for table in tables.wells for p in table.frame[PLATE])]))
    every = known if wanted is None else wanted
    maps_named = PLATE_MAP in of_plates
    frames = [table.frame for table in tables.wells]
    for table in tables.maps:
        names = every
        if maps_named and (SAMPLE in table.frame or table.stem in set(of_plates[PLATE_MAP])):
            names = list(of_plates.loc[of_plates[PLATE_MAP] == table.stem, PLATE])
            if not names and wanted is None:
                warnings.append(f"{table.path.name} is the plate map of no plate: not used.")
        elif len([other for other in tables.maps if SAMPLE in other.frame]) > 1 and SAMPLE in table.frame:
            raise UserError(
                f"{table.path.parent} has several plate maps, and no table says which plate has which. "
                "Add a table with Assay_Plate_Barcode and Plate_Map_Name."
            )
        elif not names:
            raise UserError(f"{table.path} names no plates. Add a table with Assay_Plate_Barcode, or give the plates.")
        frames.append(table.frame.merge(pd.DataFrame({PLATE: names}, dtype=table.frame[WELL].dtype), how="cross"))
    if maps_named and tables.maps and wanted is None:
        stems = {table.stem for table in tables.maps}
        lacking = of_plates[~of_plates[PLATE_MAP].isin(stems)]
        if len(lacking):
            files = ", ".join(sorted(set(lacking[PLATE_MAP])))
            warnings.append(f"{_count(len(lacking), 'plate')} left out: the plate maps are not there ({files}).")
    if len(frames) > 1:
        _note_conflicts([frame[frame[PLATE].isin(every)] for frame in frames], warnings)
    rows = combine(frames, [PLATE, WELL])
    return rows if WELL in rows else rows.assign(**{WELL: ""})


def _note_conflicts(frames: Sequence[pd.DataFrame], warnings: list[str]) -> None:
    """Say where tables disagree about a well, such as an old plate map beside the new one."""
    cells = pd.concat([frame.melt([PLATE, WELL]) for frame in frames])
    cells = cells[cells["value"] != ""].drop_duplicates()
    doubles = cells[cells.duplicated([PLATE, WELL, "variable"])]
    if len(doubles):
        plate, well, column, other = doubles.iloc[0]
        first = cells[(cells[PLATE] == plate) & (cells[WELL] == well) & (cells["variable"] == column)].iloc[0]["value"]
        wells = len(doubles.drop_duplicates([PLATE, WELL]))
        warnings.append(
            f"Tables say different things of {_count(wells, 'well')} (the first: {plate} {well}, "
            f"{column.removeprefix('Metadata_')} {first!r} and {other!r}): what comes first is used."
        )


def _refuse_unknown(
    path: Path,
    tables: Tables,
    of_plates: pd.DataFrame,
    rows: pd.DataFrame,
    wanted: list[str],
    warnings: list[str],
) -> None:
    """Find the plates that no table says anything about: an error when it is all of them, else a warning each."""
    covered = set(rows[PLATE])
    if not (tables.wells or tables.maps):
        covered |= set(of_plates[PLATE])
    reasons = []
    for name in dict.fromkeys(wanted):
        if name in covered:
            continue
        listed = of_plates[of_plates[PLATE] == name]
        if len(listed) and PLATE_MAP in listed and tables.maps:
            plate_map = listed.iloc[0][PLATE_MAP]
            reasons.append(f"Plate {name} has the plate map {plate_map}, which is not in {path}.")
        else:
            reasons.append(f"Plate {name} is not in {tables.names} ({path}).")
    if reasons and not covered:
        raise UserError(f"{reasons[0]} Add it, or check that the plate's folder has the plate's name.")
    warnings += [f"{reason} Its wells have no metadata." for reason in reasons]


def _add_imaged(
    rows: pd.DataFrame, opened: dict[str, tuple[str, ...]], mapped: bool, warnings: list[str]
) -> pd.DataFrame:
    known = set(zip(rows[PLATE], rows[WELL], strict=True))
    missing = [(name, well) for name, wells in opened.items() for well in wells if (name, well) not in known]
    if not missing:
        return rows
    if mapped:
        plates = dict.fromkeys(name for name, _ in missing if name in set(rows[PLATE]))
        warnings += [
            f"{_count(sum(name == plate for name, _ in missing), 'imaged well')} of plate {plate} in no table "
            f"(the first: {next(well for name, well in missing if name == plate)})."
            for plate in plates
        ]
    return pd.concat([rows, pd.DataFrame(missing, columns=[PLATE, WELL])], ignore_index=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _without(table: pd.DataFrame, rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Leave out columns that the rows have already: what is said of a well goes before what is said of its plate."""
    return table[[column for column in table.columns if column == key or column not in rows.columns]]


def _finish(rows: pd.DataFrame, warnings: list[str]) -> pd.DataFrame:
    empty_sample = rows[SAMPLE] == "" if SAMPLE in rows else pd.Series(False, index=rows.index)
    rows = rows.astype(object).where(lambda frame: frame.notna() & (frame != ""), np.nan)
    absent = pd.Series(np.nan, index=rows.index, dtype=object)
    solvent: pd.Series[Any] = rows[_SOLVENT] if _SOLVENT in rows else absent.mask(empty_sample, "DMSO")
    compound = rows.get(COMPOUND, absent).fillna(rows.get(_NAME, absent)).fillna(rows.get(SAMPLE, absent))
    rows[COMPOUND] = compound.fillna(solvent.where(empty_sample))
    rows[CELL_TYPE] = rows.get(CELL_TYPE, absent)
    dmso = rows[COMPOUND].str.upper() == "DMSO"
    if dmso.any():
        rows[CONTROL] = rows.get(CONTROL, absent).mask(lambda control: control.isna() & dmso, "negcon")
    first = [PLATE, WELL, COMPOUND, CELL_TYPE]
    rows = rows[[*first, *(column for column in rows.columns if column not in first)]]
    places = [(plate, well_position(well)) for plate, well in zip(rows[PLATE], rows[WELL], strict=True)]
    order = sorted(range(len(rows)), key=places.__getitem__)
    result = rows.iloc[order].reset_index(drop=True)
    if int(pd.__version__.partition(".")[0]) >= 3:  # before, "str" turned NaN into text
        result = result.astype("str")
    result.attrs["warnings"] = warnings
    return result
