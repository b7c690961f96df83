"""Profiles made comparable: standardised plate by plate, sphered on controls, channel groups given their say.

Each function takes and gives an array (W, D) and works alone. ``in_place=True`` spares the copy of a large table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

Array = NDArray[np.floating[Any]]

# A deviation below this part of a feature's size is rounding: the feature is constant.
_CONSTANT = 1e-6
_RANK = 1e-6  # of the largest singular value
_ROWS = 512  # profiles worked on at once


def standardise_plates(
    profiles_WD: Array, plates_W: NDArray[Any], controls_W: NDArray[np.bool_] | None = None, *, in_place: bool = False
) -> Array:
    """Subtract each plate's mean and divide by its standard deviation, both of its controls.

    Parameters
    ----------
    profiles_WD
        (W, D), float32 or float64, finite.
    plates_W
        Plate of each row.
    controls_W
        Rows that give mean and deviation; None: all rows of a plate.
    in_place
        Change the array given.

    Returns
    -------
    (W, D). As pycytominer's ``normalize(method="standardize")`` plate by plate: the deviation is divided by the number
    of controls (not one less), and features that are constant among these are only centred.

    Raises
    ------
    UserError
        For a plate with fewer than two such rows.
    """
    profiles = profiles_WD if in_place else np.array(profiles_WD)
    for plate in dict.fromkeys(np.asarray(plates_W).tolist()):
        rows = np.flatnonzero(np.asarray(plates_W) == plate)
        fitted = rows if controls_W is None else rows[np.asarray(controls_W)[rows]]
        if len(fitted) < 2:
            what = "wells" if controls_W is None else "control wells"
            raise UserError(
                f"Plate {plate} has {len(fitted)} {what}: too few to standardise by. Name the controls with --control, "
                "standardise by all wells of a plate, or leave the plate out."
            )
        own = profiles[fitted].astype(np.float64)
        mean, deviation = own.mean(axis=0), own.std(axis=0)
        size = np.sqrt(np.square(own).mean(axis=0))
        deviation[deviation <= _CONSTANT * size] = 1.0
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            profiles[some] = (profiles[some] - mean) / deviation
    return profiles


def sphere(
    profiles_WD: Array, controls_W: NDArray[np.bool_] | None = None, epsilon: float = 1e-6, *, in_place: bool = False
) -> Array:
    """Turn and scale profiles so that features of controls are uncorrelated with variance 1 (ZCA whitening).

    What controls differ in is technical; directions in which they vary much are shrunk.

    Parameters
    ----------
    profiles_WD
        (W, D), float32 or float64, finite.
    controls_W
        Rows that the transform is fitted on, C of them; None for all.
    epsilon
        Added to each singular value.
    in_place
        Change the array given.

    Returns
    -------
    (W, D). ``(z - mean) V diag(sqrt(C - 1) / (S + epsilon)) V'`` with the controls' centred singular values S and
    vectors V. Directions that controls do not span (always, where C <= D) are scaled as the one of least variance, as
    in pycytominer's ``Spherize(method="ZCA")`` from 1.7.1 on. Holds two arrays of C x D at most, never D x D unless
    D < C.

    Raises
    ------
    UserError
        For an epsilon below 0 or without end, fewer than three rows to fit on, or such as do not differ.
    """
    check_epsilon(epsilon)
    profiles = profiles_WD if in_place else np.array(profiles_WD)
    fitted = np.arange(len(profiles)) if controls_W is None else np.flatnonzero(controls_W)
    if len(fitted) < 3:
        raise UserError(f"{len(fitted)} control wells are too few to sphere by. Name the controls with --control.")
    own = profiles[fitted]
    mean = own.mean(axis=0, dtype=np.float64)
    own = (own - mean).astype(profiles.dtype)
    count, width = own.shape
    squares, vectors = np.linalg.eigh(_gram(own.T if count <= width else own))
    values = np.sqrt(np.maximum(squares, 0.0))[::-1]
    vectors = vectors[:, ::-1]
    kept = values > _RANK * values[0]
    kept[min(count - 1, width) :] = False  # centring takes one
    if not kept.any():
        raise UserError("All control wells are alike, so there is nothing to sphere by. Name others with --control.")
    values, vectors = values[kept], vectors[:, kept]
    axes_Dr = vectors.astype(profiles.dtype)
    if count <= width:
        axes_Dr = own.T @ (vectors / values).astype(profiles.dtype)
    root = np.sqrt(count - 1.0)
    rest = root / (values[-1] + epsilon)
    gains = (root / (values + epsilon) - rest).astype(profiles.dtype)
    for start in range(0, len(profiles), _ROWS):
        part = (profiles[start : start + _ROWS] - mean).astype(profiles.dtype)
        profiles[start : start + _ROWS] = profiles.dtype.type(rest) * part + ((part @ axes_Dr) * gains) @ axes_Dr.T
    return profiles


def check_epsilon(epsilon: float) -> None:
    """Refuse what `sphere` cannot take, before there is anything to sphere."""
    if not 0.0 <= epsilon < np.inf:
        raise UserError(f"--sphere {epsilon} is out of range. Give a small number from 0 on, such as 1e-6.")


def _gram(rows_NM: Array) -> NDArray[np.float64]:
    """``rows' rows``, (M, M), in double precision: a square of float32 hides what varies 3,000 times less than most."""
    gram = np.zeros((rows_NM.shape[1], rows_NM.shape[1]))
    for start in range(0, len(rows_NM), _ROWS):
        part = rows_NM[start : start + _ROWS].astype(np.float64)
        gram += part.T @ part
    return gram


