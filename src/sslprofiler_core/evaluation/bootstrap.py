"""Confidence intervals by drawing labels with replacement: wells of one label succeed and fail together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.keys import fold, uniforms

DRAWS = 1000


def accuracy_interval(
    correct_W: NDArray[np.bool_], labels_W: NDArray[Any], seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of an accuracy under resampling of labels.

    Parameters
    ----------
    correct_W, labels_W
        Whether each tested well was right, and its label.
    seed
        Of the 1,000 draws. Two scores of the same labels see the same draws.
    level
        Coverage.

    Returns
    -------
    low, high
    """
    names, code = np.unique(labels_W, return_inverse=True)
    hits = np.bincount(code, weights=correct_W, minlength=len(names))
    sizes = np.bincount(code, minlength=len(names))
    u = uniforms(fold(seed, "bootstrap", np.arange(DRAWS)), len(names))
    drawn = (u * len(names)).astype(np.int64)
    accuracies = hits[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(accuracies, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)
