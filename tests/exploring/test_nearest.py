from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import neighbours


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_it_agrees_with_scikit_learn(metric: str) -> None:
    rng = np.random.default_rng(0)
    queries, database = rng.normal(size=(40, 300)) + 2.0, rng.normal(size=(500, 300)) + 2.0
    indices, distances = neighbours(queries, database, 20, metric)
    peer = NearestNeighbors(n_neighbors=20, metric=metric, algorithm="brute").fit(database)
    peer_distances, peer_indices = peer.kneighbors(queries)
    np.testing.assert_array_equal(indices, peer_indices)
    np.testing.assert_allclose(distances, peer_distances, rtol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_chunks_do_not_show(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    module = importlib.import_module("sslprofiler_core.exploring.nearest")
    rows = np.random.default_rng(1).normal(size=(60, 8))
    whole = neighbours(rows, rows, 5, metric)
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * 60 * 7)
    for a, b in zip(whole, neighbours(rows, rows, 5, metric), strict=True):
        np.testing.assert_array_equal(a, b)


def test_many_rows_of_zeros_do_not_crowd_out_true_neighbours() -> None:
    rows = np.random.default_rng(3).integers(0, 3, (37, 2)).astype(float)
    rows[5:20] = 0.0
    _, distances = neighbours(rows, rows, 20)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    expected = np.sort(1.0 - unit @ unit.T, axis=1)[:, :20]
    np.testing.assert_allclose(distances, expected, atol=1e-6)


@settings(max_examples=60)
@given(
    rows=st.integers(2, 60),
    width=st.integers(1, 5),
    levels=st.integers(1, 3),
    metric=st.sampled_from(["cosine", "euclidean"]),
    seed=st.integers(0, 2**31),
    data=st.data(),
)
def test_ties_go_by_index(rows: int, width: int, levels: int, metric: str, seed: int, data: st.DataObject) -> None:
    """Small whole numbers tie all the time, equal rows and rows of zeros included."""
    k = data.draw(st.integers(1, rows))
    values = np.random.default_rng(seed).integers(0, levels, (rows, width)).astype(np.float64)
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    unit = values / np.where(norm == 0, 1, norm)
    exact = cdist(values, values) if metric == "euclidean" else 1.0 - unit @ unit.T
    expected = np.argsort(np.round(exact, 9), axis=1, kind="stable")[:, :k]
    indices, distances = neighbours(values, values, k, metric)
    # Distances that differ in float64's last digits are ties here; compare what was found through the exact ones.
    np.testing.assert_allclose(np.take_along_axis(exact, indices, 1), np.take_along_axis(exact, expected, 1), atol=1e-6)
    np.testing.assert_allclose(distances, np.take_along_axis(exact, indices, 1), atol=1e-6)
    if metric == "euclidean":
        np.testing.assert_array_equal(indices, expected)


def test_many_equal_rows_come_in_their_order() -> None:
    database = np.ones((300, 4))
    indices, distances = neighbours(np.ones((2, 4)), database, 3)
    np.testing.assert_array_equal(indices, [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(distances, 0.0)


def test_far_from_the_origin_nothing_is_lost() -> None:
    """|q|^2 - 2 q.d + |d|^2 in float32 would cancel here."""
    rng = np.random.default_rng(2)
    database = 1000.0 + rng.normal(size=(50, 10)).astype(np.float32)
    queries = database[:20] + np.float32(0.01)
    indices, distances = neighbours(queries, database, 3, "euclidean")
    exact = cdist(queries.astype(np.float64), database.astype(np.float64))
    np.testing.assert_array_equal(indices, np.argsort(exact, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(exact, axis=1)[:, :3], rtol=1e-5)


def test_torch_in_torch_out() -> None:
    rows = torch.arange(12.0).reshape(6, 2)
    indices, distances = neighbours(rows, rows, 2, "euclidean")
    assert isinstance(indices, torch.Tensor) and isinstance(distances, torch.Tensor)
    assert indices[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_what_cannot_be_found() -> None:
    rows = np.ones((4, 2))
    for k in (0, 5):
        with pytest.raises(UserError, match=f"k = {k}"):
            neighbours(rows, rows, k)
    with pytest.raises(UserError, match="one width"):
        neighbours(rows, np.ones((4, 3)), 1)
    with pytest.raises(UserError, match="metric"):
        neighbours(rows, rows, 1, "manhattan")
    with pytest.raises(UserError, match="empty or infinite"):
        neighbours(np.full((4, 2), np.nan), rows, 1)
