"""Cross-plate alignment (paper 3.3.3): wells move toward the mean of their position over the plates.

In CPJUMP1 a compound sits at the same position on every plate, so a well's position is its label. An alignment that
uses the position of a test well gives the label away: random features then score 100 %. Whoever shows a score of
aligned profiles says which wells moved; ``sslprofiler_core.evaluation`` does.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError


def align(
    profiles_WD: NDArray[np.floating[Any]],
    plates_W: NDArray[Any],
    wells_W: NDArray[Any],
    alpha: float,
    moving_W: NDArray[np.bool_] | None = None,
    *,
    in_place: bool = False,
) -> NDArray[np.floating[Any]]:
    """Shift profiles toward the centre of their well position.

    Parameters
    ----------
    profiles_WD
        (W, D), float32 or float64; not changed unless ``in_place``.
    plates_W, wells_W
        Plate and well position of each row.
    alpha
        What is kept of a profile, 0 to 1: 1 leaves it, 0 puts the centre in its place.
    moving_W
        The rows that give centres and move, None for all. The others stay as they are.
    in_place
        Change the array given, which spares a copy of a large table.

    Returns
    -------
    (W, D), of the dtype given.

    Notes
    -----
    Paper 3.3.3: ``mu_w = 1 / N_p sum_j z_j^w`` over the plates j, then ``z_j^w <- alpha z_j^w + (1 - alpha) mu_w``. A
    plate counts once in its centre even where a well stands in the table twice (our choice). Sums are float64.
    """
    check_alpha(alpha)
    aligned = profiles_WD if in_place else np.array(profiles_WD)
    rows = np.arange(len(aligned)) if moving_W is None else np.flatnonzero(moving_W)
    if alpha == 1.0 or not rows.size:
        return aligned
    _, position = np.unique(np.asarray(wells_W)[rows], return_inverse=True)
    _, plate = np.unique(np.asarray(plates_W)[rows], return_inverse=True)
    _, pair, times = np.unique(
        position.astype(np.int64) * (plate.max() + 1) + plate, return_inverse=True, return_counts=True
    )
    weight = 1.0 / times[pair]
    order = np.argsort(position, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(position[order])) + 1):
        at, w = rows[members], weight[members]
        centre = (w @ aligned[at].astype(np.float64)) / w.sum()
        aligned[at] = alpha * aligned[at] + (1.0 - alpha) * centre
    return aligned


def align_plates(profiles: pd.DataFrame, alpha: float, plates: Collection[str] | None = None) -> pd.DataFrame:
    """Align a table of profiles across its plates (paper 3.3.3; see `align`).

    Parameters
    ----------
    profiles
        ``Metadata_Plate``, ``Metadata_Well``, and either a column ``profile`` of vectors or one numeric column a
        feature.
    alpha
        What is kept of a profile, 0 to 1.
    plates
        Only these plates give centres and move; None for all.

    Returns
    -------
    A new table with the same columns and rows.

    Raises
    ------
    UserError
        For a missing column, an unknown plate, or alpha out of range.
    """
    missing = [name for name in ("Metadata_Plate", "Metadata_Well") if name not in profiles]
    if missing:
        raise UserError(
            f"The table has no column {missing[0]}. Alignment needs the plate and the well of each profile."
        )
    own = profiles["Metadata_Plate"].to_numpy()
    moving = None
    if plates is not None:
        unknown = sorted(set(plates) - set(own))
        if unknown:
            raise UserError(
                f"The table has no plate {unknown[0]!r}. Its plates: {', '.join(map(str, sorted(set(own))))}."
            )
        moving = np.isin(own, list(plates))
    aligned = profiles.copy()
    if "profile" in profiles:
        values = np.stack([np.asarray(row) for row in profiles["profile"]])
        moved = align(values, own, profiles["Metadata_Well"].to_numpy(), alpha, moving)
        aligned["profile"] = pd.Series(list(moved), index=profiles.index, dtype=object)
        return aligned
    features = [name for name in profiles.select_dtypes("number").columns if not str(name).startswith("Metadata_")]
    if not features:
        raise UserError(
            "The table has no column 'profile' and no numeric feature column. Give a table of well profiles."
        )
    aligned[features] = align(
        profiles[features].to_numpy(np.float64), own, profiles["Metadata_Well"].to_numpy(), alpha, moving
    )
    return aligned


def check_alpha(alpha: float) -> None:
    """Refuse what `align_profiles` cannot take, before there is anything to align."""
    if not 0.0 <= alpha <= 1.0:
        raise UserError(f"alpha = {alpha} is out of range. Give the part of a profile to keep, from 0 to 1.")
