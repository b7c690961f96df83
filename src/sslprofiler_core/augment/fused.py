"""The paper's intensity chain on an NVIDIA GPU: one reduction, then one pass over memory."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.keys import Keys

from .intensity import jitter_
from .noise import noise_, noise_tables, stream_salts
from .transfer import send

Floats = NDArray[np.float64]


def jitter_and_noise_(
    images_BCHW: Tensor,
    brightness_BC: Floats,
    contrast_BC: Floats,
    noisy_B: NDArray[np.bool_],
    keys_B: Keys,
    strengths: tuple[float, float, float],
) -> None:
    """Apply ``jitter_``, a clamp to [0, 1], and ``noise_`` to the noisy ones, in place; contiguous float32 images."""
    from .intensity_kernel import launch

    device = images_BCHW.device
    gain_BC, gamma_BC = send(brightness_BC * contrast_BC, device), send(contrast_BC, device)
    shift_BC = images_BCHW.mean(dim=(-2, -1)).mul_(1.0 - gamma_BC)
    tables = noise_tables(*(float(x) for x in strengths), str(device))
    salts_BS3 = send(stream_salts(keys_B, tables.grids), device)
    noisy = send(noisy_B.astype(np.int32), device)
    launch(images_BCHW, gain_BC, shift_BC, noisy, salts_BS3, tables.arrays, tables.step, strengths)


@functools.lru_cache(maxsize=8)
def usable(device: torch.device) -> bool:
    """Say whether the pass runs on a device and equals torch's operations there; tried once in a process."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    try:
        return _agrees(device)
    except Exception as error:  # whatever a compiler, a driver or a missing package may raise
        warnings.warn(
            f"Augmentations run unfused, which is slower: {type(error).__name__} from Triton on {device}.", stacklevel=2
        )
        return False


def _agrees(device: torch.device) -> bool:
    images_BCHW = torch.linspace(0.0, 1.0, 3 * 2 * 33 * 31, device=device).view(3, 2, 33, 31).contiguous()
    brightness_BC, contrast_BC = np.linspace(0.6, 1.4, 6).reshape(3, 2), np.linspace(1.4, 0.7, 6).reshape(3, 2)
    noisy_B, keys_B, strengths = np.array([True, False, True]), np.arange(3), (0.1, 0.05, 0.01)
    expected = jitter_(images_BCHW.clone(), send(brightness_BC, device), send(contrast_BC, device)).clamp_(0.0, 1.0)
    expected[[0, 2]] = noise_(expected[[0, 2]], *strengths, keys_B[[0, 2]])
    jitter_and_noise_(images_BCHW, brightness_BC, contrast_BC, noisy_B, keys_B, strengths)
    # Where rounding moves a rate across a threshold, a count differs.
    return bool(((images_BCHW - expected).abs() > 1e-4).float().mean() < 1e-3)
