"""Jitter holds the paper's formula; standardised channels have mean 0 and deviation 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sslprofiler_core.augment import channel_jitter
from sslprofiler_core.augment.intensity import standardise_


def test_jitter_is_the_papers_formula() -> None:
    rng = np.random.default_rng(0)
    images = rng.random((4, 5, 61, 47)).astype(np.float32)
    brightness, contrast = rng.uniform(0.6, 1.4, (2, 4, 5))
    exact = images.astype(np.float64)
    mean = exact.mean((2, 3), keepdims=True)  # before the brightness
    expected = (exact * brightness[..., None, None] - mean) * contrast[..., None, None] + mean
    given = torch.from_numpy(images)
    ours = channel_jitter(given, torch.from_numpy(brightness), torch.from_numpy(contrast))
    assert np.abs(ours.numpy() - expected).max() < 1e-6
    assert ours.min() < 0 or ours.max() > 1  # unclipped
    assert np.array_equal(given.numpy(), images)


def test_factors_of_one_change_nothing() -> None:
    images, ones = torch.rand(2, 3, 8, 8), torch.ones(2, 3)
    assert torch.equal(channel_jitter(images, ones, ones), images)


def test_jitter_keeps_the_type() -> None:
    images, ones = torch.rand(1, 2, 8, 8).bfloat16(), torch.ones(1, 2)
    assert channel_jitter(images, ones * 0.5, ones).dtype == torch.bfloat16


def test_standardised_channels() -> None:
    images = torch.rand(3, 4, 20, 30) * torch.tensor([1.0, 0.1, 0.01, 1.0])[:, None, None] + 0.2
    images[1, 2] = 0.25
    exact = images.double()
    done = standardise_(images.clone()).double()
    assert done[1, 2].abs().max() == 0.0
    expected = (exact - exact.mean((2, 3), keepdim=True)) / exact.std((2, 3), correction=0, keepdim=True)
    expected[1, 2] = 0.0
    assert (done - expected).abs().max() == pytest.approx(0.0, abs=5e-3)
    assert done[0].std((1, 2)).min() > 0.99
