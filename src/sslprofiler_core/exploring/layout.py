"""A map of profiles: UMAP from our exact neighbours, the same for the same seed; of many rows, by a sample of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clusters import principal_axes
from .nearest import Metric, neighbours
from .queries import finite_rows
from .umap_graph import axes_start, curve, membership_graph, spectral_start

# Fewer than five have no neighbourhoods worth a map.
FEWEST = 5
# Exact neighbours of 10,000 rows x 768 take 1.2 s, on 50 principal axes 0.3 s (one core), beside 6 s of UMAP; their
# time grows with the square, so from here on it pays.
AXES_FROM = 20_000
SAMPLE = 50_000
_PLACED_BY = 5
_NEGATIVES = 5
_EPOCHS = ((1_000, 1_000), (10_000, 500))  # up to so many points

Report = Callable[[int, int], None]


def map_rows(
    features_ND: NDArray[Any], *, seed: int = 0, sample: int = SAMPLE, report: Report | None = None
) -> tuple[NDArray[np.float32], str]:
    """Lay out the rows of a table of any size.

    Parameters
    ----------
    features_ND
        (N, D); rows that are not finite get no place.
    seed
        Of UMAP and of the sample.
    sample
        Up to so many rows UMAP lays out all; of more it lays out a sample, and each other row goes to the mean place
        of the 5 sampled rows nearest to it, the nearer the more weight (our choice: UMAP of a million rows takes
        hours).
    report
        Called with (done, total) as the work goes on; may raise to stop it.

    Returns
    -------
    positions, note
        (N, 2) float32, NaN without a place, and a sentence on how they were made.

    Notes
    -----
    From 20,000 rows on neighbours are looked for on the first 50 principal axes of the unit vectors.
    """
    tell = report or (lambda done, total: None)
    features = np.asarray(features_ND, np.float32)
    positions = np.full((len(features), 2), np.nan, np.float32)
    rows = np.flatnonzero(finite_rows(features))
    if not rows.size:
        return positions, "No row has values, so there is no map."
    tell(0, 100)
    whole = len(rows) <= sample
    own = features if len(rows) == len(features) else features[rows]
    metric: Metric = "cosine"
    words = "UMAP (cosine, 15 neighbours)"
    if len(rows) > AXES_FROM:
        own, metric = principal_axes(own, seed=seed), "euclidean"
        words = "UMAP (15 neighbours on 50 principal axes of unit vectors)"
    tell(10, 100)
    if whole:
        positions[rows] = umap_layout(own, metric=metric, seed=seed, report=lambda n, of: tell(10 + 90 * n // of, 100))
        return positions, f"{words} of {len(rows):,} rows."
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), sample, replace=False))
    drawn = own[chosen]
    layout = umap_layout(drawn, metric=metric, seed=seed, report=lambda n, of: tell(10 + 50 * n // of, 100))
    placed = np.empty((len(rows), 2), np.float32)
    step = 10_000
    for start in range(0, len(rows), step):
        indices, distances = neighbours(own[start : start + step], drawn, _PLACED_BY, metric)
        weights = 1.0 / np.maximum(distances, 1e-9)
        weights /= weights.sum(axis=1, keepdims=True)
        placed[start : start + step] = np.einsum("nk,nkd->nd", weights, layout[indices])
        tell(60 + 40 * min(start + step, len(rows)) // len(rows), 100)
    placed[chosen] = layout
    positions[rows] = placed
    return positions, f"{words} of {sample:,} sampled rows; the other {len(rows) - sample:,} lie at their nearest ones."


def umap_layout(
    profiles_WD: NDArray[np.floating[Any]],
    *,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    metric: Metric = "cosine",
    seed: int = 0,
    report: Report | None = None,
) -> NDArray[np.float32]:
    """Lay profiles out in two dimensions, similar ones near each other.

    Parameters
    ----------
    profiles_WD
        (W, D).
    n_neighbors
        Size of the neighbourhoods, the profile itself included; at most W - 1 of small tables.
    min_dist
        How tightly points may be packed.
    metric
        Distance between profiles, as in `neighbours`.
    seed
        Equal seeds give equal maps on one machine.
    report
        Called with (epochs done, epochs) while the layout settles; may raise to stop it.

    Returns
    -------
    (W, 2) float32. Distances between far groups mean little, and axes nothing.

    Notes
    -----
    UMAP (McInnes, Healy and Melville 2018) with umap-learn's defaults, from exact neighbours. It is our own: importing
    and compiling umap-learn takes ten seconds in each process, and its search for neighbours is approximate. The start
    is spectral, or on principal axes where the graph of neighbours falls into parts (our choice). Fewer than five
    profiles are shown on their first two principal axes instead (our choice).
    """
    profiles = np.asarray(profiles_WD, np.float32)
    count = len(profiles)
    if count < FEWEST:
        return _principal_axes(profiles)
    knn = neighbours(profiles, profiles, max(2, min(n_neighbors, count - 1)), metric)
    graph = membership_graph(*knn)
    start = spectral_start(graph, seed) if count > 2 * FEWEST else None
    places = axes_start(profiles, seed) if start is None else start
    return settle(graph, places, min_dist=min_dist, seed=seed, report=report)


def settle(
    graph: Any, start_N2: NDArray[np.float32], *, min_dist: float = 0.1, seed: int = 0, report: Report | None = None
) -> NDArray[np.float32]:
    """Lay a graph of `membership_graph` out from a start, (N, 2).

    500 epochs, 200 for more than 10,000 points, as umap-learn has it; 1,000 for up to 1,000 points (our choice: of 384
    profiles trustworthiness rises from 0.826 to 0.834, umap-learn's is 0.827, and it takes some tenths of a second).
    """
    from .umap_kernel import descend

    epochs = next((epochs for most, epochs in _EPOCHS if len(start_N2) <= most), 200)
    edges = graph.tocoo()
    kept = edges.data >= edges.data.max(initial=0.0) / epochs
    every = (edges.data.max(initial=0.0) / edges.data[kept]).astype(np.float32)
    heads, tails = edges.row[kept].astype(np.int32), edges.col[kept].astype(np.int32)
    rng = np.random.default_rng(seed)
    # Points in one place would never part.
    low, high = start_N2.min(axis=0), start_N2.max(axis=0)
    places = start_N2 + rng.normal(scale=1e-4 * 10.0, size=start_N2.shape).astype(np.float32)
    places = np.ascontiguousarray(10.0 * (places - low) / np.maximum(high - low, 1e-3), np.float32)
    due, state = every.copy(), rng.integers(1, 2**62, 1, np.uint64)
    a, b = curve(min_dist)
    step = epochs if report is None else max(1, epochs // 50)
    for first in range(0, epochs, step):
        last = min(first + step, epochs)
        descend(places, heads, tails, every, due, first, last, epochs, a, b, _NEGATIVES, state)
        if report is not None:
            report(last, epochs)
    return places


def _principal_axes(profiles: NDArray[np.float32]) -> NDArray[np.float32]:
    layout = np.zeros((len(profiles), 2), np.float32)
    if len(profiles) > 1:
        left, scale, _ = np.linalg.svd(profiles - profiles.mean(0), full_matrices=False)
        axes = (left * scale)[:, :2]
        layout[:, : axes.shape[1]] = axes
    return layout
