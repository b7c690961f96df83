"""Confidence intervals by drawing labels with replacement: wells of one label succeed and fail together."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.keys import fold, uniforms

DRAWS = 1000


def label_interval(
    outcome_W: NDArray[np.bool_] | NDArray[np.float64],
    labels_W: NDArray[Any],
    seed: int = 0,
    level: float = 0.95,
    by_label: bool = False,
) -> tuple[float, float]:
    """Percentile interval of a mean under resampling of labels.

    Parameters
    ----------
    outcome_W, labels_W
        Whether each tested well was right (or another value of it), and its label.
    seed
        Of the 1,000 draws. Two scores of the same labels see the same draws.
    level
        Coverage.
    by_label
        Each label counts once, however many wells it has.

    Returns
    -------
    low, high
    """
    names, code = np.unique(labels_W, return_inverse=True)
    sums: NDArray[np.float64] = np.bincount(code, weights=outcome_W, minlength=len(names)).astype(np.float64)
    sizes: NDArray[np.float64] = np.bincount(code, minlength=len(names)).astype(np.float64)
    if by_label:
        sums, sizes = sums / sizes, np.ones(len(names))
    times = _draws(len(names), seed)
    means = (times @ sums) / (times @ sizes)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


@functools.lru_cache(maxsize=8)
def _draws(count: int, seed: int) -> NDArray[np.float64]:
    """How often each of ``count`` labels is in each draw: (1,000, count)."""
    drawn = (uniforms(fold(seed, "bootstrap", np.arange(DRAWS)), count) * count).astype(np.int64)
    drawn += count * np.arange(DRAWS)[:, None]
    return np.bincount(drawn.ravel(), minlength=DRAWS * count).reshape(DRAWS, count).astype(np.float64)
