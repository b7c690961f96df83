"""A map of profiles: UMAP from our exact neighbours, the same for the same seed; of many rows, by a sample of them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clusters import principal_axes
from .nearest import Metric, neighbours
from .queries import finite_rows

# UMAP's spectral start wants more points than axes, and fewer than five have no neighbourhoods worth a map.
FEWEST = 5
# Exact neighbours of 10,000 rows x 768 take 1.2 s, on 50 principal axes 0.3 s (one core), beside 10 s of UMAP; their
# time grows with the square, so from here on it pays.
AXES_FROM = 20_000
SAMPLE = 50_000
_PLACED_BY = 5

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
    umap-learn with exact ``precomputed_knn``: its own search is approximate and most of its time. Fewer than five
    profiles are shown on their first two principal axes instead (our choice).
    """
    profiles = np.asarray(profiles_WD, np.float32)
    count = len(profiles)
    if count < FEWEST:
        return _principal_axes(profiles)
    n_neighbors = max(2, min(n_neighbors, count - 1))
    knn = neighbours(profiles, profiles, n_neighbors, metric)
    with warnings.catch_warnings():
        # Groups that share no neighbour are no fault: UMAP then lays each out by itself.
        warnings.filterwarnings("ignore", message=".*not fully connected.*")
        warnings.filterwarnings("ignore", message=".*knn_search_index.*")  # we transform no new data
        warnings.filterwarnings("ignore", message=".*[Ss]pectral initialisation failed.*")
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)  # its parametric variant's
        import umap

        # A neighbourhood's graph is sparse, and profiles themselves are not looked at again.
        mapper = umap.UMAP(
            n_neighbors=n_neighbors,
            min_dist=min_dist,
            metric=metric,
            precomputed_knn=(*knn, None),
            force_approximation_algorithm=True,  # otherwise umap drops precomputed neighbours below 4,096 rows
            init="spectral" if count > 2 * FEWEST else "random",
            random_state=seed,
            n_jobs=1,
            verbose=report is not None,
            tqdm_kwds={"file": _Epochs(report), "bar_format": "{n_fmt}/{total_fmt}", "mininterval": 0.2}
            if report is not None
            else None,
        )
        with redirect_stdout(io.StringIO()):  # its own lines about what it does
            layout = mapper.fit_transform(profiles)
    return np.asarray(layout, np.float32)


def _principal_axes(profiles: NDArray[np.float32]) -> NDArray[np.float32]:
    layout = np.zeros((len(profiles), 2), np.float32)
    if len(profiles) > 1:
        left, scale, _ = np.linalg.svd(profiles - profiles.mean(0), full_matrices=False)
        axes = (left * scale)[:, :2]
        layout[:, : axes.shape[1]] = axes
    return layout


class _Epochs(io.TextIOBase):
    """What umap's progress bar writes to, "12/500", turned into a report."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def write(self, text: str) -> int:
        done, slash, total = text.strip().partition("/")
        if slash and done.isdecimal() and total.isdecimal():
            self._report(int(done), int(total))
        return len(text)
