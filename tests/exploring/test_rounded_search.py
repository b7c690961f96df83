from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import neighbours, rounded_search

nearest = importlib.import_module("sslprofiler_core.exploring.nearest")
Rows = NDArray[np.float32]
COUNT, WIDTH, K, QUERIES = 1400, 200, 10, 200


@pytest.fixture
def rounded(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.int64]]:
    """Rounded products for small work and on any processor; holds how many true distances each query wanted."""
    monkeypatch.setattr(rounded_search, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(rounded_search, "_LEAST_WORK", 0)
    wanted: list[NDArray[np.int64]] = []
    tile = rounded_search.RoundedSearch._tile

    def noted(self: rounded_search.RoundedSearch, *arguments: object) -> object:
        found = tile(self, *arguments)
        wanted.append(found[2])
        return found

    monkeypatch.setattr(rounded_search.RoundedSearch, "_tile", noted)
    return wanted


def normal(rng: np.random.Generator) -> Rows:
    return rng.standard_normal((COUNT, WIDTH), np.float32)


def far_from_the_origin(rng: np.random.Generator) -> Rows:
    return np.float32(1000.0) + normal(rng)


def uneven(rng: np.random.Generator) -> Rows:
    """Lengths from 1e-3 to 1e5, so that one row's rounding is more than another's length."""
    return normal(rng) * np.float32(10.0) ** rng.uniform(-4, 4, (COUNT, 1)).astype(np.float32)


def near_ties(rng: np.random.Generator) -> Rows:
    """Runs of rows that differ by less than bfloat16 can tell, and some by less than float32 products can."""
    steps = np.float32(10.0) ** rng.integers(-6, -2, (COUNT, 1)).astype(np.float32)
    return np.repeat(normal(rng)[: COUNT // 28], 28, axis=0) + steps * normal(rng)


def equal_rows(rng: np.random.Generator) -> Rows:
    """Each four times, and as many times twice as long."""
    few = normal(rng)[: COUNT // 8]
    return np.concatenate([few, 2 * few] * 4)


def with_zeros(rng: np.random.Generator) -> Rows:
    rows = normal(rng)
    rows[rng.choice(COUNT, 30, replace=False)] = 0.0
    return rows


def correlated(rng: np.random.Generator) -> Rows:
    """As a network's features: one direction common to all, few others that vary, skewed."""
    rows = rng.standard_normal((COUNT, 12)) @ rng.standard_normal((12, WIDTH))
    return np.asarray(np.exp(0.3 * rows) + 3.0 + 0.05 * normal(rng), np.float32)


CASES = [normal, far_from_the_origin, uneven, near_ties, equal_rows, with_zeros, correlated]


def exact(rows: Rows, metric: str, queries: int = COUNT) -> NDArray[np.float64]:
    """Distances of the first rows to all in float64."""
    wide = rows.astype(np.float64)
    if metric == "euclidean":
        return np.asarray(cdist(wide[:queries], wide))
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    wide /= np.where(norms == 0.0, 1.0, norms)
    return np.asarray(1.0 - wide[:queries] @ wide.T)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("case", CASES)
def test_it_finds_what_float32_products_and_float64_find(
    case: Callable[[np.random.Generator], Rows],
    metric: str,
    rounded: list[NDArray[np.int64]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = case(np.random.default_rng(0))
    queries = rows[:QUERIES]
    indices, distances = neighbours(queries, rows, K, metric)
    assert rounded, "rounded products were not used"
    monkeypatch.setattr(nearest, "pays", lambda *arguments: False)
    plain_indices, plain_distances = neighbours(queries, rows, K, metric)
    # A float32 row is as far from what was meant as its rounding.
    size = 1.0 if metric == "cosine" else np.linalg.norm(queries, axis=1)[:, None]
    np.testing.assert_array_less(np.abs(distances - plain_distances), 3e-7 * size + 1e-6 * plain_distances + 1e-30)
    gaps = np.diff(plain_distances, axis=1)
    clear = (gaps > 3e-6 * plain_distances[:, 1:] + 1e-6 * size).all(axis=1)
    np.testing.assert_array_equal(indices[clear], plain_indices[clear])
    assert (np.diff(distances, axis=1) >= 0).all()
    truth = exact(rows, metric, QUERIES)
    found = np.take_along_axis(truth, indices, 1)
    np.testing.assert_allclose(found, np.sort(truth, axis=1)[:, :K], rtol=1e-5, atol=1e-6 if metric == "cosine" else 0)


def test_equal_rows_are_at_zero_and_come_in_their_order(rounded: list[NDArray[np.int64]]) -> None:
    rows = equal_rows(np.random.default_rng(1))
    indices, distances = neighbours(rows, rows, 8, "cosine")
    expected = np.arange(COUNT // 8)[:, None] + np.arange(8) * (COUNT // 8)
    np.testing.assert_array_equal(indices[: COUNT // 8], expected)
    np.testing.assert_array_equal(distances, 0.0)
    assert rounded


def test_few_true_distances_are_wanted(rounded: list[NDArray[np.int64]]) -> None:
    rows = normal(np.random.default_rng(2))
    neighbours(rows, rows, K)
    assert sum(map(len, rounded)) == COUNT
    assert np.concatenate(rounded).mean() < 2 * K


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_panels_and_tiles_do_not_show(
    metric: str, rounded: list[NDArray[np.int64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = normal(np.random.default_rng(3))
    whole = neighbours(rows, rows, K, metric)
    tiles = len(rounded)
    monkeypatch.setattr(rounded_search, "PANEL_BYTES", 2 * WIDTH * 700)
    monkeypatch.setattr(rounded_search, "TILE_BYTES", 2 * 700 * 170)
    for one, other in zip(whole, neighbours(rows, rows, K, metric), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(rounded) - tiles == -(-COUNT // 170)


def test_tight_clouds_are_left_to_float32(rounded: list[NDArray[np.int64]]) -> None:
    """300 rows within what bfloat16 can tell apart: none of them can be ruled out."""
    rng = np.random.default_rng(4)
    rows = np.repeat(rng.standard_normal((4, WIDTH)), COUNT // 4, axis=0)
    rows = np.asarray(rows + 1e-3 * normal(rng), np.float32)
    indices, distances = neighbours(rows[:QUERIES], rows, K)
    assert len(rounded) == 1 and (rounded[0] > max(64, 4 * K)).all()  # given up
    truth = exact(rows, "cosine", QUERIES)
    best = np.sort(truth, axis=1)[:, :K]
    np.testing.assert_allclose(distances, best, atol=1e-7)
    np.testing.assert_allclose(np.take_along_axis(truth, indices, 1), best, atol=1e-7)


def test_some_queries_may_be_left(rounded: list[NDArray[np.int64]]) -> None:
    rng = np.random.default_rng(5)
    rows = normal(rng)
    rows[600:700] = rows[600] + 1e-3 * rows[600:700]
    indices, _ = neighbours(rows, rows, K, "euclidean")
    left = np.concatenate(rounded) > max(64, 4 * K)
    assert len(left) == COUNT and left[600:700].all() and left.sum() == 100
    truth = exact(rows, "euclidean")
    np.testing.assert_allclose(np.take_along_axis(truth, indices, 1)[:, 1:], np.sort(truth, axis=1)[:, 1:K], rtol=1e-4)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_it_agrees_with_scikit_learn(metric: str, rounded: list[NDArray[np.int64]]) -> None:
    rng = np.random.default_rng(6)
    database, queries = normal(rng), normal(rng)[:50]
    indices, distances = neighbours(torch.from_numpy(queries), torch.from_numpy(database), K, metric)
    peer = NearestNeighbors(n_neighbors=K, metric=metric, algorithm="brute").fit(database.astype(np.float64))
    peer_distances, peer_indices = peer.kneighbors(queries.astype(np.float64))
    np.testing.assert_array_equal(indices, peer_indices)
    np.testing.assert_allclose(distances, peer_distances, rtol=1e-5)
    assert rounded


def test_values_that_are_not_finite_are_refused(rounded: list[NDArray[np.int64]]) -> None:
    rows = normal(np.random.default_rng(7))
    rows[5, 5] = np.nan
    with pytest.raises(UserError, match="empty or infinite"):
        neighbours(rows, rows, K)
    assert not rounded


def test_when_it_is_used(rounded: list[NDArray[np.int64]], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.from_numpy(normal(np.random.default_rng(8)))
    norms = rows.norm(dim=1)
    assert rounded_search.pays(rows, rows, norms, K)
    assert not rounded_search.pays(rows.double(), rows.double(), norms, K)
    assert not rounded_search.pays(rows, rows.T.contiguous().T, norms, K)
    assert not rounded_search.pays(rows, rows, norms * 1e12, K)
    assert not rounded_search.pays(rows, rows, norms, COUNT // 32)
    monkeypatch.undo()
    assert not rounded_search.pays(rows, rows, norms, K)  # little work
    monkeypatch.setattr(rounded_search, "_LEAST_WORK", 0)
    for capabilities in ({"amx_bf16": True}, {"amx_bf16": False}, {}, None):
        if capabilities is None:
            monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
        else:
            monkeypatch.setattr(torch.cpu, "get_capabilities", lambda c=capabilities: c, raising=False)
        rounded_search.multiplies_bfloat16.cache_clear()
        assert rounded_search.pays(rows, rows, norms, K) == bool(capabilities and capabilities["amx_bf16"])
    rounded_search.multiplies_bfloat16.cache_clear()
