"""Which wells train and which are tested: folds by plate, transfers between cell lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.keys import fold, permutation

ALL = "all"
# Ours, then names that others use.
CELL_LINES = ("CellType", "Cell_type", "cell_type", "Cell_line", "cell_line", "cell_id")

Mask = NDArray[np.bool_]


def cell_lines(metadata: pd.DataFrame) -> NDArray[Any]:
    """Cell line of each well, ``"all"`` throughout where the metadata names fewer than two."""
    for name in CELL_LINES:
        if f"Metadata_{name}" in metadata:
            lines = metadata[f"Metadata_{name}"].astype("string").fillna("unknown").to_numpy(str)
            if len(np.unique(lines)) > 1:
                return lines
    return np.full(len(metadata), ALL)


def transfers(lines_W: NDArray[Any]) -> list[tuple[str, str]]:
    """(train, test) cell lines: every pair, and all wells together last."""
    names = [str(name) for name in np.unique(lines_W)]
    pairs = [(a, b) for a in names for b in names]
    return pairs if len(names) == 1 else [*pairs, (ALL, ALL)]


def plate_folds(plates_W: NDArray[Any], lines_W: NDArray[Any], count: int, seed: int) -> NDArray[np.int64]:
    """Fold of each well: whole plates, one each when there are at most ``count``.

    More plates are dealt out in an order shuffled by ``seed``, cell line after cell line, so that each fold gets its
    share of each line (our choice).
    """
    names, first, plate = np.unique(plates_W, return_index=True, return_inverse=True)
    if len(names) <= count:
        return plate.astype(np.int64)
    shuffled = permutation(fold(seed, "folds"), len(names))
    _, line = np.unique(lines_W[first], return_inverse=True)
    order = shuffled[np.argsort(line[shuffled], kind="stable")]
    folds = np.empty(len(names), np.int64)
    folds[order] = np.arange(len(names)) % count
    own: NDArray[np.int64] = folds[plate]
    return own


def splits(
    plates_W: NDArray[Any], lines_W: NDArray[Any], train: str, test: str, count: int, seed: int
) -> Iterator[tuple[Mask, Mask]]:
    """Masks of training and test wells, one pair a fold; no plate is in both.

    Within a cell line (or over all) folds are by plate. Across, everything of one line trains and everything of the
    other is tested; only where plates carry both lines are these folds by plate too.
    """
    trains = np.ones(len(plates_W), bool) if train == ALL else lines_W == train
    tests = np.ones(len(plates_W), bool) if test == ALL else lines_W == test
    if train != test and not np.isin(plates_W[tests], plates_W[trains]).any():
        yield trains, tests
        return
    rows = np.flatnonzero(tests)
    own = plate_folds(plates_W[rows], lines_W[rows], count, seed)
    for number in range(own.max(initial=-1) + 1):
        tested = np.zeros(len(plates_W), bool)
        tested[rows[own == number]] = True
        training = trains & ~np.isin(plates_W, plates_W[tested])
        if training.any():
            yield training, tested
