"""The graph that UMAP lays out, made from exact neighbours (McInnes, Healy and Melville 2018, sections 3.1 and 3.2)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HALVINGS = 64
_SMALLEST_PART = 1e-3  # of the mean distance: what a scale cannot fall below


def membership_graph(indices_Nk: NDArray[np.int64], distances_Nk: NDArray[np.floating[Any]]) -> Any:
    """How far each pair of points belongs together, as a symmetric sparse matrix.

    Parameters
    ----------
    indices_Nk, distances_Nk
        Exact neighbours, nearest first, each point among its own.

    Returns
    -------
    scipy CSR matrix (N, N) of weights in (0, 1], ``w_ij + w_ji - w_ij w_ji`` of the directed
    ``w_ij = exp(-(d_ij - rho_i) / sigma_i)``, where rho is the nearest distance above zero and sigma makes the weights
    of the k neighbours sum to log2 k.
    """
    from scipy.sparse import coo_matrix

    distances = np.asarray(distances_Nk, np.float64)
    count, k = distances.shape
    above = np.where(distances > 0.0, distances, np.inf).min(axis=1)
    rho = np.where(np.isfinite(above), above, 0.0)
    # A point is its own nearest; what is left must sum to log2 k, as in the reference.
    past = np.maximum(distances[:, 1:] - rho[:, None], 0.0)
    sigma = _scales(past, float(np.log2(k)))
    floor = np.where(rho > 0.0, distances.mean(axis=1), distances.mean())
    sigma = np.maximum(sigma, _SMALLEST_PART * floor)
    weights = np.exp(-past / np.where(sigma > 0.0, sigma, 1.0)[:, None])
    rows = np.repeat(np.arange(count), k - 1)
    directed = coo_matrix((weights.ravel(), (rows, indices_Nk[:, 1:].ravel())), (count, count)).tocsr()
    directed.setdiag(0.0)
    directed.eliminate_zeros()
    both = directed.T.tocsr()
    graph = directed + both - directed.multiply(both)
    graph.eliminate_zeros()
    return graph.tocsr()


def _scales(past_Nk: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    """Sigma of each row with ``sum exp(-past / sigma) = target``, by bisection; the sum rises with sigma."""
    low = np.zeros(len(past_Nk))
    high = np.full(len(past_Nk), np.inf)
    sigma = np.ones(len(past_Nk))
    for _ in range(_HALVINGS):
        reached = np.exp(-past_Nk / sigma[:, None]).sum(axis=1) > target
        high = np.where(reached, sigma, high)
        low = np.where(reached, low, sigma)
        sigma = np.where(np.isinf(high), 2.0 * sigma, 0.5 * (low + np.where(np.isinf(high), 0.0, high)))
        sigma = np.maximum(sigma, 1e-300)
    return sigma


@lru_cache
def curve(min_dist: float, spread: float = 1.0) -> tuple[float, float]:
    """Find a and b of ``1 / (1 + a x^(2 b))``, the curve nearest to 1 up to ``min_dist`` and to an exponential after.

    The exponential is ``exp(-(x - min_dist) / spread)``. Least squares at 300 points from 0 to three times the spread,
    as the reference has it.
    """
    from scipy.optimize import curve_fit

    x = np.linspace(0.0, 3.0 * spread, 300)
    y = np.where(x < min_dist, 1.0, np.exp(-(x - min_dist) / spread))
    (a, b), _ = curve_fit(lambda x, a, b: 1.0 / (1.0 + a * x ** (2.0 * b)), x, y)
    return float(a), float(b)


def spectral_start(graph: Any, seed: int) -> NDArray[np.float32] | None:
    """Coordinates on the graph's two slowest modes, (N, 2) of size 10; None where it falls into several parts.

    The largest eigenvectors of ``D^-1/2 W D^-1/2`` but the first (the smallest of the normalised Laplacian).
    """
    from scipy.sparse import diags
    from scipy.sparse.csgraph import connected_components
    from scipy.sparse.linalg import ArpackError, eigsh

    count = graph.shape[0]
    if connected_components(graph, directed=False, return_labels=False) > 1:
        return None
    degree = np.asarray(graph.sum(axis=1)).ravel()
    scale = diags(1.0 / np.sqrt(degree))
    start = np.random.default_rng(seed).standard_normal(count)
    try:
        values, vectors = eigsh(
            scale @ graph @ scale, 3, which="LA", v0=start, tol=1e-4, maxiter=20 * count, ncv=min(count, 40)
        )
    except ArpackError:
        return None
    chosen: NDArray[np.float64] = vectors[:, np.argsort(-values)[1:]]
    return _sized(chosen)


def axes_start(features_ND: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Coordinates on the first two principal axes of unit vectors, (N, 2) of size 10."""
    from .clusters import principal_axes

    axes = principal_axes(features_ND, 2, seed)
    start = np.zeros((len(axes), 2), np.float64)
    start[:, : axes.shape[1]] = axes
    return _sized(start)


def _sized(start: NDArray[np.float64]) -> NDArray[np.float32]:
    largest = np.abs(start).max(initial=0.0)
    return np.asarray(start * (10.0 / largest if largest > 0.0 else 1.0), np.float32)
