"""Site pairs to what a training step sees of them: the one entry that training, previews and the docs use.

Everything random is a function of (seed, step, sample): ``view_keys`` and ``mask_key`` derive the keys, ``draw_pairs``
turns them into parameters and masks, ``pair_views`` renders these. A sample is a place in the step's global batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sslprofiler_core.errors import UserError
from sslprofiler_core.keys import Keys, fold
from sslprofiler_core.recipes import Recipe

from .checks import check_sites
from .draw import Drawn, View, draw_views, join
from .masks import draw_masks
from .views import render_views


@dataclass(frozen=True)
class DrawnPairs:
    """What a step draws for its samples, on the host.

    Attributes
    ----------
    v1, v2
        Parameters of each sample's two views.
    local
        Parameters of each sample's local crops, one batch a crop: crops of the site that ``v1`` is of.
    masks_BN
        Which patches of ``v1`` are masked, bool, row-major.
    """

    v1: Drawn
    v2: Drawn
    local: tuple[Drawn, ...]
    masks_BN: NDArray[np.bool_]


@dataclass(frozen=True)
class PairViews:
    """A step's views, with what was drawn for them.

    Attributes
    ----------
    v1_BCSS, v2_BCSS
        The two views, on the sites' device; the masked twin of ``v1`` is ``v1`` with ``drawn.masks_BN``.
    local_LBCss
        The local crops, L of each sample; L is 0 in the paper's recipes.
    drawn
        Crop boxes, angles, factors, noise and masks.
    """

    v1_BCSS: Tensor
    v2_BCSS: Tensor
    local_LBCss: Tensor
    drawn: DrawnPairs


def view_keys(seed: int, step: int, samples_B: ArrayLike, view: int) -> Keys:
    """Return keys ``(B,)``, int64, of a view (1: ``v1``, 2: ``v2``, 3, 4, ...: local crops) of a step's samples."""
    return fold(seed, "view", step, np.asarray(samples_B, np.int64).reshape(-1), view)


def mask_key(seed: int, step: int) -> Keys:
    """Return the key of a step's masks: one, since mask counts are allotted over the global batch."""
    return fold(seed, "masks", step)


def draw_pairs(
    recipe: Recipe,
    step: int,
    samples_B: ArrayLike,
    first_shapes_B2: ArrayLike,
    second_shapes_B2: ArrayLike,
    channels: int,
) -> DrawnPairs:
    """Draw what a step's samples will be.

    Parameters
    ----------
    recipe
        Augmentations, masks, and with ``train.seed`` and ``train.batch`` the seed and the global batch.
    step
        The step, from 0.
    samples_B
        Places in the global batch: 0 to ``train.batch`` - 1.
    first_shapes_B2, second_shapes_B2
        Height and width of the sites that ``v1`` and ``v2`` are taken from.
    channels
        Number of channels.

    Raises
    ------
    UserError
        If a sample is not in the global batch.
    """
    samples_B = np.asarray(samples_B, np.int64).reshape(-1)
    batch = recipe.train.batch
    if ((samples_B < 0) | (samples_B >= batch)).any():
        raise UserError(f"A batch of {batch} has samples 0 to {batch - 1}. Take these, or raise train.batch.")

    def draw(number: int, shapes_B2: ArrayLike, view: View) -> Drawn:
        keys_B = view_keys(recipe.train.seed, step, samples_B, number)
        return draw_views(keys_B, shapes_B2, channels, recipe.augment, view)

    grid = recipe.augment.size // recipe.model.patch
    masks_BN = draw_masks(
        mask_key(recipe.train.seed, step), batch, (grid, grid), recipe.loss.mask_images, recipe.loss.mask_ratio
    )
    return DrawnPairs(
        v1=draw(1, first_shapes_B2, "v1"),
        v2=draw(2, second_shapes_B2, "v2"),
        local=tuple(draw(3 + crop, first_shapes_B2, "local") for crop in range(recipe.augment.local_crops)),
        masks_BN=masks_BN[samples_B],
    )


def pair_views(
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    first_scales_BC2: Tensor,
    second_scales_BC2: Tensor,
    recipe: Recipe,
    step: int,
    samples_B: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    dtype: torch.dtype = torch.float32,
) -> PairViews:
    """Make the views of site pairs exactly as training makes them in a step.

    Parameters
    ----------
    first
        Raw sites ``(C, H, W)`` that ``v1`` is taken from, of any sizes, all on one device.
    second
        Their partners, which ``v2`` is taken from; unused where ``augment.local_aggregation`` is off.
    first_scales_BC2, second_scales_BC2
        Raw intensities that become 0 and 1, per site and channel.
    recipe, step
        As in ``draw_pairs``.
    samples_B
        Places in the global batch; None: 0, 1, 2, ...
    names
        What errors call the sites: those of ``first``, then those of ``second``.
    dtype
        Of the views, such as ``torch.bfloat16``; everything is computed in float32.

    Returns
    -------
    PairViews. The same (seed, step, sample, recipe, site sizes) gives the same parameters and masks everywhere, and
    the same pixels on the same kind of device (on MPS, and on a GPU without Triton, but for rounding: there sites are
    sampled together).

    Raises
    ------
    UserError
        As ``render_views`` and ``draw_pairs``, or if there are not as many partners as sites, or partners of other
        channels.
    """
    if len(first) != len(second):
        raise UserError(f"There are {len(first)} sites and {len(second)} partners. Give each site one.")
    if not recipe.augment.local_aggregation:
        second, second_scales_BC2 = first, first_scales_BC2
        names = [*names[: len(first)]] * 2 if names is not None else None
    check_sites([*first, *second], names)
    samples_B = np.arange(len(first)) if samples_B is None else np.asarray(samples_B, np.int64).reshape(-1)
    first_shapes_B2, second_shapes_B2 = ([site.shape[-2:] for site in sites] for sites in (first, second))
    drawn = draw_pairs(recipe, step, samples_B, first_shapes_B2, second_shapes_B2, first[0].shape[0])
    views = render_views(
        [*first, *second],
        torch.cat([first_scales_BC2, second_scales_BC2]),
        join([drawn.v1, drawn.v2]),
        recipe.augment,
        names,
        dtype=dtype,
    )
    count, side = recipe.augment.local_crops, recipe.augment.local_size
    local = views.new_empty((0, *views.shape[1:2], side, side))
    if count:
        first_names = [*names[: len(first)]] * count if names is not None else None
        scales = first_scales_BC2.repeat(count, 1, 1)
        local = render_views([*first] * count, scales, join(drawn.local), recipe.augment, first_names, side, dtype)
    local_LBCss = local.view(count, len(first), *local.shape[1:])
    return PairViews(views[: len(first)], views[len(first) :], local_LBCss, drawn)
