"""Sites to views: the one entry that training, embedding, previews and the docs use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import AugmentRecipe

from .draw import Drawn, whole
from .elastic import deviation
from .geometry import Window, average, fold_back, grid_planes, place_views
from .intensity import jitter_, standardise_
from .noise import noise_

_UNSIGNED = (torch.uint8, torch.uint16, torch.uint32)
_INTEGERS = (*_UNSIGNED, torch.int8, torch.int16, torch.int32, torch.int64)
# Float32 pixels held at a time beside the output. A CPU's chunks stay in its cache.
_CHUNK = {"cpu": 1 << 20}
_CHUNK_ELSEWHERE = 1 << 25


def render_views(
    sites: Sequence[Tensor],
    scales_BC2: Tensor,
    drawn: Drawn,
    recipe: AugmentRecipe,
    names: Sequence[str] | None = None,
) -> Tensor:
    """Render one view a site.

    The site's window becomes float32, is scaled to [0, 1] and clipped, and is sampled once (crop, flips, rotation and
    elastic deformation are one grid); then jitter, a clamp to [0, 1], microscope noise, and standardisation where the
    recipe asks for it.

    Parameters
    ----------
    sites
        Raw sites ``(C, H, W)``, of any sizes, all on one device: unsigned integers, or non-negative other numbers.
    scales_BC2
        Raw intensities that become 0 and 1, per sample and channel.
    drawn
        What ``draw_views`` drew for these sites.
    recipe
        The recipe's augmentations: the view's size, elastic and noise strengths, standardisation.
    names
        What errors call the samples.

    Returns
    -------
    Tensor ``(B, C, size, size)``, float32, on the sites' device; in [0, 1] unless standardised.

    Raises
    ------
    UserError
        Naming the sample: if a site is empty, not ``(C, H, W)``, or has negative or non-finite pixels; if scales do
        not fit its channels or do not ascend; if a crop is not within its site.
    """
    _check_batch(sites, scales_BC2, names)
    _check_drawn(sites, drawn, names)
    shapes_B2 = np.array([site.shape[1:] for site in sites], np.float64)
    return _render(sites, scales_BC2, drawn, shapes_B2, recipe, recipe.size)


def whole_sites(
    sites: Sequence[Tensor],
    scales_BC2: Tensor,
    size: int,
    recipe: AugmentRecipe,
    names: Sequence[str] | None = None,
) -> Tensor:
    """Render whole sites for embedding: the same resampler as the views', nothing random.

    Parameters
    ----------
    sites, scales_BC2, recipe, names
        As in ``render_views``; of the recipe only ``standardise`` matters.
    size
        Side of the result in pixels.

    Returns
    -------
    Tensor ``(B, C, size, size)``, float32. A site that is not square keeps its aspect: its longer side becomes
    ``size``, and the rest shows its reflection (our choice: neither stretched cells nor lost ones).

    Raises
    ------
    UserError
        As ``render_views``, or if ``size`` is not positive.
    """
    if size < 1:
        raise UserError(f"Sites cannot be rendered at {size} px. Take a positive size.")
    _check_batch(sites, scales_BC2, names)
    shapes_B2 = np.array([site.shape[1:] for site in sites], np.float64)
    return _render(sites, scales_BC2, whole(shapes_B2, sites[0].shape[0]), shapes_B2, recipe, size)


@torch.no_grad()
def _render(
    sites: Sequence[Tensor],
    scales_BC2: Tensor,
    drawn: Drawn,
    shapes_B2: NDArray[np.float64],
    recipe: AugmentRecipe,
    size: int,
) -> Tensor:
    device, channels = sites[0].device, sites[0].shape[0]
    # Autocast would put the sampling grid's products in bf16, whole pixels off.
    with torch.autocast(device.type, enabled=False):
        placed = place_views(drawn, shapes_B2, size, deviation(recipe.elastic_alpha, recipe.elastic_sigma))
        scales = scales_BC2.to(device=device, dtype=torch.float32)
        scales_2BC11 = torch.stack([scales[..., 0], 1.0 / (scales[..., 1] - scales[..., 0])])[..., None, None]
        views_BCSS = torch.empty((len(sites), channels, size, size), dtype=torch.float32, device=device)
        chunk = _CHUNK.get(device.type, _CHUNK_ELSEWHERE)
        together = max(1, chunk // (channels * size * size))
        for start in range(0, len(sites), together):
            rows = slice(start, min(start + together, len(sites)))
            planes = grid_planes(
                placed, drawn, shapes_B2, size, recipe.elastic_alpha, recipe.elastic_sigma, rows, device
            )
            for number in range(rows.start, rows.stop):
                window = placed.window(number)
                _sample(
                    sites[number], scales_2BC11[:, number], window, planes[number - start], views_BCSS[number], chunk
                )
            _intensity(views_BCSS, rows, drawn, recipe)
    return views_BCSS


def _sample(
    site_CHW: Tensor, scale_2C11: Tensor, window: Window, planes_2SS: Tensor, view_CSS: Tensor, chunk: int
) -> None:
    """Scale a site's window to [0, 1] and sample it, as many channels at a time as a chunk holds."""
    if not window.exact:
        fold_back(planes_2SS, window)
        grid_1SS2 = planes_2SS.permute(1, 2, 0)[None]
    low_C11, gain_C11 = scale_2C11
    together = max(1, chunk // ((window.bottom - window.top) * (window.right - window.left)))
    for first in range(0, len(site_CHW), together):
        part = slice(first, first + together)
        raw_CHW = site_CHW[part, window.top : window.bottom, window.left : window.right]
        pixels_CHW = raw_CHW.to(torch.float32, copy=True).sub_(low_C11[part]).mul_(gain_C11[part]).clamp_(0.0, 1.0)
        if window.exact:
            view_CSS[part] = pixels_CHW
        else:
            level_1CHW = average(pixels_CHW, window.level)[None]
            view_CSS[part] = functional.grid_sample(
                level_1CHW, grid_1SS2, mode="bilinear", padding_mode="reflection", align_corners=False
            )[0]


def _intensity(views_BCSS: Tensor, rows: slice, drawn: Drawn, recipe: AugmentRecipe) -> None:
    """Jitter, clamp, add noise and standardise some of the views, in place."""
    views_bCSS = views_BCSS[rows]
    brightness_bC, contrast_bC = drawn.brightness_BC[rows], drawn.contrast_BC[rows]
    if (brightness_bC != 1.0).any() or (contrast_bC != 1.0).any():
        jitter_(views_bCSS, torch.from_numpy(brightness_bC), torch.from_numpy(contrast_bC))
    views_bCSS.clamp_(0.0, 1.0)  # interpolation's rounding included
    noisy_b = np.flatnonzero(drawn.noise_B[rows])
    if len(noisy_b):
        strengths = recipe.noise_shot, recipe.noise_dark, recipe.noise_read
        where_b = torch.from_numpy(noisy_b).to(views_bCSS.device)
        views_bCSS[where_b] = noise_(views_bCSS[where_b], *strengths, drawn.noise_keys_B[rows][noisy_b])
    if recipe.standardise:
        standardise_(views_bCSS)


def _name(names: Sequence[str] | None, number: int) -> str:
    return names[number] if names is not None else f"Sample {number}"


def _check_batch(sites: Sequence[Tensor], scales_BC2: Tensor, names: Sequence[str] | None) -> None:
    if not sites:
        raise UserError("There is no site to render. Give at least one.")
    if len(scales_BC2) != len(sites):
        raise UserError(f"There are {len(sites)} sites, but scales for {len(scales_BC2)}. Give one a site.")
    for number, site in enumerate(sites):
        if site.ndim != 3 or not site.numel():
            raise UserError(
                f"{_name(names, number)} has shape {tuple(site.shape)}. A site is (channels, height, width), none 0."
            )
        if scales_BC2.shape[1:] != (site.shape[0], 2):
            raise UserError(
                f"{_name(names, number)} has {site.shape[0]} channels, but its intensity scale has shape "
                f"{tuple(scales_BC2.shape[1:])}. Give a low and a high for each channel."
            )
        if site.dtype not in _INTEGERS and not site.dtype.is_floating_point:
            raise UserError(f"{_name(names, number)} has pixels of type {site.dtype}. Give integers or floats.")
    _check_scales(scales_BC2, names)
    _check_pixels(sites, names)


def _check_drawn(sites: Sequence[Tensor], drawn: Drawn, names: Sequence[str] | None) -> None:
    channels = drawn.brightness_BC.shape[1]
    if len(drawn) != len(sites) or channels != sites[0].shape[0]:
        raise UserError(
            f"There are {len(sites)} sites of {sites[0].shape[0]} channels, but parameters were drawn for {len(drawn)} "
            f"of {channels}. Draw them for these sites."
        )
    shapes_B2 = np.array([site.shape[1:] for site in sites], np.float64)
    outside_B = ((drawn.box_B4[:, :2] < -1e-6) | (drawn.box_B4[:, :2] + drawn.box_B4[:, 2:] > shapes_B2 + 1e-6)).any(1)
    outside_B |= (drawn.box_B4[:, 2:] <= 0.0).any(1) | ~np.isfinite(drawn.box_B4).all(1)
    for number in np.flatnonzero(outside_B).tolist():
        top, left, height, width = drawn.box_B4[number]
        rows, columns = sites[number].shape[1:]
        raise UserError(
            f"{_name(names, number)}: a crop of {height:g} x {width:g} px at row {top:g}, column {left:g} is not "
            f"within the site of {rows} x {columns} px. Draw the crop for this site's size."
        )


def _check_scales(scales_BC2: Tensor, names: Sequence[str] | None) -> None:
    if scales_BC2.device.type != "cpu":  # checking would wait for the device
        return
    good_BC = (scales_BC2[..., 1] > scales_BC2[..., 0]) & scales_BC2.isfinite().all(-1)
    if not bool(good_BC.all()):
        number, channel = (int(x) for x in (~good_BC).nonzero()[0])
        low, high = scales_BC2[number, channel].tolist()
        raise UserError(
            f"{_name(names, number)}: the intensity scale of channel {channel + 1} runs from {low:g} to {high:g}. "
            "Low must be below high: look at that channel, or leave it out."
        )


def _check_pixels(sites: Sequence[Tensor], names: Sequence[str] | None) -> None:
    """Refuse negative and non-finite pixels; unsigned integers, the usual case, cannot have any."""
    suspects = [number for number, site in enumerate(sites) if site.dtype not in _UNSIGNED]
    if not suspects:
        return
    ranges_N2 = torch.stack([torch.stack(torch.aminmax(sites[number])).to(torch.float32) for number in suspects])
    for number, (low, high) in zip(suspects, ranges_N2.tolist(), strict=True):
        if not (low >= 0.0 and np.isfinite(high)):
            raise UserError(
                f"{_name(names, number)} has pixels from {low:g} to {high:g}. Raw pixels are finite and not negative: "
                "look at the file."
            )
