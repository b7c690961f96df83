from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from sslprofiler_core.evaluation.classify import knn_predict


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_scikit_learns_classifier(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 12, 150)
    centres = rng.normal(size=(12, 9))
    train = centres[codes] + 1.5 * rng.normal(size=(150, 9))
    test = centres[rng.integers(0, 12, 200)] + 1.5 * rng.normal(size=(200, 9))
    test[:20] = train[:20]  # at distance zero one vote decides
    found = knn_predict(train, codes, test, [1, 5, 10, 20], metric)
    for k, predicted in found.items():
        peer = KNeighborsClassifier(k, metric=metric, weights="distance", algorithm="brute").fit(train, codes)
        if metric == "cosine":
            # Float64 rounding gives scikit-learn distances of 1e-16 where ours are zero: the same vote.
            np.testing.assert_array_equal(predicted[:20], codes[:20])
        np.testing.assert_array_equal(predicted, peer.predict(test))


def test_equal_votes_go_to_the_lower_class() -> None:
    train = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 0.0]])
    found = knn_predict(train, np.array([7, 4, 1]), np.array([[1.0, 0.0]]), [2])
    assert found[2].tolist() == [4]


def test_neighbours_at_distance_zero_vote_alone() -> None:
    train = np.array([[0.0], [0.0], [0.0], [0.1], [0.1], [0.1], [0.1]])
    codes = np.array([2, 2, 1, 1, 1, 1, 1])
    assert knn_predict(train, codes, np.zeros((1, 1)), [7], "euclidean")[7].tolist() == [2]
