"""Which column holds the labels, and which wells are controls."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring.roles import control_rows

LABELS = ("Metadata_Compound", "Metadata_broad_sample", "Metadata_pert_iname", "Metadata_Gene", "Metadata_gene")
GROUPS = ("Metadata_Gene", "Metadata_gene", "Metadata_Target", "Metadata_target", "Metadata_MOA", "Metadata_moa")


def choose_label(metadata: pd.DataFrame, label: str | None = None) -> str:
    """Name the column of labels.

    Parameters
    ----------
    metadata
        Of a wells table.
    label
        A column, with or without ``Metadata_``; None for the first of `LABELS` with values.

    Raises
    ------
    UserError
        When there is no such column: it lists those there are.
    """
    if label is None:
        for name in LABELS:
            if name in metadata and metadata[name].notna().any():
                return name
        raise UserError(
            f"No column {LABELS[0]} holds labels. Give `sslprofiler embed` the plates' metadata, or name a column with "
            f"--label. {_columns(metadata)}"
        )
    return _column(metadata, label)


def choose_group(metadata: pd.DataFrame, label: str, group: str | None = None) -> str | None:
    """Name the column of what labels have in common, such as the gene that several compounds hit.

    Parameters
    ----------
    metadata
        Of a wells table.
    label
        The column of labels.
    group
        A column, with or without ``Metadata_``; None for the first of the usual ones in which some labels share a
        value.

    Returns
    -------
    The column, None where there is none.

    Raises
    ------
    UserError
        When the named column is not there.
    """
    if group is not None:
        return _column(metadata, group)
    for name in GROUPS:
        if name in metadata and name != label:
            pairs = metadata[[label, name]].dropna().drop_duplicates()
            # A label belongs to one group, and a group has several labels.
            if not pairs[label].duplicated().any() and pairs[name].duplicated().any():
                return name
    return None


def control_wells(metadata: pd.DataFrame, control: str | None = None) -> NDArray[np.bool_]:
    """Mark the negative controls.

    Parameters
    ----------
    metadata
        Of a wells table.
    control
        ``COLUMN=VALUE``, the column with or without ``Metadata_``; None as `exploring.control_rows` finds them:
        ``Metadata_control_type=negcon`` where that marks any well, else a label such as ``DMSO``.

    Returns
    -------
    bool (W,): no well may be a control when ``control`` is None.

    Raises
    ------
    UserError
        For a column that is not there, or a named control that no well is.
    """
    if control is None:
        return control_rows(metadata)
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
    raise UserError(f"There is no column {name!r}. {_columns(metadata)} Name one of them.")


def _columns(metadata: pd.DataFrame) -> str:
    return f"Columns there: {', '.join(str(c) for c in metadata.columns)}."
