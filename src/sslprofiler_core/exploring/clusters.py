"""Groups of rows, for colouring a map: k-means on principal axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .queries import finite_rows

AXES = 50
SAMPLE = 20_000


def principal_axes(
    features_ND: NDArray[Any], axes: int = AXES, seed: int = 0, sample: int = SAMPLE
) -> NDArray[np.float32]:
    """Unit vectors on their first principal axes, fitted on at most ``sample`` rows: (N, min(axes, D))."""
    from sklearn.utils.extmath import randomized_svd

    features = np.asarray(features_ND, np.float32)
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(norm > 0.0, norm, np.float32(1.0))
    fitted = unit
    if len(unit) > sample:
        fitted = unit[np.sort(np.random.default_rng(seed).choice(len(unit), sample, replace=False))]
    mean = fitted.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, _, axes_AD = randomized_svd(fitted - mean, min(axes, *fitted.shape), random_state=seed)
    return np.asarray((unit - mean) @ axes_AD.T, np.float32)


def cluster_rows(features_ND: NDArray[Any], clusters: int = 12, seed: int = 0) -> NDArray[np.int64]:
    """Group rows by k-means on the first 50 principal axes of their unit vectors.

    Parameters
    ----------
    features_ND
        (N, D); rows that are not finite are in no cluster.
    clusters
        How many; at most the number of rows.
    seed
        Equal seeds give equal clusters on one machine.

    Returns
    -------
    (N,) int64: clusters from 1 by falling size, 0 for none. On the features, not on the map, whose far distances mean
    little (our choice).

    Raises
    ------
    UserError
        For fewer than one cluster.
    """
    from sklearn.cluster import MiniBatchKMeans

    if clusters < 1:
        raise UserError(f"{clusters} clusters cannot be made. Choose 1 or more.")
    features = np.asarray(features_ND, np.float32)
    labels = np.zeros(len(features), np.int64)
    rows = np.flatnonzero(finite_rows(features))
    if not rows.size:
        return labels
    axes = principal_axes(features[rows], seed=seed)
    count = min(clusters, len(np.unique(axes, axis=0)))
    found = MiniBatchKMeans(count, random_state=seed, n_init=3, batch_size=4096).fit_predict(axes)
    order = np.argsort(-np.bincount(found, minlength=count), kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(1, count + 1)
    labels[rows] = rank[found]
    return labels
