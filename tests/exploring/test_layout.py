from __future__ import annotations

import numpy as np
import pytest

from sslprofiler_core.exploring import neighbours, umap_layout


def test_one_seed_one_map_with_groups_apart() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 12)
    profiles = 5.0 * rng.normal(size=(3, 20))[groups] + rng.normal(size=(36, 20))
    layout = umap_layout(profiles, n_neighbors=8)
    assert layout.shape == (36, 2) and layout.dtype == np.float32 and np.isfinite(layout).all()
    np.testing.assert_array_equal(layout, umap_layout(profiles, n_neighbors=8))
    assert not np.array_equal(layout, umap_layout(profiles, n_neighbors=8, seed=1))
    near = neighbours(layout, layout, 6, "euclidean")[0]
    assert (groups[near] == groups[:, None]).mean() > 0.95
    for count in (5, 8, 14):
        assert np.isfinite(umap_layout(profiles[:count])).all()
    assert np.isfinite(umap_layout(np.ones((12, 4)))).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_very_small_tables(count: int) -> None:
    profiles = np.random.default_rng(1).normal(size=(count, 6))
    layout = umap_layout(profiles)
    assert layout.shape == (count, 2)
    if count == 3:
        distances = np.linalg.norm(layout[:, None] - layout, axis=-1)
        np.testing.assert_allclose(distances, np.linalg.norm(profiles[:, None] - profiles, axis=-1), rtol=1e-4)
