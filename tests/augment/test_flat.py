"""Dividing sites by their illumination, against numpy and by what it must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from sslprofiler_core.augment import flatten_sites

GRID = 24


@pytest.mark.parametrize("size", [(48, 48), (50, 37), (24, 24), (12, 200)])
def test_sites_are_divided_by_the_field_between_its_places(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    site = rng.integers(0, 65536, (3, *size)).astype(np.uint16)
    field = rng.uniform(0.5, 2.0, (3, GRID, GRID)).astype(np.float32)
    (found,) = flatten_sites([torch.from_numpy(site)], torch.from_numpy(field)[None])
    scale = [side / GRID for side in size]
    fine = np.stack([zoom(one, scale, order=1, grid_mode=True, mode="nearest") for one in field])
    expected = np.clip(np.rint(site / fine), 0, 65535)
    assert found.dtype == torch.uint16 and found.shape == site.shape
    assert np.abs(found.numpy().astype(np.int64) - expected).max() <= 1  # float32 against float64


def test_an_even_field_and_none_leave_sites_alone() -> None:
    sites = [torch.arange(65536, dtype=torch.int32).to(torch.uint16).reshape(1, 256, 256), torch.zeros(1, 8, 9)]
    assert flatten_sites(sites, None) == sites
    even = flatten_sites(sites, torch.ones(2, 1, GRID, GRID))
    for one, other in zip(even, sites, strict=True):
        assert one.dtype == other.dtype and torch.equal(one.to(torch.int32), other.to(torch.int32))
    bright = [torch.full((1, 8, 8), 250, dtype=torch.uint8), torch.full((1, 8, 8), 30_000, dtype=torch.int16)]
    assert [int(site.max()) for site in flatten_sites(bright, torch.full((2, 1, 4, 4), 0.5))] == [255, 32_767]
    floats = torch.linspace(0.0, 1.0, 64).reshape(1, 8, 8)
    assert torch.equal(flatten_sites([floats], torch.full((1, 1, 4, 4), 0.5))[0], 2.0 * floats)
    assert floats.max() == 1.0  # the site given is left alone
    with pytest.raises(ValueError, match="argument"):
        flatten_sites(sites, torch.ones(1, 1, GRID, GRID))
