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

from .checks import check_batch, check_drawn
from .dinov2 import blur_, shared_jitter_, solarise_
from .draw import Drawn, whole
from .elastic import deviation
from .geometry import Window, average, fold_back, grid_planes, place_views
from .intensity import jitter_, standardise_
from .noise import noise_
from .parallel import run_parts

# Float32 pixels held at a time beside the output. A CPU's chunks stay in its cache.
_CHUNK = {"cpu": 1 << 20}
_CHUNK_ELSEWHERE = 1 << 25


def render_views(
    sites: Sequence[Tensor],
    scales_BC2: Tensor,
    drawn: Drawn,
    recipe: AugmentRecipe,
    names: Sequence[str] | None = None,
    size: int | None = None,
) -> Tensor:
    """Render one view a site.

    The site's window becomes float32, is scaled to [0, 1] and clipped, and is sampled once (crop, flips, rotation and
    elastic deformation are one grid); then jitter, a clamp to [0, 1], microscope noise, and standardisation where the
    recipe asks for it. DINOv2's views have its own jitter, blur and solarisation in their place.

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
    size
        Side of the views in pixels; None: ``recipe.size``.

    Returns
    -------
    Tensor ``(B, C, size, size)``, float32, on the sites' device; in [0, 1] unless standardised.

    Raises
    ------
    UserError
        Naming the sample: if a site is empty, not ``(C, H, W)``, or has negative or non-finite pixels; if scales do
        not fit its channels or do not ascend; if a crop is not within its site.
    """
    check_batch(sites, scales_BC2, names)
    check_drawn(sites, drawn, names)
    shapes_B2 = np.array([site.shape[1:] for site in sites], np.float64)
    return _render(sites, scales_BC2, drawn, shapes_B2, recipe, size or recipe.size)


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
    check_batch(sites, scales_BC2, names)
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
        threads = torch.get_num_threads() if device.type == "cpu" else 1
        together = max(1, min(chunk // (channels * size * size), -(-len(sites) // threads)))

        def render(rows: slice) -> None:
            planes = grid_planes(
                placed, drawn, shapes_B2, size, recipe.elastic_alpha, recipe.elastic_sigma, rows, device
            )
            for number in range(rows.start, rows.stop):
                window = placed.window(number)
                _sample(
                    sites[number],
                    scales_2BC11[:, number],
                    window,
                    planes[number - rows.start],
                    views_BCSS[number],
                    chunk,
                )
            _intensity(views_BCSS, rows, drawn, recipe)

        parts = [slice(start, min(start + together, len(sites))) for start in range(0, len(sites), together)]
        run_parts(render, parts, threads)
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
    jittered = (brightness_bC != 1.0).any() or (contrast_bC != 1.0).any()
    if recipe.kind == "dinov2":
        _dinov2_intensity(views_bCSS, rows, drawn, recipe, jittered)
    elif jittered:
        jitter_(views_bCSS, torch.from_numpy(brightness_bC), torch.from_numpy(contrast_bC))
    views_bCSS.clamp_(0.0, 1.0)  # interpolation's rounding included
    noisy_b = np.flatnonzero(drawn.noise_B[rows])
    if len(noisy_b):
        strengths = recipe.noise_shot, recipe.noise_dark, recipe.noise_read
        where_b = torch.from_numpy(noisy_b).to(views_bCSS.device)
        views_bCSS[where_b] = noise_(views_bCSS[where_b], *strengths, drawn.noise_keys_B[rows][noisy_b])
    if recipe.standardise:
        standardise_(views_bCSS)


def _dinov2_intensity(
    views_bCSS: Tensor, rows: slice, drawn: Drawn, recipe: AugmentRecipe, jittered: np.bool_ | bool
) -> None:
    device = views_bCSS.device
    if jittered:
        first_b = torch.from_numpy(drawn.contrast_first_B[rows]).to(device)
        brightness_b, contrast_b = (
            torch.from_numpy(x[rows, 0].astype(np.float32)).to(device) for x in (drawn.brightness_BC, drawn.contrast_BC)
        )
        shared_jitter_(views_bCSS.clamp_(0.0, 1.0), brightness_b, contrast_b, first_b)
    blurred_b = np.flatnonzero(drawn.blur_B[rows] > 0.0)
    if len(blurred_b):
        where_b = torch.from_numpy(blurred_b).to(device)
        sigma_b = torch.from_numpy(drawn.blur_B[rows][blurred_b].astype(np.float32)).to(device)
        views_bCSS[where_b] = blur_(views_bCSS[where_b], sigma_b)
    solarised_b = np.flatnonzero(drawn.solarise_B[rows])
    if len(solarised_b):
        where_b = torch.from_numpy(solarised_b).to(device)
        views_bCSS[where_b] = solarise_(views_bCSS[where_b], recipe.solarise_above)
