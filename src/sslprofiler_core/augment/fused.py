"""Two passes over memory on an NVIDIA GPU: sites to views, and, after one reduction, the paper's intensity chain.

Each equals torch's operations in ``sample`` or in ``intensity`` and ``noise``, and is compared with them on the device
before anything rests on it.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.keys import Keys

from .draw import whole
from .elastic import deviation
from .geometry import Window, grid_planes, place_views
from .intensity import jitter_, means
from .noise import noise_, noise_tables, stream_salts
from .sample import sample_together
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
    shift_BC = means(images_BCHW, (-2, -1))[..., 0, 0].mul_(1.0 - gamma_BC)
    tables = noise_tables(*(float(x) for x in strengths), str(device))
    salts_BS3 = send(stream_salts(keys_B, tables.grids), device)
    noisy = send(noisy_B.astype(np.int32), device)
    launch(images_BCHW, gain_BC, shift_BC, noisy, salts_BS3, tables.arrays, tables.step, strengths)


def sample_at_once(
    sites: Sequence[Tensor],
    scales_2bC11: Tensor,
    windows: Sequence[Window],
    planes_b2SS: Tensor,
    views_bCSS: Tensor,
    chunk: int,
) -> None:
    """Do what ``sample_together`` does, reading each site where it lies; sites of several types are left to that."""
    from .sample_kernel import PIXELS, launch

    if any(site.dtype != sites[0].dtype for site in sites) or sites[0].dtype not in PIXELS:
        sample_together(sites, scales_2bC11, windows, planes_b2SS, views_bCSS, chunk)
    else:
        launch(sites, scales_2bC11, windows, planes_b2SS, views_bCSS)


@functools.lru_cache(maxsize=16)
def usable(device: torch.device, agrees: Callable[[torch.device], bool]) -> bool:
    """Say whether a pass runs on a device and equals torch's operations there; tried once in a process."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    try:
        problem = "" if agrees(device) else "other results than torch's"
    except Exception as error:  # whatever a compiler, a driver or a missing package may raise
        problem = type(error).__name__
    if problem:
        warnings.warn(f"Augmentations run unfused, which is slower: {problem} from Triton on {device}.", stacklevel=2)
    return not problem


def intensity_agrees(device: torch.device) -> bool:
    """Whether ``jitter_and_noise_`` does what torch's operations do."""
    images_BCHW = torch.linspace(0.0, 1.0, 3 * 2 * 33 * 31, device=device).view(3, 2, 33, 31).contiguous()
    brightness_BC, contrast_BC = np.linspace(0.6, 1.4, 6).reshape(3, 2), np.linspace(1.4, 0.7, 6).reshape(3, 2)
    noisy_B, keys_B, strengths = np.array([True, False, True]), np.arange(3), (0.1, 0.05, 0.01)
    expected = jitter_(images_BCHW.clone(), send(brightness_BC, device), send(contrast_BC, device)).clamp_(0.0, 1.0)
    expected[[0, 2]] = noise_(expected[[0, 2]], *strengths, keys_B[[0, 2]])
    jitter_and_noise_(images_BCHW, brightness_BC, contrast_BC, noisy_B, keys_B, strengths)
    # Where rounding moves a rate across a threshold, a count differs.
    return bool(((images_BCHW - expected).abs() > 1e-4).float().mean() < 1e-3)


def sampling_agrees(device: torch.device) -> bool:
    """Whether ``sample_at_once`` does what torch's operations do: reflected, averaged, and where nothing is sampled."""
    size, channels = 24, 2
    shapes_B2 = np.array([(37, 41), (61, 50), (90, 130), (size, size)], np.float64)
    sites = [
        torch.linspace(0.0, 5e4, channels * int(height * width), device=device)
        .view(channels, int(height), int(width))
        .to(torch.int32)
        .remainder_(997)  # neither smooth nor alike
        .to(torch.uint16)
        for height, width in shapes_B2
    ]
    drawn = whole(shapes_B2, channels)
    drawn = replace(drawn, angle_B=np.array([0.3, 0.0, 2.0, 0.0]), elastic_B=np.array([True, False, False, False]))
    placed = place_views(drawn, shapes_B2, size, deviation(60.0, 8.0))
    windows = [placed.window(number) for number in range(len(sites))]
    scales_2BC11 = torch.tensor([100.0, 1.0 / 700.0], device=device).view(2, 1, 1, 1, 1).expand(2, 4, channels, 1, 1)
    expected_BCSS, made_BCSS = torch.empty((2, len(sites), channels, size, size), device=device)
    for sample, views_BCSS in ((sample_together, expected_BCSS), (sample_at_once, made_BCSS)):
        planes_B2SS = grid_planes(placed, drawn, shapes_B2, size, 60.0, 8.0, slice(0, len(sites)), device)
        sample(sites, scales_2BC11, windows, planes_B2SS, views_BCSS, 1 << 20)
    return bool((made_BCSS - expected_BCSS).abs().max() < 1e-4) and torch.equal(made_BCSS[3], expected_BCSS[3])
