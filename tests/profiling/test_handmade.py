from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sslprofiler_core.profiling import feature_names, intensity_features, texture_features


def smooth_site(seed: int, channels: int = 3, size: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.random((channels, size, size))
    for axis in (1, 2):
        image = (image + np.roll(image, 1, axis) + np.roll(image, 2, axis)) / 3
    return image.astype(np.float32)


def column(features: np.ndarray, kind: str, name: str, channels: int = 3) -> float:
    return float(features[feature_names(kind, [str(c) for c in range(channels)]).index(name)])


def test_intensity_is_mean_deviation_and_percentiles() -> None:
    site = smooth_site(0)
    features = intensity_features(site)
    assert features.shape == (len(feature_names("intensity", "abc")),)
    channel = site[1].astype(np.float64)
    assert column(features, "intensity", "1_Mean") == pytest.approx(channel.mean(), rel=1e-5)
    assert column(features, "intensity", "1_Deviation") == pytest.approx(channel.std(), rel=1e-5)
    assert column(features, "intensity", "1_Percentile99") == pytest.approx(np.quantile(channel, 0.99), rel=1e-5)


def test_texture_against_scipy_and_numpy() -> None:
    site = smooth_site(1)
    features = texture_features(site)
    assert features.shape == (len(feature_names("texture", "abc")),)
    channel = site[2].astype(np.float64)
    skewness, kurtosis = stats.skew(channel.ravel()), stats.kurtosis(channel.ravel(), fisher=False)
    assert column(features, "texture", "2_Skewness") == pytest.approx(
        np.sign(skewness) * np.log1p(abs(skewness)), abs=1e-4
    )
    assert column(features, "texture", "2_Kurtosis") == pytest.approx(np.log1p(kurtosis), rel=1e-4)
    unit = (channel - channel.mean()) / channel.std()
    lag = ((unit[4:] * unit[:-4]).mean() + (unit[:, 4:] * unit[:, :-4]).mean()) / 2
    assert column(features, "texture", "2_Autocorrelation4") == pytest.approx(lag, abs=1e-5)
    coarse = unit.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    energy = ((unit - np.kron(coarse, np.ones((2, 2)))) ** 2).mean()
    assert column(features, "texture", "2_Octave0Energy") == pytest.approx(np.log(energy + 1e-6), abs=1e-4)
    correlation = np.corrcoef(site[0].ravel(), site[2].ravel())[0, 1]
    assert column(features, "texture", "Correlation_0_2") == pytest.approx(correlation, abs=1e-4)
    gy, gx = np.gradient(unit)
    magnitude = np.hypot(gy, gx)[1:-1, 1:-1]
    assert column(features, "texture", "2_GradientMean") == pytest.approx(magnitude.mean(), rel=1e-4)
    patterns = [column(features, "texture", f"2_BinaryPattern{i}") for i in range(7)]
    assert sum(patterns) == pytest.approx(1.0, abs=1e-5)
    peaks = np.mean(
        [[unit[y, x] == unit[y - 1 : y + 2, x - 1 : x + 2].max() for x in range(1, 63)] for y in range(1, 63)]
    )
    assert patterns[0] == pytest.approx(peaks, abs=1e-6)


@settings(max_examples=20)
@given(gain=st.floats(0.05, 2.0), offset=st.floats(0.0, 0.5), seed=st.integers(0, 99))
def test_texture_does_not_see_gain_or_offset(gain: float, offset: float, seed: int) -> None:
    site = smooth_site(seed, channels=2, size=32)
    np.testing.assert_allclose(texture_features(gain * site + offset), texture_features(site), atol=5e-3)


def test_texture_sees_scale_and_the_channels_order() -> None:
    fine, coarse = smooth_site(3), np.kron(smooth_site(3, size=16), np.ones((1, 4, 4)))
    assert column(texture_features(coarse), "texture", "0_Octave0Energy") < column(
        texture_features(fine), "texture", "0_Octave0Energy"
    )
    flipped = texture_features(fine[::-1])
    per_channel = 27
    np.testing.assert_allclose(
        flipped[:per_channel], texture_features(fine)[2 * per_channel : 3 * per_channel], rtol=1e-5
    )


@pytest.mark.parametrize("size", [4, 7, 33])
def test_flat_and_small_sites_are_finite(size: int) -> None:
    site = np.zeros((3, size, size), np.float32)
    site[1] = 1.0
    site[2] = np.random.default_rng(0).random((size, size))
    for features in (intensity_features(site), texture_features(site)):
        assert features.dtype == np.float32 and np.isfinite(features).all()
    np.testing.assert_array_equal(texture_features(site)[: 2 * 27], 0.0)


def test_what_is_no_site() -> None:
    with pytest.raises(ValueError, match="4 x 4"):
        texture_features(np.zeros((1, 3, 9)))
    with pytest.raises(ValueError, match="site is"):
        intensity_features(np.zeros((9, 9)))
