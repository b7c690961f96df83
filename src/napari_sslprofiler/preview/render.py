"""Requests to previews, by training's own functions. Imports torch: for the renderer's process and for tests."""

from __future__ import annotations

import time
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.augment.draw import Drawn, join
from sslprofiler_core.augment.flat import flatten_sites
from sslprofiler_core.augment.pairs import DrawnPairs, draw_pairs, pair_views
from sslprofiler_core.augment.views import render_views
from sslprofiler_core.plates import Site, read_site
from sslprofiler_core.plates.flat_field import site_field

from .model import Limits, Preview, Request

_MEMORY = 300_000_000  # bytes of decoded sites that are kept
_PERCENTILES = (0.1, 99.9)


class Sites:
    """Decoded sites, the last used ones kept."""

    def __init__(self, memory: int = _MEMORY) -> None:
        self._memory = memory
        self._kept: OrderedDict[tuple[Site, tuple[int, ...]], NDArray[np.uint16]] = OrderedDict()

    def read(self, site: Site, channels: tuple[int, ...]) -> NDArray[np.uint16]:
        """Read a site's channels, or have them.

        Raises
        ------
        UserError
            As ``read_site``.
        """
        key = (site, channels)
        if key not in self._kept:
            self._kept[key] = read_site(site, channels)
            while len(self._kept) > 2 and sum(array.nbytes for array in self._kept.values()) > self._memory:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def render(request: Request, sites: Sites) -> Preview:
    """Make what training makes of two sites at a (seed, step, sample).

    At the recipe's size the views are ``pair_views``' own in the recipe's precision, bit for bit; at another, the same
    parameters and masks are rendered by the function that it calls.

    Raises
    ------
    UserError
        For a site that cannot be read, or settings that do not fit it.
    """
    began = time.perf_counter()
    first_CHW = sites.read(request.first, request.channels)
    second_CHW = sites.read(request.second, request.channels)
    read = time.perf_counter()
    limits = request.limits or own_limits(first_CHW)
    scales_1C2 = torch.tensor([limits], dtype=torch.float32)
    drawn, views_2CSS, local_LCss = _views(
        request, _flat(request, request.first, first_CHW), _flat(request, request.second, second_CHW), scales_1C2
    )
    grid = request.recipe.augment.size // request.recipe.model.patch
    return Preview(
        request=request,
        v1_CSS=views_2CSS[0].numpy(),
        v2_CSS=views_2CSS[1].numpy(),
        local_LCss=local_LCss.numpy(),
        mask=drawn.masks_BN[0].reshape(grid, grid),
        v1=drawn.v1,
        v2=drawn.v2,
        shapes=(first_CHW.shape[1:], second_CHW.shape[1:]),
        seconds_reading=read - began,
        seconds_rendering=time.perf_counter() - read,
    )


def _flat(request: Request, site: Site, pixels_CHW: NDArray[np.uint16]) -> Tensor:
    """A site as training takes it: its plate's illumination divided out, where that is asked for."""
    fields = {site.plate: dict(zip(request.names, request.fields, strict=False))}
    field = site_field(fields, site, request.names) if request.fields else None
    return flatten_sites([torch.from_numpy(pixels_CHW)], None if field is None else torch.from_numpy(field)[None])[0]


def own_limits(pixels_CHW: NDArray[np.uint16]) -> Limits:
    """A site's own percentiles, for where its plate's are not known yet; every fourth pixel each way says as much."""
    limits = []
    for pixels_HW in pixels_CHW:
        low, high = np.percentile(pixels_HW[::4, ::4], _PERCENTILES)
        limits.append((float(low), float(high) if high > low else float(low) + 1.0))
    return tuple(limits)


def _views(request: Request, first: Tensor, second: Tensor, scales_1C2: Tensor) -> tuple[DrawnPairs, Tensor, Tensor]:
    recipe, augment = request.recipe, request.recipe.augment
    samples, names = [request.sample], [_name(request.first), _name(request.second)]
    if request.size == augment.size:
        # As training takes them: what bf16 rounds is seen rounded.
        dtype = torch.bfloat16 if recipe.train.precision == "bf16" else torch.float32
        made = pair_views([first], [second], scales_1C2, scales_1C2, recipe, request.step, samples, names, dtype=dtype)
        views = torch.cat([made.v1_BCSS, made.v2_BCSS]).float()
        return made.drawn, views, made.local_LBCss[:, 0].float()
    if not augment.local_aggregation:
        second = first
    drawn = draw_pairs(recipe, request.step, samples, [first.shape[1:]], [second.shape[1:]], len(first))
    scales_2C2 = scales_1C2.repeat(2, 1, 1)
    both: Drawn = join([drawn.v1, drawn.v2])
    views = render_views([first, second], scales_2C2, both, augment, names, request.size)
    count = augment.local_crops
    local = views.new_empty((0, *views.shape[1:2], augment.local_size, augment.local_size))
    if count:
        scales = scales_1C2.repeat(count, 1, 1)
        local = render_views([first] * count, scales, join(drawn.local), augment, names[:1] * count, augment.local_size)
    return drawn, views, local


def _name(site: Site) -> str:
    return f"{site.plate} {site.well} site {site.site}"
