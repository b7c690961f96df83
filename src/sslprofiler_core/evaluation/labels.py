"""Which column holds the labels, and which wells are controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

LABELS = ("Metadata_Compound", "Metadata_broad_sample")
NEGATIVE = ("Metadata_control_type", "negcon")
VEHICLE = "DMSO"


def choose_label(metadata: pd.DataFrame, label: str | None = None) -> str:
    """Name the column of labels.

    Parameters
    ----------
    metadata
        Of a wells table.
    label
        A column, with or without ``Metadata_``; None for ``Metadata_Compound``, else ``Metadata_broad_sample``.

    Raises
    ------
    UserError
        When there is no such column: it lists those there are.
    """
    if label is None:
        for name in LABELS:
            if name in metadata and metadata[name].notna().any():
                return name
        raise UserError(f"No column {LABELS[0]} holds labels. {_columns(metadata)}")
    return _column(metadata, label)


def control_wells(metadata: pd.DataFrame, control: str | None = None) -> NDArray[np.bool_]:
    """Mark the negative controls.

    Parameters
    ----------
    metadata
        Of a wells table.
    control
        ``COLUMN=VALUE``, the column with or without ``Metadata_``; None for ``Metadata_control_type=negcon`` where that
        marks any well, else for ``Metadata_Compound=DMSO``.

    Returns
    -------
    bool (W,): no well may be a control when ``control`` is None.

    Raises
    ------
    UserError
        For a column that is not there, or a named control that no well is.
    """
    if control is None:
        for name, value in (NEGATIVE, (LABELS[0], VEHICLE)):
            if name in metadata:
                found = (metadata[name] == value).to_numpy(bool, na_value=False)
                if found.any():
                    return found
        return np.zeros(len(metadata), bool)
    name, equals, value = control.partition("=")
    if not equals or not name:
        raise UserError(f"--control {control!r} is not COLUMN=VALUE, for example Metadata_control_type=negcon.")
    column = _column(metadata, name.strip())
    value = value.strip()
    found = (metadata[column].astype("string").fillna("") == value).to_numpy(bool)
    if not found.any():
        some = sorted(metadata[column].dropna().astype(str).unique())[:5]
        raise UserError(f"No well has {column}={value}. Values there: {', '.join(some)}.")
    return found


def _column(metadata: pd.DataFrame, name: str) -> str:
    for candidate in (name, f"Metadata_{name}"):
        if candidate in metadata:
            return candidate
    raise UserError(f"There is no column {name!r}. {_columns(metadata)}")


def _columns(metadata: pd.DataFrame) -> str:
    return f"Columns there: {', '.join(str(c) for c in metadata.columns)}. Name one with --label or --control."
