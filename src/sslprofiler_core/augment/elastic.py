"""Elastic displacement (paper 6.2), sampled directly instead of by blurring full-size noise.

White noise of unit variance, blurred with a Gaussian of deviation sigma and scaled by alpha, is a stationary Gaussian
field of deviation alpha / (2 sqrt(pi) sigma) and autocorrelation exp(-d^2 / (4 sigma^2)), a product over the two axes.
So the field is ``L_y z L_x^T``, with z a small matrix of normals and L a factor of the correlation along one axis. L
holds the cosines and sines of the correlation's Fourier series: an eigen-decomposition would need as many columns, but
its vectors' signs differ between linear algebra libraries, and it is not known between grid points.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.errors import UserError
from sslprofiler_core.keys import Keys, normals

# Both in units of 1 / sigma and sigma. The spectrum exp(-sigma^2 w^2) beyond _CUT holds 1e-6 of the variance, and a
# period longer than the field by _GAP leaves 1e-6 of correlation between its opposite ends.
_CUT = 3.46
_GAP = 7.43
_MOST_TERMS = 512


def deviation(alpha: float, sigma: float) -> float:
    """Return the displacement's standard deviation in pixels, alpha / (2 sqrt(pi) sigma) (paper 6.2)."""
    return alpha / (2.0 * math.sqrt(math.pi) * sigma)


@functools.lru_cache(maxsize=256)
def spectrum(extent: float, sigma: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Fourier series of exp(-d^2 / (4 sigma^2)) for distances up to ``extent``.

    Returns
    -------
    Angular frequencies in radians a pixel, and amplitudes whose squares sum to 1, both ``(terms,)`` float64; the first
    term is the constant.

    Raises
    ------
    UserError
        If sigma is so small against the extent that the series would be long.
    """
    period = extent + _GAP * sigma
    terms = math.ceil(_CUT * period / (2.0 * math.pi * sigma)) + 1
    if terms > _MOST_TERMS:
        raise UserError(
            f"elastic sigma = {sigma:g} px is too fine for {extent:g} px. Take at least {extent / 900.0:.2g}."
        )
    omega: NDArray[np.float64] = 2.0 * np.pi / period * np.arange(terms, dtype=np.float64)
    power: NDArray[np.float64] = np.exp(-((sigma * omega) ** 2))
    power[1:] *= 2.0
    return omega, np.sqrt(power / power.sum())


def waves(keys_B: Keys, terms: int) -> NDArray[np.float32]:
    """Draw the field's coefficients: normals ``(B, 2, 2 terms - 1, 2 terms - 1)``, x before y, float32."""
    rank = 2 * terms - 1
    keys_B = np.asarray(keys_B, np.int64).reshape(-1)
    return normals(keys_B, 2 * rank * rank).reshape(-1, 2, rank, rank).astype(np.float32)


def factor(positions_BN: Tensor, omega_BM: Tensor, amplitude_BM: Tensor) -> Tensor:
    """Evaluate the factor L at positions along one axis: ``(B, N, 2 M - 1)``, each row of length 1."""
    phase_BNM = positions_BN[..., None] * omega_BM[:, None, 1:]
    amplitude_B1M = amplitude_BM[:, None, 1:]
    constant_BN1 = amplitude_BM[:, None, :1].expand(-1, positions_BN.shape[1], -1)
    return torch.cat([constant_BN1, amplitude_B1M * phase_BNM.cos(), amplitude_B1M * phase_BNM.sin()], dim=-1)


def elastic_displacement(
    keys_B: Keys | Tensor | Sequence[int], height: int, width: int, alpha: float = 1200.0, sigma: float = 40.0
) -> Tensor:
    """Sample the displacement fields of paper 6.2, (delta_x, delta_y) ~ alpha G_sigma * N(0, 1).

    Parameters
    ----------
    keys_B
        One key a sample, int64. Equal keys give equal fields, whatever else is in the batch.
    height, width
        Size of the field in pixels.
    alpha, sigma
        Magnitude and smoothness in pixels.

    Returns
    -------
    Tensor ``(B, 2, height, width)``, float32, in pixels: delta_x (along columns), then delta_y (along rows). Each has
    standard deviation alpha / (2 sqrt(pi) sigma), 8.46 by default, and autocorrelation exp(-d^2 / (4 sigma^2)).

    Raises
    ------
    UserError
        If the size is empty, sigma is not positive or too small for the size, or alpha or sigma is not finite.
    """
    if height < 1 or width < 1 or not 0.0 < sigma < math.inf or not math.isfinite(alpha):
        raise UserError(
            f"No elastic field of {height} x {width} px with alpha {alpha:g} and sigma {sigma:g}: sizes and sigma must "
            "be positive, and all finite."
        )
    keys = np.asarray(keys_B, np.int64).reshape(-1)
    omega_M, amplitude_M = spectrum(float(max(height, width)), float(sigma))
    z_B2RR = torch.from_numpy(waves(keys, len(omega_M))) * deviation(alpha, sigma)
    omega_1M, amplitude_1M = (torch.from_numpy(x.astype(np.float32))[None] for x in (omega_M, amplitude_M))
    rows_HR = factor(torch.arange(height, dtype=torch.float32)[None], omega_1M, amplitude_1M)[0]
    columns_WR = factor(torch.arange(width, dtype=torch.float32)[None], omega_1M, amplitude_1M)[0]
    return rows_HR @ z_B2RR @ columns_WR.mT
