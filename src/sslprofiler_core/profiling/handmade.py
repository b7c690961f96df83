"""Features of a site made by hand, to stand beside a learned model: per-channel intensity, and texture.

Intensity features see how bright a channel is, texture features how its light is arranged: these are normalised by the
channel's own deviation, so that a change of stain alone does not move them. Both are deterministic, cheap, and know
nothing of plates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Site = NDArray[np.floating[Any]]

PERCENTILES = (1.0, 25.0, 50.0, 75.0, 99.0)
LEVELS = 5  # octaves of the pyramid: structures of about 2 to 32 pixels
LAGS = (1, 2, 4, 8, 16)

# A channel flatter than this (in units of full scale) has no texture: its features are zero, not noise.
FLAT = 1e-6


def intensity_features(site_CHW: Site) -> NDArray[np.float32]:
    """Mean, standard deviation and five percentiles of each channel.

    Parameters
    ----------
    site_CHW
        (C, H, W), intensities scaled to [0, 1].

    Returns
    -------
    (7 C,) float32, channel after channel.
    """
    flat = _checked(site_CHW).reshape(len(site_CHW), -1)
    percentiles = np.percentile(flat, PERCENTILES, axis=1).T
    features = np.column_stack([flat.mean(1), flat.std(1), percentiles])
    return features.astype(np.float32).ravel()


def texture_features(site_CHW: Site) -> NDArray[np.float32]:
    """Statistics of how each channel's light is arranged, unchanged by gain and offset.

    Parameters
    ----------
    site_CHW
        (C, H, W), intensities scaled to [0, 1], at least 4 x 4 pixels.

    Returns
    -------
    (27 C + C (C - 1) / 2,) float32. Per channel, after scaling to mean 0 and deviation 1: skewness and kurtosis (as
    ``log1p``); energy and kurtosis of five band-pass octaves (a Laplacian pyramid of 2 x 2 means); mean, deviation and
    99th percentile of the gradient's magnitude; autocorrelation at five lags; and the frequencies of local binary
    patterns by their number of brighter neighbours, in seven classes. Then the correlation of each pair of channels.

    Notes
    -----
    Our choice of textbook statistics: enough to tell whether a signal is there, in about 1 ms a channel of 128 x 128.
    """
    site = _checked(site_CHW)
    deviation = site.std(axis=(1, 2), keepdims=True)
    flat = deviation <= FLAT
    unit = (site - site.mean(axis=(1, 2), keepdims=True)) / np.where(flat, 1.0, deviation)
    unit[flat[:, 0, 0]] = 0.0
    own = np.concatenate(
        [_moments(unit), _octaves(unit), _gradients(unit), _autocorrelation(unit), _binary_patterns(unit)], axis=1
    )
    own[flat[:, 0, 0]] = 0.0
    channels = len(site)
    pixels = unit.reshape(channels, -1)
    correlation = (pixels @ pixels.T) / pixels.shape[1]
    features: NDArray[np.float32] = np.concatenate([own.ravel(), correlation[np.triu_indices(channels, 1)]]).astype(
        np.float32
    )
    return features


def feature_names(kind: str, channels: Sequence[str]) -> list[str]:
    """Names of `intensity_features` (``kind="intensity"``) or `texture_features` (``"texture"``), in their order."""
    if kind == "intensity":
        own = ["Mean", "Deviation", *(f"Percentile{p:g}" for p in PERCENTILES)]
        return [f"{channel}_{name}" for channel in channels for name in own]
    own = ["Skewness", "Kurtosis"]
    own += [f"Octave{i}Energy" for i in range(LEVELS)] + [f"Octave{i}Kurtosis" for i in range(LEVELS)]
    own += ["GradientMean", "GradientDeviation", "GradientPercentile99"]
    own += [f"Autocorrelation{lag}" for lag in LAGS] + [f"BinaryPattern{i}" for i in range(_PATTERNS)]
    pairs = [(a, b) for i, a in enumerate(channels) for b in channels[i + 1 :]]
    return [f"{c}_{name}" for c in channels for name in own] + [f"Correlation_{a}_{b}" for a, b in pairs]


def _checked(site_CHW: Site) -> NDArray[np.float32]:
    site = np.asarray(site_CHW, np.float32)
    if site.ndim != 3 or min(site.shape[1:]) < 4:
        raise ValueError(f"a site is (C, H, W) with at least 4 x 4 pixels, not {site.shape}")
    return site


def _moments(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    squares = unit * unit
    skewness = (squares * unit).mean(axis=(1, 2))
    kurtosis = (squares * squares).mean(axis=(1, 2))
    return np.stack([np.sign(skewness) * np.log1p(np.abs(skewness)), np.log1p(kurtosis)], axis=1)


def _octaves(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log energy and log kurtosis of what each 2 x 2 mean takes away."""
    energies, kurtoses = [], []
    level = unit
    for _ in range(LEVELS):
        height, width = level.shape[1] // 2, level.shape[2] // 2
        if not height or not width:  # a small site has fewer octaves
            energies.append(np.zeros(len(unit), np.float32))
            kurtoses.append(np.zeros(len(unit), np.float32))
            continue
        even = level[:, : 2 * height, : 2 * width].reshape(-1, height, 2, width, 2)
        coarse = even.mean(axis=(2, 4))
        squares = (even - coarse[:, :, None, :, None]) ** 2
        energy = squares.mean(axis=(1, 2, 3, 4))
        fourth = (squares * squares).mean(axis=(1, 2, 3, 4))
        energies.append(np.log(energy + 1e-6))
        kurtoses.append(np.log1p(fourth / np.maximum(energy, 1e-12) ** 2))
        level = coarse
    return np.stack([*energies, *kurtoses], axis=1)


def _gradients(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    down = unit[:, 2:, 1:-1] - unit[:, :-2, 1:-1]
    right = unit[:, 1:-1, 2:] - unit[:, 1:-1, :-2]
    magnitude = 0.5 * np.sqrt(down * down + right * right).reshape(len(unit), -1)
    return np.column_stack([magnitude.mean(1), magnitude.std(1), np.percentile(magnitude, 99.0, axis=1)])


def _autocorrelation(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of the horizontal and the vertical autocorrelation at each lag that fits."""
    result = np.zeros((len(unit), len(LAGS)), np.float32)
    for i, lag in enumerate(LAGS):
        if lag < min(unit.shape[1:]):
            down = np.einsum("chw,chw->c", unit[:, lag:], unit[:, :-lag]) / unit[0, lag:].size
            right = np.einsum("chw,chw->c", unit[:, :, lag:], unit[:, :, :-lag]) / unit[0, :, lag:].size
            result[:, i] = (down + right) / 2
    return result


_PATTERNS = 7
_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
# 0 brighter neighbours is a peak, 8 a pit; the classes between are widened where they are rare.
_CLASS = np.array([0, 1, 2, 3, 3, 3, 4, 5, 6])


def _binary_patterns(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = unit.shape[1:]
    middle = unit[:, 1:-1, 1:-1]
    brighter = np.zeros(middle.shape, np.uint8)
    for dy, dx in _AROUND:
        brighter += unit[:, 1 + dy : height - 1 + dy, 1 + dx : width - 1 + dx] > middle
    counts = np.stack([np.bincount(_CLASS[own.ravel()], minlength=_PATTERNS) for own in brighter])
    frequencies: NDArray[np.float32] = (counts / middle[0].size).astype(np.float32)
    return frequencies
