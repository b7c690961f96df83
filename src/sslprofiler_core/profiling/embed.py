"""Plates through one or more trained models: one row a site, ``cls`` and ``patch`` of every model.

The whole site is resampled to the model's size by the same code that makes views (our choice: nothing random, no
tiles). Parts are written a plate at a time, so an interrupted call goes on with the next plate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from sslprofiler_core import __version__
from sslprofiler_core.augment import whole_sites
from sslprofiler_core.errors import UserError
from sslprofiler_core.model.files import LoadedModel, load_model, pick_device
from sslprofiler_core.plates import (
    Plate,
    Site,
    load_metadata,
    measure_scale,
    open_plates,
    read_site,
    tile_plate,
)
from sslprofiler_core.progress import progress_bar

from .tables import write_sites_part

if TYPE_CHECKING:
    from pandas import DataFrame
    from tqdm import tqdm


def embed_plates(
    plates: Sequence[Path | str],
    models: Sequence[LoadedModel],
    out: Path | str,
    *,
    metadata: Path | str | None = None,
    device: str | None = None,
    channels_file: Path | None = None,
) -> Path:
    """Embed every site of some plates (paper 3.3).

    Parameters
    ----------
    plates
        Plate folders, or folders of plates.
    models
        One a channel group; their features stand side by side as ``<group>_cls`` and ``<group>_patch``.
    out
        The table: a folder with one Parquet part a plate. Plates that are in it already, embedded by the same models,
        are passed over.
    metadata
        A plate map, a table of plates, or a folder of both.
    device
        Such as ``"cuda"``; None takes the best there is.
    channels_file
        Names and groups of the channels, where the files do not say.

    Returns
    -------
    ``out``.

    Raises
    ------
    UserError
        For channels that a plate does not have, two models of one group, or another table in ``out``.
    """
    out = Path(out)
    where = pick_device(device)
    groups = [column_prefix(model.group) for model in models]
    if len(set(groups)) < len(groups):
        raise UserError(f"Two runs are of the same channel group ({', '.join(groups)}). Give one run a group.")
    tiles = {model.recipe.plates.tile for model in models}
    if len(tiles) > 1:
        raise UserError(f"The runs cut sites into different tiles ({sorted(tiles)}): embed them apart.")
    tile = tiles.pop()
    opened = [tile_plate(plate, tile) for plate in open_plates(plates, channels=channels_file)]
    frame = load_metadata(Path(metadata), [plate.name for plate in opened]) if metadata else None
    identity = _identity(models)
    _check_table(out, identity)

    for model in models:
        model.backbone.to(where)
    todo = [plate for plate in opened if not (out / f"{plate.name}.parquet").is_file()]
    total = sum(len(plate.sites) for plate in opened)
    done = total - sum(len(plate.sites) for plate in todo)
    with progress_bar(total, "Embedding", "site", done) as bar:
        for plate in todo:
            features = embed_plate(plate, models, where, bar)
            write_sites_part(out, plate.name, _site_metadata(plate, frame), features, _info(models, opened, identity))
    return out


def embed_plate(
    plate: Plate, models: Sequence[LoadedModel], device: torch.device, bar: tqdm[object] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Embed the sites of one plate, in the order of ``plate.sites``: column name -> (S, D)."""
    indices = [channel_indices(plate, model) for model in models]
    read = sorted({index for group in indices for index in group})
    scale = _plate_scale(plate, models)
    gathered: dict[str, list[NDArray[np.float32]]] = {}
    batch = min(model.recipe.embed.batch for model in models)
    for arrays in _batches(plate.sites, read, batch):
        for model, group in zip(models, indices, strict=True):
            rows = [read.index(index) for index in group]
            sites = [torch.from_numpy(array[rows]).to(device, non_blocking=True) for array in arrays]
            scales = torch.tensor([scale[plate.channels[index].name] for index in group], dtype=torch.float32)
            cls_SD, patch_SD = forward_sites(model, sites, scales.to(device).expand(len(sites), -1, -1))
            prefix = column_prefix(model.group)
            gathered.setdefault(f"{prefix}_cls", []).append(cls_SD)
            gathered.setdefault(f"{prefix}_patch", []).append(patch_SD)
        if bar is not None:
            bar.update(len(arrays))
    return {name: np.concatenate(parts) for name, parts in gathered.items()}


