"""UMAP's graph, curve and descent against their formulas; and against umap-learn, in the long tests."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.manifold import trustworthiness

from sslprofiler_core.exploring import neighbours, umap_layout
from sslprofiler_core.exploring.umap_graph import curve, membership_graph, spectral_start


def groups(count: int = 60, width: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (2.0 * rng.normal(size=(6, width))[np.arange(count) % 6] + rng.normal(size=(count, width))).astype(
        np.float32
    )


def test_the_graph_is_the_fuzzy_union_whose_rows_sum_to_log_k() -> None:
    points, k = groups(), 9
    exact = cdist(points.astype(np.float64), points.astype(np.float64))
    near = np.argsort(exact, axis=1)[:, :k]
    graph = membership_graph(near, np.take_along_axis(exact, near, 1)).toarray()
    directed = np.zeros_like(graph)
    for i, row in enumerate(near):
        d = exact[i, row[1:]]
        low, high = 1e-6, 1e3
        for _ in range(200):
            sigma = (low + high) / 2
            total = np.exp(-(d - d.min()) / sigma).sum()
            low, high = (low, sigma) if total > np.log2(k) else (sigma, high)
        directed[i, row[1:]] = np.exp(-(d - d.min()) / sigma)
    np.testing.assert_allclose(directed.sum(1), np.log2(k), rtol=1e-6)
    np.testing.assert_allclose(graph, directed + directed.T - directed * directed.T, atol=1e-6)
    assert (graph == graph.T).all() and graph.max() <= 1.0


def test_the_curve_is_the_published_one() -> None:
    a, b = curve(0.1)
    assert a == pytest.approx(1.577, abs=2e-3) and b == pytest.approx(0.895, abs=2e-3)


def test_the_spectral_start_is_the_laplacians_second_and_third_mode() -> None:
    points = groups(40)
    graph = membership_graph(*neighbours(points, points, 25))
    dense = graph.toarray()
    scale = 1.0 / np.sqrt(dense.sum(1))
    _, vectors = np.linalg.eigh(np.eye(40) - scale[:, None] * dense * scale)
    start = spectral_start(graph, 0)
    assert start is not None and np.abs(start).max() == pytest.approx(10.0)
    for own, exact in zip(start.T, vectors[:, 1:3].T, strict=True):
        assert abs(np.corrcoef(own, exact)[0, 1]) > 0.999


def test_a_graph_in_parts_and_duplicate_wells_are_laid_out() -> None:
    rng = np.random.default_rng(0)
    apart = np.repeat(100.0 * np.eye(3, 20), 12, 0) + rng.normal(size=(36, 20))
    graph = membership_graph(*neighbours(apart, apart, 5))
    assert spectral_start(graph, 0) is None
    layout = umap_layout(apart, n_neighbors=5)
    near = neighbours(layout, layout, 6, "euclidean")[0]
    assert (near // 12 == np.arange(36)[:, None] // 12).mean() > 0.95
    twice = np.repeat(groups(30), 20, 0)  # more copies than neighbours
    assert np.isfinite(umap_layout(twice)).all()


def test_reports_and_the_map_do_not_depend_on_being_watched() -> None:
    seen: list[tuple[int, int]] = []
    points = groups(30)
    watched = umap_layout(points, report=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(watched, umap_layout(points))
    assert seen[-1] == (1000, 1000) and len(seen) >= 40


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_maps_are_as_trustworthy_as_umap_learns_and_graphs_are_equal() -> None:
    umap = pytest.importorskip("umap", reason="umap-learn is not installed (the extra bench has it)")
    points = groups(600, 50)
    knn = neighbours(points, points, 15)
    peer = umap.umap_.fuzzy_simplicial_set(
        points, 15, np.random.RandomState(0), "cosine", knn_indices=knn[0], knn_dists=knn[1]
    )
    np.testing.assert_allclose(membership_graph(*knn).toarray(), peer[0].toarray(), atol=2e-5)
    theirs = trustworthiness(points, umap.UMAP(metric="cosine", random_state=0).fit_transform(points), metric="cosine")
    assert trustworthiness(points, umap_layout(points), metric="cosine") > theirs - 0.005
