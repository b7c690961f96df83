"""Sites through models: read in threads, resampled and embedded on the device, a batch ahead of what is fetched."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.augment import flatten_sites, send_site, take_channels, whole_sites
from sslprofiler_core.errors import UserError
from sslprofiler_core.model.files import LoadedModel
from sslprofiler_core.plates import Plate, Site, measure_scale, read_site
from sslprofiler_core.plates.flat_field import FlatFields, site_field
from sslprofiler_core.training.loader import site_name
from sslprofiler_core.training.start import flat_fields

if TYPE_CHECKING:
    from tqdm import tqdm

    from .patch_store import PatchWriter

# Device tensors of one batch: model's prefix, CLS (b, D), mean of the patch tokens (b, D), patch tokens or None.
_Batch = list[tuple[str, Tensor, Tensor, Tensor | None]]


def embed_plate(
    plate: Plate,
    models: Sequence[LoadedModel],
    device: torch.device,
    bar: tqdm[object] | None = None,
    patches: PatchWriter | None = None,
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """Embed the sites of one plate, in the order of ``plate.sites``.

    Parameters
    ----------
    patches
        Takes the patch tokens of every site, one batch after the other.

    Returns
    -------
    Column name -> (S, D), and which of the plate's sites these S are: a site that cannot be decoded is left out with a
    warning.

    Notes
    -----
    In memory at a time: the raw pixels of three batches of sites, and the results.
    """
    indices = [channel_indices(plate, model) for model in models]
    read = sorted({index for group in indices for index in group})
    scales = [_plate_scale(plate, model) for model in models]
    flats = [_flat_field(plate, model) for model in models]
    gathered: dict[str, list[NDArray[np.float32]]] = {}
    whole = np.ones(len(plate.sites), np.bool_)
    batch = min(model.recipe.embed.batch for model in models)
    start = 0
    waiting: tuple[_Batch, list[int]] | None = None
    for found in _batches(plate.sites, read, batch, device):
        names, arrays, embedded, numbers = [], [], [], []
        for number, array in enumerate(found, start):
            name = site_name(plate.sites[number])
            if isinstance(array, UserError):
                whole[number] = False
                warn(f"{name} left out: {array}", bar)
            else:
                names.append(name)
                arrays.append(send_site(array, device))
                embedded.append(plate.sites[number])
                numbers.append(number)
        start += len(found)
        current: _Batch = []
        for model, group, flat, scale_C2 in zip(models, indices, flats, scales, strict=True) if arrays else ():
            rows = [read.index(index) for index in group]
            raw = [take_channels(array, rows) for array in arrays]
            sites = flatten_sites(raw, _site_fields(flat, embedded, model.channels))
            cls_BD, tokens_BND = forward_tokens(model, sites, scale_C2.expand(len(sites), -1, -1), names)
            kept = tokens_BND.half() if patches is not None else None
            current.append((column_prefix(model.group), cls_BD.float(), tokens_BND.float().mean(1), kept))
        # A device is given its next batch before what it made of the last one is fetched: it never waits.
        if waiting is not None:
            _fetch(*waiting, gathered, patches)
        waiting = (current, numbers)
        if bar is not None:
            bar.update(len(found))
    if waiting is not None:
        _fetch(*waiting, gathered, patches)
    if not gathered:
        raise UserError(f"No site of plate {plate.name} can be read. Run `sslprofiler inspect --pixels {plate.root}`.")
    return {name: np.concatenate(parts) for name, parts in gathered.items()}, whole


def _fetch(
    batch: _Batch, numbers: list[int], gathered: dict[str, list[NDArray[np.float32]]], patches: PatchWriter | None
) -> None:
    for prefix, cls_BD, mean_BD, tokens_BND in batch:
        gathered.setdefault(f"{prefix}_cls", []).append(cls_BD.cpu().numpy())
        gathered.setdefault(f"{prefix}_patch", []).append(mean_BD.cpu().numpy())
        if patches is not None and tokens_BND is not None:
            patches.write(prefix, numbers, tokens_BND.cpu().numpy())


def forward_sites(
    model: LoadedModel, sites: Sequence[Tensor], scales_BC2: Tensor, names: Sequence[str] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embed raw sites (C, H, W) at the two granularities (paper 3.3.1): CLS and mean of the patch tokens, (B, D)."""
    cls_BD, tokens_BND = forward_tokens(model, sites, scales_BC2, names)
    return cls_BD.float().cpu().numpy(), tokens_BND.float().mean(1).cpu().numpy()


