"""Which columns of a table are plate, well, site, label and cell line, whoever wrote it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.profiling.csv_files import PLATE_NAMES, WELL_NAMES

PREFIX = "Metadata_"

# Names without prefix and case, the first found wins, as for plates and wells.
_SITE = ("site", "field", "fieldid", "site_id", "fov", "field_id")
_LABEL = (
    "compound",
    "compound_name",
    "pert_iname",
    "perturbation",
    "treatment",
    "broad_sample",
    "jcp2022",
    "gene",
    "symbol",
    "condition",
    "moa",
)
_CELL_LINE = ("celltype", "cell_type", "cell_line", "cellline", "cell_id", "cells")
_CONTROLS = (("control_type", "negcon"), ("pert_type", "negcon"), ("control", "negcon"))
_VEHICLES = {"dmso", "vehicle", "negcon", "untreated"}


@dataclass(frozen=True, slots=True)
class Roles:
    """Columns by what they say; None where no column does."""

    plate: str | None = None
    well: str | None = None
    site: str | None = None
    label: str | None = None
    cell_line: str | None = None


def roles_of(metadata: pd.DataFrame) -> Roles:
    """Tell columns apart by their names; a column without any value has no role."""
    by_name = {
        str(column).removeprefix(PREFIX).casefold(): str(column)
        for column in reversed(metadata.columns)
        if metadata[column].notna().any()
    }

    def first(names: tuple[str, ...]) -> str | None:
        return next((by_name[name] for name in names if name in by_name), None)

    return Roles(first(PLATE_NAMES), first(WELL_NAMES), first(_SITE), first(_LABEL), first(_CELL_LINE))


def natural_names(metadata: pd.DataFrame) -> pd.DataFrame:
    """Columns as ``Metadata_...``, each name once: CellProfiler's ``Image_Metadata_Plate`` is ``Metadata_Plate``."""
    names: list[str] = []
    for column in metadata.columns:
        plain = str(column).removeprefix("Image_")
        name = plain if plain.startswith(PREFIX) else PREFIX + plain
        stem, number = name, 2
        while name in names:
            name = f"{stem}_{number}"
            number += 1
        names.append(name)
    return metadata.set_axis(names, axis="columns")


def control_rows(metadata: pd.DataFrame, roles: Roles | None = None) -> NDArray[np.bool_]:
    """Mark negative controls, (N,): a control type "negcon", else a label such as DMSO, in capitals or not; maybe none.

    Of several columns that may tell, the first counts that names any.
    """
    by_name = {str(column).removeprefix(PREFIX).casefold(): str(column) for column in reversed(metadata.columns)}
    own = (roles or roles_of(metadata)).label
    labels = ([own] if own is not None else []) + [by_name[name] for name in _LABEL if name in by_name]
    tells = [(by_name[name], {value}) for name, value in _CONTROLS if name in by_name]
    for column, values in (*tells, *((column, _VEHICLES) for column in labels)):
        found = metadata[column].astype("string").str.casefold().isin(values).to_numpy(bool)
        if found.any():
            return found
    return np.zeros(len(metadata), bool)


def short_name(column: str) -> str:
    """A column as people read it: without the prefix."""
    return column.removeprefix(PREFIX)
