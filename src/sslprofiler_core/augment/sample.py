"""Windows of sites to views: float32, scaled to [0, 1], averaged where they shrink, and sampled once.

A CPU works on one site after another, a few channels at a time, so that what it holds stays in its cache. Elsewhere a
site is too little work for a launch: sites are copied into one buffer and sampled together. Where Triton is, a kernel
does it in one pass (``fused.sample_at_once``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .geometry import Window, average, fold_back, fold_together
from .transfer import send


def sample_each(
    sites: Sequence[Tensor],
    scales_2bC11: Tensor,
    windows: Sequence[Window],
    planes_b2SS: Tensor,
    views_bCSS: Tensor,
    chunk: int,
) -> None:
    """Sample one site after another into ``views_bCSS``, with at most ``chunk`` float32 pixels of a window at a time.

    ``scales_2bC11`` holds what is subtracted, then what is multiplied by; ``planes_b2SS`` the grids, which are changed.
    """
    for number, (site_CHW, window) in enumerate(zip(sites, windows, strict=True)):
        low_C11, gain_C11 = scales_2bC11[:, number]
        if not window.exact:
            fold_back(planes_b2SS[number], window)
            grid_1SS2 = planes_b2SS[number].permute(1, 2, 0)[None]
        together = max(1, chunk // ((window.bottom - window.top) * (window.right - window.left)))
        for first in range(0, len(site_CHW), together):
            part = slice(first, first + together)
            raw_CHW = site_CHW[part, window.top : window.bottom, window.left : window.right]
            pixels_CHW = raw_CHW.to(torch.float32, copy=True).sub_(low_C11[part]).mul_(gain_C11[part]).clamp_(0.0, 1.0)
            if window.exact:
                views_bCSS[number, part] = pixels_CHW
            else:
                level_1CHW = average(pixels_CHW, window.level)[None]
                views_bCSS[number, part] = _grid_sample(level_1CHW, grid_1SS2)[0]


def sample_together(
    sites: Sequence[Tensor],
    scales_2bC11: Tensor,
    windows: Sequence[Window],
    planes_b2SS: Tensor,
    views_bCSS: Tensor,
    chunk: int,
) -> None:
    """Do the same for all sites of a level at once, as far as a chunk holds them."""
    channels = views_bCSS.shape[1]
    for level in sorted({window.level for window in windows}):
        alike = [number for number, window in enumerate(windows) if window.level == level and not window.exact]
        while alike:
            count, area = 0, 0
            for count, number in enumerate(alike):
                area = max(area, windows[number].rows * windows[number].columns)
                if (count + 1) * area * channels > chunk:
                    break
            else:
                count = len(alike)
            group, alike = alike[: max(1, count)], alike[max(1, count) :]
            together = channels if count else max(1, chunk // area)
            _sample_group(sites, scales_2bC11, windows, planes_b2SS, views_bCSS, group, together)
    for number, window in enumerate(windows):
        if window.exact:
            low_C11, gain_C11 = scales_2bC11[:, number]
            raw_CHW = sites[number][:, window.top : window.bottom, window.left : window.right]
            views_bCSS[number].copy_(raw_CHW).sub_(low_C11).mul_(gain_C11).clamp_(0.0, 1.0)


def _sample_group(
    sites: Sequence[Tensor],
    scales_2bC11: Tensor,
    windows: Sequence[Window],
    planes_b2SS: Tensor,
    views_bCSS: Tensor,
    group: Sequence[int],
    together: int,
) -> None:
    chosen = [windows[number] for number in group]
    rows, columns = max(window.rows for window in chosen), max(window.columns for window in chosen)
    where_n = send(np.array(group), views_bCSS.device)
    scales_2nC11 = scales_2bC11.index_select(1, where_n)
    grid_nSS2 = fold_together(planes_b2SS.index_select(0, where_n), chosen, rows, columns).permute(0, 2, 3, 1)
    channels = views_bCSS.shape[1]
    for first in range(0, channels, together):
        part = slice(first, min(first + together, channels))
        # Zeros, since a weight of 0 times what uninitialised memory holds may be NaN.
        pixels_nCHW = views_bCSS.new_zeros((len(group), part.stop - part.start, rows, columns))
        for place, (number, window) in enumerate(zip(group, chosen, strict=True)):
            height, width = window.bottom - window.top, window.right - window.left
            here_CHW = pixels_nCHW[place, :, : window.rows, : window.columns]
            here_CHW[:, :height, :width].copy_(
                sites[number][part, window.top : window.bottom, window.left : window.right]
            )
            if height < window.rows:
                here_CHW[:, height:, :width] = here_CHW[:, height - 1 : height, :width]
            if width < window.columns:
                here_CHW[:, :, width:] = here_CHW[:, :, width - 1 : width]
        # A view has fewer pixels than its window, so what can be done after sampling is.
        low_nC11, gain_nC11 = scales_2nC11[:, :, part]
        torch.clamp(pixels_nCHW, low_nC11, low_nC11 + 1.0 / gain_nC11, out=pixels_nCHW)
        level_CHW = average(pixels_nCHW.flatten(0, 1), chosen[0].level)
        level_nCHW = level_CHW.view(*pixels_nCHW.shape[:2], *level_CHW.shape[1:])
        del pixels_nCHW, level_CHW
        sampled_nCSS = _grid_sample(level_nCHW, grid_nSS2).sub_(low_nC11).mul_(gain_nC11)
        if len(group) == len(views_bCSS):
            views_bCSS[:, part] = sampled_nCSS
        else:
            views_bCSS[:, part][where_n] = sampled_nCSS


def _grid_sample(images_NCHW: Tensor, grid_NSS2: Tensor) -> Tensor:
    # MPS knows no padding_mode="border".
    return functional.grid_sample(
        images_NCHW, grid_NSS2, mode="bilinear", padding_mode="reflection", align_corners=False
    )
