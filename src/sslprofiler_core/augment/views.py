"""Sites to views: the one entry that training, embedding, previews and the docs use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import AugmentRecipe

from .checks import check_batch, check_drawn
from .dinov2 import blur_, shared_jitter_, solarise_
from .draw import Drawn, whole
from .elastic import deviation
from .fused import intensity_agrees, jitter_and_noise_, sample_at_once, sampling_agrees, usable
from .geometry import grid_planes, place_views
from .intensity import jitter_, standardise_
from .noise import noise_
from .parallel import run_parts
from .sample import sample_each, sample_together
from .transfer import send

# Float32 pixels held at a time beside the output. A CPU's chunks stay in its cache.
_CHUNK = 1 << 20
_CHUNK_ELSEWHERE = 1 << 25


def render_views(
    sites: Sequence[Tensor],
    scales_BC2: Tensor,
    drawn: Drawn,
    recipe: AugmentRecipe,
    names: Sequence[str] | None = None,
    size: int | None = None,
    dtype: torch.dtype = torch.float32,
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
    dtype
        Of the result, such as ``torch.bfloat16``; everything is computed in float32.

    Returns
    -------
    Tensor ``(B, C, size, size)`` on the sites' device; in [0, 1] unless standardised.

    Raises
    ------
    UserError
        Naming the sample: if a site is empty, not ``(C, H, W)``, or has negative or non-finite pixels; if scales do
        not fit its channels or do not ascend; if a crop is not within its site. If ``size`` is not positive.
    """
    size = recipe.size if size is None else size
    _check_size(size)
    check_batch(sites, scales_BC2, names)
    check_drawn(sites, drawn, names)
    shapes_B2 = np.array([site.shape[1:] for site in sites], np.float64)
    return _render(sites, scales_BC2, drawn, shapes_B2, recipe, size, dtype)


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
    _check_size(size)
    check_batch(sites, scales_BC2, names)
    shapes_B2 = np.array([site.shape[1:] for site in sites], np.float64)
    return _render(sites, scales_BC2, whole(shapes_B2, sites[0].shape[0]), shapes_B2, recipe, size)


def _check_size(size: int) -> None:
    if size < 1:
        raise UserError(f"Sites cannot be rendered at {size} px. Take a positive size.")


@torch.no_grad()
def _render(
    sites: Sequence[Tensor],
    scales_BC2: Tensor,
    drawn: Drawn,
    shapes_B2: NDArray[np.float64],
    recipe: AugmentRecipe,
    size: int,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    device, channels = sites[0].device, sites[0].shape[0]
    placed = place_views(drawn, shapes_B2, size, deviation(recipe.elastic_alpha, recipe.elastic_sigma))
    scales = send(scales_BC2, device)
    scales_2BC11 = torch.stack([scales[..., 0], 1.0 / (scales[..., 1] - scales[..., 0])])[..., None, None]
    views_BCSS = torch.empty((len(sites), channels, size, size), dtype=dtype, device=device)
    if device.type == "cpu":
        sample, chunk, threads = sample_each, _CHUNK, torch.get_num_threads()
        together = max(1, min(chunk // (channels * size * size), -(-len(sites) // threads)))
    else:
        sample, threads = sample_at_once if usable(device, sampling_agrees) else sample_together, 1
        chunk = min(_CHUNK_ELSEWHERE, views_BCSS.nbytes // 8)
        together = max(1, chunk // (channels * size * size))

    def render(rows: slice) -> None:
        # Autocast would put the sampling grid's products in bf16, whole pixels off.
        with torch.autocast(device.type, enabled=False):
            views_bCSS = views_BCSS[rows]
            if dtype != torch.float32:
                views_bCSS = torch.empty(views_bCSS.shape, dtype=torch.float32, device=device)
            planes_b2SS = grid_planes(
                placed, drawn, shapes_B2, size, recipe.elastic_alpha, recipe.elastic_sigma, rows, device
            )
            windows = [placed.window(number) for number in range(rows.start, rows.stop)]
            sample(sites[rows], scales_2BC11[:, rows], windows, planes_b2SS, views_bCSS, chunk)
            del planes_b2SS
            _intensity(views_bCSS, rows, drawn, recipe)
            if dtype != torch.float32:
                views_BCSS[rows] = views_bCSS

    parts = [slice(start, min(start + together, len(sites))) for start in range(0, len(sites), together)]
    run_parts(render, parts, threads)
    return views_BCSS


def _intensity(views_bCSS: Tensor, rows: slice, drawn: Drawn, recipe: AugmentRecipe) -> None:
    """Jitter, clamp, add noise and standardise the views of these rows, in place."""
    brightness_bC, contrast_bC, keys_b = drawn.brightness_BC[rows], drawn.contrast_BC[rows], drawn.noise_keys_B[rows]
    strengths = recipe.noise_shot, recipe.noise_dark, recipe.noise_read
    if recipe.kind == "paper" and usable(views_bCSS.device, intensity_agrees):
        jitter_and_noise_(views_bCSS, brightness_bC, contrast_bC, drawn.noise_B[rows], keys_b, strengths)
        if recipe.standardise:
            standardise_(views_bCSS)
        return
    jittered = bool((brightness_bC != 1.0).any() or (contrast_bC != 1.0).any())
    if recipe.kind == "dinov2":
        _dinov2_intensity(views_bCSS, rows, drawn, recipe, jittered)
    elif jittered:
        jitter_(views_bCSS, send(brightness_bC, views_bCSS.device), send(contrast_bC, views_bCSS.device))
    views_bCSS.clamp_(0.0, 1.0)  # interpolation's rounding included
    _some_(views_bCSS, drawn.noise_B[rows], lambda views_nCSS, which_n: noise_(views_nCSS, *strengths, keys_b[which_n]))
    if recipe.standardise:
        standardise_(views_bCSS)


def _dinov2_intensity(views_bCSS: Tensor, rows: slice, drawn: Drawn, recipe: AugmentRecipe, jittered: bool) -> None:
    device, sigma_b = views_bCSS.device, drawn.blur_B[rows]
    if jittered:
        factors = (send(x[rows, 0], device) for x in (drawn.brightness_BC, drawn.contrast_BC))
        brightness_b, contrast_b = factors
        shared_jitter_(
            views_bCSS.clamp_(0.0, 1.0), brightness_b, contrast_b, send(drawn.contrast_first_B[rows], device)
        )
    _some_(views_bCSS, sigma_b > 0.0, lambda views_nCSS, which_n: blur_(views_nCSS, send(sigma_b[which_n], device)))
    _some_(views_bCSS, drawn.solarise_B[rows], lambda views_nCSS, _: solarise_(views_nCSS, recipe.solarise_above))


def _some_(
    views_bCSS: Tensor, chosen_b: NDArray[np.bool_], work_: Callable[[Tensor, NDArray[np.int64]], Tensor]
) -> None:
    """Change the chosen views in place by a function of them and of their numbers that does so, too."""
    which_n = np.flatnonzero(chosen_b)
    if len(which_n) == len(views_bCSS):
        work_(views_bCSS, which_n)
    elif len(which_n):
        where_n = send(which_n, views_bCSS.device)
        views_bCSS[where_n] = work_(views_bCSS.index_select(0, where_n), which_n)
