"""Divide raw sites by the illumination of their plate, on the device, before they are scaled to [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .transfer import send

_WHITE = 65535.0


@torch.no_grad()
def flatten_sites(sites: Sequence[Tensor], fields_BCgg: Tensor | None) -> list[Tensor]:
    """Correct sites for uneven illumination (our choice: see ``plates.flat_field``).

    Parameters
    ----------
    sites
        Raw sites ``(C, H, W)``, of any sizes, all on one device.
    fields_BCgg
        How bright each part of the field of view is lit, mean 1, at g x g places, float32, on any device; None leaves
        the sites as they are.

    Returns
    -------
    Sites of the same shapes and type: intensities divided by the field (linear between its places); integers are
    rounded, and at most the highest of their type, of 32 bits and more 65,535. What is rounded away is a tenth of what
    the camera's noise is.
    """
    if fields_BCgg is None:
        return list(sites)
    return [_flatten(site, field) for site, field in zip(sites, fields_BCgg, strict=True)]


def _flatten(site_CHW: Tensor, field_Cgg: Tensor) -> Tensor:
    with torch.autocast(site_CHW.device.type, enabled=False):
        field_1Cgg = send(field_Cgg, site_CHW.device)[None]
        size = (site_CHW.shape[1], site_CHW.shape[2])
        field_CHW = functional.interpolate(field_1Cgg, size, mode="bilinear", align_corners=False)[0]
        level_CHW = site_CHW.to(torch.float32, copy=True).div_(field_CHW)
        if not site_CHW.dtype.is_floating_point:
            level_CHW.round_().clamp_(0.0, min(_WHITE, torch.iinfo(site_CHW.dtype).max))
        return level_CHW.to(site_CHW.dtype)
