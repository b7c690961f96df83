"""k-NN classification with votes weighted by 1 / distance, for several k from one search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.exploring import neighbours
from sslprofiler_core.exploring.nearest import Metric


def knn_predict(
    train_ND: NDArray[np.floating[Any]],
    codes_N: NDArray[np.int64],
    test_QD: NDArray[np.floating[Any]],
    ks: Sequence[int],
    metric: Metric = "cosine",
) -> dict[int, NDArray[np.int64]]:
    """Predict classes as scikit-learn's ``KNeighborsClassifier(k, metric=metric, weights="distance")`` does.

    Parameters
    ----------
    train_ND, codes_N
        Training profiles and their classes, whole numbers.
    test_QD
        Profiles to classify.
    ks
        Each at most N.

    Returns
    -------
    k -> (Q,) classes. A neighbour at distance zero outvotes all that are not; equal votes go to the lower class.
    """
    indices, distances = neighbours(test_QD, train_ND, max(ks), metric)
    codes = codes_N[indices]
    with np.errstate(divide="ignore"):
        weights = 1.0 / distances.astype(np.float64)
    same_spot = distances[:, 0] == 0.0
    weights[same_spot] = distances[same_spot] == 0.0
    return {k: vote(codes[:, :k], weights[:, :k]) for k in ks}


def vote(codes_Qk: NDArray[np.int64], weights_Qk: NDArray[np.float64]) -> NDArray[np.int64]:
    """Class with most weight of each query: (Q,); equal weights go to the lower class."""
    votes = _votes(codes_Qk, weights_Qk)
    leading = votes == votes.max(axis=1, keepdims=True)
    winner: NDArray[np.int64] = np.where(leading, codes_Qk, np.iinfo(np.int64).max).min(axis=1)
    return winner


def votes_apart(codes_Qk: NDArray[np.int64], weights_Qk: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight between the first class and the second of each query: (Q,), infinite where there is one class."""
    votes = _votes(codes_Qk, weights_Qk)
    first = votes.argmax(axis=1)
    own = np.take_along_axis(codes_Qk, first[:, None], 1)
    second = np.where(codes_Qk == own, -np.inf, votes).max(axis=1)
    apart: NDArray[np.float64] = votes.max(axis=1) - second
    return apart


def _votes(codes_Qk: NDArray[np.int64], weights_Qk: NDArray[np.float64]) -> NDArray[np.float64]:
    # Each neighbour's class gets the weights of all neighbours of that class: k x k a query, no table of all classes.
    votes: NDArray[np.float64] = np.einsum("qij,qj->qi", codes_Qk[:, :, None] == codes_Qk[:, None, :], weights_Qk)
    return votes
