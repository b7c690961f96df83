"""What is wrong with a table of wells before anything is scored: repeated rows, plates that stand twice, no plate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import WellsTable

LARGEST = 1e15  # squares of larger values, and of the inverse, leave what single precision holds
SAMPLED = 64  # values that make a row's key; equal keys are compared whole


def check_wells(table: WellsTable) -> tuple[WellsTable, list[str], list[str]]:
    """Take rows that repeat another row out, and say what else would fool a score.

    Parameters
    ----------
    table
        As read.

    Returns
    -------
    table, warnings, notes
        The table without rows that have plate, well and values of an earlier one. A warning is what makes scores wrong:
        profiles that stand on several plates, so that training wells hold the tested ones. A note is what to know.

    Raises
    ------
    UserError
        For wells without plate or position, profiles that are all the same, or values beyond single precision.
    """
    metadata, values = table.metadata, table.profiles
    warnings: list[str] = []
    notes: list[str] = []
    for name in ("Metadata_Plate", "Metadata_Well"):
        empty = int(metadata[name].isna().sum())
        if empty:
            raise UserError(f"{empty} of {len(metadata)} wells have no {name}. Fill the column, or drop those rows.")
    same = (values == values[0]).all(axis=0)
    if len(values) > 1 and same.all():
        raise UserError("All profiles are the same: there is nothing to compare. Check how the table was made.")
    largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    if largest and not 1.0 / LARGEST < largest < LARGEST:
        raise UserError(
            f"The largest value of these profiles is {largest:.2g}, and the squares that distances are made of leave "
            "what single precision holds. Scale the features, or leave out the one that is so large."
        )
    plates = metadata["Metadata_Plate"].astype(str).to_numpy(str)
    places = plates + np.array("\t") + metadata["Metadata_Well"].astype(str).to_numpy(str)
    first = first_equal(values)
    repeated = (first != np.arange(len(values))) & (places[first] == places)
    twins = (first != np.arange(len(values))) & (plates[first] != plates) & values.any(axis=1)
    if repeated.any():
        notes.append(f"{int(repeated.sum())} rows repeat plate, well and values of another row, and are left out.")
    if twins.any():
        pairs = sorted({tuple(sorted((str(plates[first[i]]), str(plates[i])))) for i in np.flatnonzero(twins)})
        some = "; ".join(" and ".join(pair) for pair in pairs[:3]) + ("; ..." if len(pairs) > 3 else "")
        warnings.append(
            f"{int(twins.sum())} profiles stand on two plates ({some}), value for value: a tested well then finds "
            "itself. If a plate is in the table under two names, take one of them out."
        )
    if repeated.any():
        rows = np.flatnonzero(~repeated)
        table = WellsTable(metadata.iloc[rows].reset_index(drop=True), values[rows], table.info)
        places = places[rows]
    several = len(places) - len(np.unique(places))
    if several:
        notes.append(f"{several} wells stand in the table more than once with other values; each row is scored.")
    if same.any() and len(values) > 1:
        notes.append(f"{int(same.sum())} of {values.shape[1]} features are the same in all wells and tell nothing.")
    return table, warnings, notes


def first_equal(values_WD: NDArray[np.float32]) -> NDArray[np.int64]:
    """The first row that equals each row, value for value: itself, mostly. (W,)."""
    columns = np.unique(np.linspace(0, values_WD.shape[1] - 1, SAMPLED).astype(np.int64))
    sample = np.ascontiguousarray(values_WD[:, columns])
    keys = sample.view(np.dtype((np.void, sample.dtype.itemsize * sample.shape[1]))).ravel()
    _, start, code = np.unique(keys, return_index=True, return_inverse=True)
    first = np.arange(len(values_WD))
    for row in np.flatnonzero(start[code] != first):
        for other in np.flatnonzero(code[:row] == code[row]):
            if first[other] == other and np.array_equal(values_WD[other], values_WD[row]):
                first[row] = other
                break
    return first
