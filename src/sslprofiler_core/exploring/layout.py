"""A map of profiles: UMAP from our exact neighbours, the same for the same seed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .nearest import Metric, neighbours

# UMAP's spectral start wants more points than axes, and fewer than five have no neighbourhoods worth a map.
FEWEST = 5


def umap_layout(
    profiles_WD: NDArray[np.floating[Any]],
    *,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    metric: Metric = "cosine",
    seed: int = 0,
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
        )
        layout = mapper.fit_transform(profiles)
    return np.asarray(layout, np.float32)


def _principal_axes(profiles: NDArray[np.float32]) -> NDArray[np.float32]:
    layout = np.zeros((len(profiles), 2), np.float32)
    if len(profiles) > 1:
        left, scale, _ = np.linalg.svd(profiles - profiles.mean(0), full_matrices=False)
        axes = (left * scale)[:, :2]
        layout[:, : axes.shape[1]] = axes
    return layout