@torch.inference_mode()
def forward_tokens(
    model: LoadedModel, sites: Sequence[Tensor], scales_BC2: Tensor, names: Sequence[str] | None = None
) -> tuple[Tensor, Tensor]:
    """CLS (B, D) and patch tokens (B, N, D) of raw sites, on their device; in bf16 on a GPU, as the recipe says."""
    images = whole_sites(sites, scales_BC2, model.recipe.embed_size, model.recipe.augment, names)
    bf16 = model.recipe.train.precision == "bf16" and images.device.type == "cuda"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        cls_BD, tokens_BND = model.backbone(images)
    return cls_BD, tokens_BND


def column_prefix(group: str) -> str:
    """A channel group as the start of a column name: ``"DNA,Mito"`` becomes ``"DNA-Mito"``."""
    return group.replace(" ", "").replace(",", "-")


def channel_indices(plate: Plate, model: LoadedModel) -> tuple[int, ...]:
    """Where a plate has the channels that a model was trained on, in the model's order.

    Raises
    ------
    UserError
        When the plate lacks one: both lists are shown.
    """
    names = [channel.name for channel in plate.channels]
    missing = [name for name in model.channels if name not in names]
    if missing:
        raise UserError(
            f"Plate {plate.name} has no channel {', '.join(missing)}. The run ({model.group}) wants: "
            f"{', '.join(model.channels)}; the plate has: {', '.join(names)}. Rename with --channels-file."
        )
    return tuple(names.index(name) for name in model.channels)


def _plate_scale(plate: Plate, model: LoadedModel) -> Tensor:
    """The run's own scale for a plate that it was trained on; otherwise the plate's percentiles, measured now: (C, 2).

    Runs that share a channel may scale it differently.
    """
    known = model.scale.get(plate.name)
    if known is None:
        settings = model.recipe.plates
        known = measure_scale(
            [plate],
            percentiles=settings.percentiles,
            sites=settings.scale_sites,
            seed=model.recipe.train.seed,
            channels=model.channels,
        )[plate.name]
    return torch.tensor([known[name] for name in model.channels], dtype=torch.float32)


def _flat_field(plate: Plate, model: LoadedModel) -> FlatFields:
    """The run's own illumination of a plate that it was trained on; otherwise measured now, where the run corrects."""
    if plate.name in model.flat_field:
        return model.flat_field
    return flat_fields(model.recipe, [plate], model.channels)


def _site_fields(flat: FlatFields, sites: Sequence[Site], channels: Sequence[str]) -> Tensor | None:
    if not flat:
        return None
    fields = [site_field(flat, site, channels) for site in sites]
    return torch.from_numpy(np.stack([field for field in fields if field is not None]))


def _batches(
    sites: Sequence[Site], channels: Sequence[int], size: int, device: torch.device
) -> Iterator[list[Tensor | UserError]]:
    """Decode sites in threads, one batch ahead and no more; a site that cannot be read is its error."""

    def read(site: Site) -> Tensor | UserError:
        try:
            pixels = torch.from_numpy(read_site(site, channels))
        except UserError as error:
            return error
        return pixels.pin_memory() if device.type == "cuda" else pixels

    with ThreadPoolExecutor(max_workers=max(4, min(16, os.cpu_count() or 1))) as pool:
        coming = [pool.submit(read, site) for site in sites[:size]]
        for start in range(0, len(sites), size):
            current = coming
            coming = [pool.submit(read, site) for site in sites[start + size : start + 2 * size]]
            yield [future.result() for future in current]


def warn(text: str | None, bar: tqdm[object] | None = None) -> None:
    if text and bar is not None:
        bar.write(f"Warning: {text}", file=sys.stderr)
    elif text:
        print(f"Warning: {text}", file=sys.stderr)