@torch.inference_mode()
def forward_sites(
    model: LoadedModel, sites: Sequence[torch.Tensor], scales_BC2: torch.Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embed raw sites (C, H, W) at the two granularities (paper 3.3.1): CLS and mean of the patch tokens, (B, D)."""
    images = whole_sites(sites, scales_BC2, model.recipe.embed_size, model.recipe.augment)
    bf16 = model.recipe.train.precision == "bf16" and images.device.type == "cuda"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        cls_BD, patches_BND = model.backbone(images)
    return cls_BD.float().cpu().numpy(), patches_BND.float().mean(1).cpu().numpy()


def load_models(runs: Sequence[Path | str]) -> list[LoadedModel]:
    """The models of run folders, in the order given."""
    return [load_model(run) for run in runs]


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


def _plate_scale(plate: Plate, models: Sequence[LoadedModel]) -> Mapping[str, tuple[float, float]]:
    """The run's own scale for a plate that it was trained on; otherwise the plate's percentiles, measured now."""
    found: dict[str, tuple[float, float]] = {}
    for model in models:
        known = model.scale.get(plate.name)
        if known is None:
            settings = model.recipe.plates
            known = measure_scale(
                [plate], percentiles=settings.percentiles, sites=settings.scale_sites, seed=model.recipe.train.seed
            )[plate.name]
        found.update({name: known[name] for name in model.channels})
    return found


def _batches(sites: Sequence[Site], channels: Sequence[int], size: int) -> Iterator[list[NDArray[np.uint16]]]:
    """Decode sites a batch ahead, in threads."""
    starts = range(0, len(sites), size)
    with ThreadPoolExecutor(max_workers=4) as pool:
        ahead = [[pool.submit(read_site, site, channels) for site in sites[start : start + size]] for start in starts[:1]]
        for start in starts:
            following = sites[start + size : start + 2 * size]
            current = ahead.pop(0)
            ahead.append([pool.submit(read_site, site, channels) for site in following])
            yield [future.result() for future in current]


def _site_metadata(plate: Plate, frame: DataFrame | None) -> DataFrame:
    import pandas as pd

    table = pd.DataFrame(
        {
            "Metadata_Plate": [site.plate for site in plate.sites],
            "Metadata_Well": [site.well for site in plate.sites],
            "Metadata_Site": [site.site for site in plate.sites],
            "Metadata_PositionX": [site.position_um[0] if site.position_um else np.nan for site in plate.sites],
            "Metadata_PositionY": [site.position_um[1] if site.position_um else np.nan for site in plate.sites],
        }
    )
    if frame is None:
        return table
    return table.merge(frame, on=["Metadata_Plate", "Metadata_Well"], how="left", validate="many_to_one")


def _identity(models: Sequence[LoadedModel]) -> str:
    """A digest of the weights and settings that made a table."""
    digest = hashlib.sha256()
    for model in models:
        digest.update(json.dumps([model.group, model.channels, model.recipe.model_dump(mode="json")]).encode())
        for name, tensor in sorted(model.backbone.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _info(models: Sequence[LoadedModel], plates: Sequence[Plate], identity: str) -> dict[str, object]:
    return {
        "version": __version__,
        "models": identity,
        "groups": {
            column_prefix(model.group): {"channels": list(model.channels), "step": model.step} for model in models
        },
        "plates": {plate.name: str(plate.root.resolve()) for plate in plates},
        "tile": models[0].recipe.plates.tile,
    }


def _check_table(out: Path, identity: str) -> None:
    """Refuse to add to a table that other models made, or to a file."""
    import pyarrow.parquet as pq

    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file. Choose another --out.")
    for part in sorted(out.glob("*.parquet")) if out.is_dir() else []:
        info = json.loads((pq.read_schema(part).metadata or {}).get(b"sslprofiler", b"{}"))
        if info.get("models") != identity:
            raise UserError(f"{out} holds embeddings of other models ({part.name}). Choose another --out, or delete it.")