def weight_groups(
    profiles_WD: Array, widths: Mapping[str, int], weights: Mapping[str, float], *, in_place: bool = False
) -> Array:
    """Give channel groups their say in distances.

    Concatenated as they are, a group weighs as much as its vectors are long: one that tells nothing has the same say as
    one that does. Here each group's vectors are scaled to the root mean square length of its weight, so that cosine
    similarity is nearly the mean of the groups', weighted by the weights' squares (our choice).

    Parameters
    ----------
    profiles_WD
        (W, D): group after group.
    widths
        Group -> its number of values, in their order; D in all.
    weights
        Group -> weight, 1 for those not named, 0 to leave one out of all distances.
    in_place
        Change the array given.

    Raises
    ------
    UserError
        For a group that is not there, a negative weight, or none above 0.
    """
    check_weights(weights, widths)
    profiles = profiles_WD if in_place else np.array(profiles_WD)
    if sum(widths.values()) != profiles.shape[1]:
        raise ValueError(f"groups {dict(widths)} do not make up {profiles.shape[1]} columns")
    stop = 0
    for name, width in widths.items():
        start, stop = stop, stop + width
        block = profiles[:, start:stop]
        size = float(np.sqrt(np.mean([np.square(row, dtype=np.float64).sum() for row in block]))) if len(block) else 0.0
        block *= weights.get(name, 1.0) / size if size > 0.0 else 0.0
    return profiles


def check_weights(weights: Mapping[str, float], groups: Collection[str]) -> None:
    """Refuse what `weight_groups` cannot take, before there is anything to weigh."""
    unknown = [name for name in weights if name not in groups]
    if unknown:
        raise UserError(f"There is no channel group {unknown[0]!r} to weigh. The table has: {', '.join(groups)}.")
    wrong = [name for name, weight in weights.items() if not (np.isfinite(weight) and weight >= 0.0)]
    if wrong:
        raise UserError(f"The weight {weights[wrong[0]]} of {wrong[0]} is no number from 0 on. Give one, such as 0.5.")
    if not any(weights.get(group, 1.0) for group in groups):
        raise UserError("All channel groups weigh 0: nothing would be left. Give one of them a weight above 0.")


def parse_weights(texts: Sequence[str]) -> dict[str, float]:
    """``GROUP=WEIGHT`` words as a dictionary.

    Raises
    ------
    UserError
        For a word that is none.
    """
    weights: dict[str, float] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            weights[name.strip()] = float(value)
        except ValueError:
            name = ""
        if not name.strip():
            raise UserError(f"--weight {text!r} is not GROUP=WEIGHT, for example brightfield=0.3.")
    return weights
