from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from sslprofiler_core.evaluation.classify import knn_predict
from sslprofiler_core.evaluation.products import Products, still
from sslprofiler_core.evaluation.search import classify
from sslprofiler_core.exploring.nearest import Metric

KS = [1, 3, 5, 10]
METRICS: list[Metric] = ["cosine", "euclidean"]


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_it_is_scikit_learns_classifier(offset: float) -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 12, 400)
    values = np.float32(rng.normal(size=(12, 9))[codes] + 1.2 * rng.normal(size=(400, 9)) + offset)
    values[300:320] = values[:20]  # at distance zero one vote decides
    tested, training = np.arange(250, 400), np.arange(250)
    found = classify(still(Products(values)), tested, training, codes, KS, METRICS)
    exact = values.astype(np.float64)
    for (metric, k), classes in found.items():
        peer = KNeighborsClassifier(k, metric=metric, weights="distance", algorithm="brute")
        expected = peer.fit(exact[training], codes[training]).predict(exact[tested])
        np.testing.assert_array_equal(classes, expected, err_msg=f"{metric} {k}")


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31), width=st.integers(1, 4), span=st.integers(1, 4))
def test_ties_are_decided_as_from_the_profiles(seed: int, width: int, span: int) -> None:
    # Small whole numbers: most distances tie, many are zero, and all sums are exact.
    rng = np.random.default_rng(seed)
    values, codes = np.float32(rng.integers(0, span + 1, (64, width))), rng.integers(0, 5, 64)
    tested, training = np.arange(48, 64), np.arange(48)
    found = classify(still(Products(values)), tested, training, codes, KS, ["euclidean"])
    expected = knn_predict(values[training], codes[training], values[tested], KS, "euclidean")
    for k in KS:
        np.testing.assert_array_equal(found["euclidean", k], expected[k], err_msg=str(k))


def test_hidden_rows_do_not_vote() -> None:
    rng = np.random.default_rng(0)
    values, codes = np.float32(rng.normal(size=(50, 6))), rng.integers(0, 4, 50)
    places = rng.integers(0, 6, 50)
    tested, training = np.arange(30, 50), np.arange(30)
    found = classify(still(Products(values)), tested, training, codes, [1, 5, 29], METRICS, places)
    for metric in METRICS:
        for row, query in enumerate(tested):
            seen = training[places[training] != places[query]]
            expected = knn_predict(values[seen], codes[seen], values[[query]], [1, 5, len(seen)], metric)
            for k, own in ((1, 1), (5, 5), (29, len(seen))):
                assert found[metric, k][row] == expected[own][0]


def test_rows_of_zeros_are_at_one_from_all() -> None:
    values = np.float32([[0, 0], [1, 0], [0, 1], [0, 0]])
    found = classify(still(Products(values)), np.array([3]), np.arange(3), np.array([2, 1, 0, 0]), [1], ["cosine"])
    assert found["cosine", 1].tolist() == [2]  # the first of three that tie
