"""A batch's views, as the objective takes them."""

from __future__ import annotations

import numpy as np
import torch

from sslprofiler_core.augment import flatten_sites, pair_views, send, send_site
from sslprofiler_core.recipes import Recipe

from .loader import PairBatch
from .objective import Views


def step_views(batch: PairBatch, recipe: Recipe, step: int, device: torch.device) -> Views:
    """Make the views of a step: every parameter is a function of (seed, step, sample, view)."""
    partner = batch.partner_B
    sites = flatten_sites([send_site(site, device) for site in batch.sites], batch.fields_BCgg)
    made = pair_views(
        sites,
        [sites[other] for other in partner],
        batch.scales_BC2,
        batch.scales_BC2[torch.from_numpy(partner)],
        recipe,
        step,
        samples_B=batch.samples_B,
        names=[*batch.names, *(batch.names[other] for other in partner)],
        # In bf16, the first layer would round them anyway.
        dtype={"bf16": torch.bfloat16, "float64": torch.float64}.get(recipe.train.precision, torch.float32),
    )
    masks_BN = made.drawn.masks_BN
    flat = np.flatnonzero(masks_BN)
    return Views(
        v1_BCHW=made.v1_BCSS,
        v2_BCHW=made.v2_BCSS,
        masks_BN=send(masks_BN, device),
        masked_M=send(flat, device),
        image_M=send(flat // masks_BN.shape[1], device),
        well_B=send(batch.well_B, device),
        crops_LBCHW=made.local_LBCss if len(made.local_LBCss) else None,
    )
