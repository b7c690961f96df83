from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from sslprofiler_core.profiling import SiteCountWarning, merge_granularities, merge_sites


def test_granularities_stand_side_by_side() -> None:
    cls, patch = np.arange(6.0).reshape(3, 2), -np.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(merge_granularities(cls, patch)[1], [2, 3, -2, -3])
    merged = merge_granularities(torch.from_numpy(cls), torch.from_numpy(patch))
    assert isinstance(merged, torch.Tensor) and merged.shape == (3, 4)
    with pytest.raises(ValueError, match="same sites"):
        merge_granularities(cls, patch[:2])


def test_nine_sites_pass_unchanged() -> None:
    embeddings = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    np.testing.assert_array_equal(merge_sites(embeddings), embeddings.ravel())


def test_sixteen_sites_of_a_linear_field_are_exact() -> None:
    y, x = np.divmod(np.arange(16), 4)
    field = np.stack([2.0 + 3.0 * x - 5.0 * y, 0.5 * x + y], 1)
    at = np.array([1 / 6, 3 / 2, 17 / 6])
    yy, xx = (a.ravel() for a in np.meshgrid(at, at, indexing="ij"))
    expected = np.stack([2.0 + 3.0 * xx - 5.0 * yy, 0.5 * xx + yy], 1)
    np.testing.assert_allclose(merge_sites(field), expected.ravel(), atol=1e-12)


def test_sixteen_sites_against_torch_and_scipy() -> None:
    embeddings = np.random.default_rng(1).normal(size=(16, 3))
    grid = embeddings.reshape(4, 4, 3)
    images = torch.from_numpy(grid).permute(2, 0, 1)[None]
    peer = torch.nn.functional.interpolate(images, size=(3, 3), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(merge_sites(embeddings), peer[0].permute(1, 2, 0).numpy().ravel(), atol=1e-12)
    at = np.meshgrid([1 / 6, 3 / 2, 17 / 6], [1 / 6, 3 / 2, 17 / 6], indexing="ij")
    other = np.stack([map_coordinates(grid[..., d], at, order=1) for d in range(3)], -1)
    np.testing.assert_allclose(merge_sites(embeddings), other.ravel(), atol=1e-12)


@pytest.mark.parametrize("side", [3, 4])
def test_positions_put_sites_in_their_places(side: int) -> None:
    rng = np.random.default_rng(2)
    embeddings = rng.normal(size=(side * side, 5))
    y, x = np.divmod(np.arange(side * side), side)
    positions = np.stack([646.0 * x - 900.0, 646.0 * y - 900.0], 1) + rng.uniform(-3, 3, (side * side, 2))
    order = rng.permutation(side * side)
    np.testing.assert_allclose(merge_sites(embeddings[order], positions[order]), merge_sites(embeddings))


def test_positions_that_form_no_grid_leave_the_order() -> None:
    embeddings = np.random.default_rng(3).normal(size=(9, 2))
    for positions in (np.zeros((9, 2)), np.full((9, 2), np.nan), np.stack([np.arange(9.0)] * 2, 1)):
        np.testing.assert_array_equal(merge_sites(embeddings, positions), embeddings.ravel())


@pytest.mark.parametrize("count", [1, 4, 7, 8])
def test_missing_sites_get_the_wells_mean(count: int) -> None:
    embeddings = np.random.default_rng(4).normal(size=(count, 3))
    with pytest.warns(SiteCountWarning, match=f"{count} sites"):
        merged = merge_sites(embeddings).reshape(9, 3)
    np.testing.assert_array_equal(merged[:count], embeddings)
    np.testing.assert_allclose(merged[count:], np.broadcast_to(embeddings.mean(0), (9 - count, 3)))


@pytest.mark.filterwarnings("ignore::sslprofiler_core.profiling.merging.SiteCountWarning")
@settings(max_examples=40)
@given(count=st.integers(1, 40), constant=st.floats(-1e3, 1e3, allow_subnormal=False))
def test_equal_sites_give_nine_equal_places(count: int, constant: float) -> None:
    merged = merge_sites(np.full((count, 2), constant))
    np.testing.assert_allclose(merged, np.full(18, constant), rtol=1e-12)


def test_twenty_five_sites_are_interpolated() -> None:
    y, x = np.divmod(np.arange(25), 5)
    with pytest.warns(SiteCountWarning, match="interpolated"):
        merged = merge_sites((x + 10.0 * y)[:, None])
    at = np.array([1 / 3, 2, 11 / 3])
    np.testing.assert_allclose(merged.reshape(3, 3), at + 10.0 * at[:, None])


def test_mean_is_over_the_sites_that_are_there() -> None:
    embeddings = np.random.default_rng(5).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_allclose(merge_sites(embeddings, how="mean"), embeddings.mean(0), rtol=1e-6)
    tensor = merge_sites(torch.from_numpy(embeddings), how="mean")
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32


def test_what_is_no_well() -> None:
    with pytest.raises(ValueError, match="at least one site"):
        merge_sites(np.empty((0, 3)))
    with pytest.raises(ValueError, match="median"):
        merge_sites(np.zeros((9, 3)), how="median")
