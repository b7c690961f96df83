"""The displacement field has the formula's deviation and autocorrelation (paper 6.2)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from sslprofiler_core.augment import elastic_displacement
from sslprofiler_core.augment.elastic import factor, spectrum
from sslprofiler_core.errors import UserError
from sslprofiler_core.keys import fold


@pytest.mark.parametrize(("extent", "sigma"), [(1080.0, 40.0), (128.0, 10.0), (64.0, 200.0), (30.5, 0.5)])
def test_the_factor_squares_to_the_correlation(extent: float, sigma: float) -> None:
    omega, amplitude = (torch.from_numpy(x)[None] for x in spectrum(extent, sigma))
    positions = torch.linspace(0.0, extent, 200, dtype=torch.float64)
    rows = factor(positions[None], omega, amplitude)[0]
    expected = torch.exp(-((positions[:, None] - positions) ** 2) / (4 * sigma**2))
    assert (rows @ rows.T - expected).abs().max() < 1e-5


def test_the_field_has_the_papers_deviation_and_autocorrelation() -> None:
    sigma, alpha = 4.0, 120.0
    fields = elastic_displacement(fold(0, np.arange(400)), 96, 120, alpha, sigma).double()
    variance = (alpha / (2 * math.sqrt(math.pi) * sigma)) ** 2
    for axis in range(2):
        field = fields[:, axis]
        assert field.square().mean().item() == pytest.approx(variance, rel=0.02)
        for lag in (1, 3, 5, 8):
            expected = math.exp(-(lag**2) / (4 * sigma**2))
            assert (field[:, lag:] * field[:, :-lag]).mean().item() / variance == pytest.approx(expected, abs=0.02)
            assert (field[..., lag:] * field[..., :-lag]).mean().item() / variance == pytest.approx(expected, abs=0.02)
        # The two directions are a product: correlation depends on the distance alone.
        diagonal = (field[:, 3:, 4:] * field[:, :-3, :-4]).mean().item() / variance
        assert diagonal == pytest.approx(math.exp(-25 / (4 * sigma**2)), abs=0.02)
    assert abs((fields[:, 0] * fields[:, 1]).mean().item()) / variance < 0.02


def test_the_default_is_the_papers_8_46_pixels() -> None:
    fields = elastic_displacement(fold(1, np.arange(20_000)), 2, 3)
    assert fields.shape == (20_000, 2, 2, 3) and fields.dtype == torch.float32
    assert fields.double().square().mean().sqrt().item() == pytest.approx(8.4628, rel=0.02)


def test_it_agrees_with_blurred_noise() -> None:
    """The paper's own construction, blurring white noise, has the same second moments."""
    noise = np.random.default_rng(0).standard_normal((40, 160, 160))
    blurred = 120.0 * gaussian_filter(noise, (0, 4, 4), mode="wrap", truncate=6)
    ours = elastic_displacement(fold(2, np.arange(80)), 160, 160, 120.0, 4.0).numpy()
    assert ours.std() == pytest.approx(blurred.std(), rel=0.02)
    for lag in (2, 6):
        theirs = (blurred[..., lag:] * blurred[..., :-lag]).mean() / blurred.var()
        assert (ours[..., lag:] * ours[..., :-lag]).mean() / ours.var() == pytest.approx(theirs, abs=0.02)


def test_equal_keys_give_equal_fields_in_any_batch() -> None:
    keys = fold(3, np.arange(8))
    fields = elastic_displacement(keys, 40, 30)
    assert torch.equal(elastic_displacement(torch.from_numpy(keys), 40, 30), fields)
    assert torch.allclose(elastic_displacement(keys[[5, 1]], 40, 30), fields[[5, 1]], atol=1e-5)
    assert not torch.allclose(fields[0], fields[1], atol=0.1)


@pytest.mark.parametrize(
    "arguments",
    [(0, 10, 1.0, 1.0), (10, 10, 1.0, 0.0), (5000, 10, 1.0, 1.0), (9, 9, 1.0, math.inf), (9, 9, math.nan, 1.0)],
)
def test_impossible_fields_are_refused(arguments: tuple[int, int, float, float]) -> None:
    with pytest.raises(UserError, match="sigma"):
        elastic_displacement([1], *arguments)
