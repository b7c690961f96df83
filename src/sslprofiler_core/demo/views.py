"""What a training saw: sites of its first step and the views made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.model import LoadedModel
from sslprofiler_core.plates import Plate, select_channels
from sslprofiler_core.training.loader import PairLoader
from sslprofiler_core.training.pairs import PairOrder
from sslprofiler_core.training.views import step_views

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class ShownViews:
    """Site pairs (N of each): both sites scaled (C, H, W), views (C, S, S), masks (S, S), and channel names."""

    titles: list[str]
    names: tuple[str, ...]
    first: list[Floats]
    second: list[Floats]
    v1: list[Floats]
    v2: list[Floats]
    masks: list[NDArray[np.bool_]]


def training_views(plates: Sequence[Plate], model: LoadedModel, count: int) -> ShownViews:
    """Make the views of a run's first step again: everything random is a function of (seed, step, sample)."""
    import torch

    recipe = model.recipe
    order = PairOrder.over([site for plate in plates for site in plate.sites], recipe.train)
    channels = {plate.name: select_channels(plate, model.group) for plate in plates}
    with PairLoader(order, plates, channels, model.scale, memory_bytes=0, fields=model.flat_field) as loader:
        batch = loader.batch(0, 1)
    views = step_views(batch, recipe, 0, torch.device("cpu"))
    masked = views.masks_BN.any(1).nonzero().flatten().tolist()
    rows = [row for row in masked if row ^ 1 not in masked[: masked.index(row)]][:count]
    patch, side = recipe.model.patch, recipe.augment.size // recipe.model.patch

    def scaled(row: int) -> Floats:
        low, high = batch.scales_BC2[row].T[:, :, None, None]
        site: Tensor = (batch.sites[row].float() - low) / (high - low)
        pixels: NDArray[np.float32] = site.clamp(0, 1).numpy()
        return pixels

    return ShownViews(
        titles=[" ".join(batch.names[row].split()[:2]) for row in rows],
        names=model.channels,
        first=[scaled(row) for row in rows],
        second=[scaled(int(batch.partner_B[row])) for row in rows],
        v1=[views.v1_BCHW[row].float().numpy() for row in rows],
        v2=[views.v2_BCHW[row].float().numpy() for row in rows],
        masks=[views.masks_BN[row].reshape(side, side).numpy().repeat(patch, 0).repeat(patch, 1) for row in rows],
    )
