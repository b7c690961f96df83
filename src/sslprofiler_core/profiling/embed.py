"""Plates through one or more trained models: one row a site, ``cls`` and ``patch`` of every model.

The whole site is resampled to the model's size by the same code that makes views (our choice: nothing random, no
tiles). Parts are written a plate at a time, so an interrupted call goes on with the plate that it was at.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from sslprofiler_core import __version__
from sslprofiler_core.augment import flatten_sites, whole_sites
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
from sslprofiler_core.plates.flat_field import FlatFields, site_field
from sslprofiler_core.plates.remote_cache import location
from sslprofiler_core.progress import progress_bar
from sslprofiler_core.training.loader import site_name
from sslprofiler_core.training.start import describe_gaps, flat_fields

from .tables import part_path, read_info, read_sites_part, write_sites_part

if TYPE_CHECKING:
    from pandas import DataFrame
    from tqdm import tqdm

_SITE = ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]


def embed_plates(
    plates: Sequence[Path | str],
    models: Sequence[LoadedModel],
    out: Path | str,
    *,
    metadata: Path | str | None = None,
    run_metadata: Path | str | None = None,
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
        are passed over (their metadata is written anew when it has changed).
    metadata
        A plate map, a table of plates, or a folder of both.
    run_metadata
        The same, of the training run: used when there is no other, for the plates that it knows.
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
        For channels that a plate does not have, two models of one group, another table in ``out``, or an ``out`` that
        cannot be written.
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
    # Every file's header is read, so that what is odd shows now and not in the night.
    opened = [tile_plate(plate, tile) for plate in open_plates(plates, channels=channels_file, check=True)]
    for plate in opened:
        for model in models:
            channel_indices(plate, model)
        _warn(describe_gaps(plate))
    frame = _load_metadata(opened, metadata, run_metadata)
    identity = _identity(models)
    _check_table(out, identity)

    for model in models:
        model.backbone.to(where)
    info = _info(models, opened, identity)
    rows = {plate.name: _site_metadata(plate, frame) for plate in opened}
    todo = [plate for plate in opened if not _is_embedded(out, plate, rows[plate.name], frame is not None, info)]
    total = sum(len(plate.sites) for plate in opened)
    done = total - sum(len(plate.sites) for plate in todo)
    with progress_bar(total, "Embedding", "site", done) as bar:
        for plate in todo:
            features, whole = embed_plate(plate, models, where, bar)
            write_sites_part(out, plate.name, rows[plate.name].loc[whole], features, info)
    return out


def embed_plate(
    plate: Plate, models: Sequence[LoadedModel], device: torch.device, bar: tqdm[object] | None = None
) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """Embed the sites of one plate, in the order of ``plate.sites``.

    Returns
    -------
    Column name -> (S, D), and which of the plate's sites these S are: a site that cannot be decoded is left out with a
    warning.
    """
    indices = [channel_indices(plate, model) for model in models]
    read = sorted({index for group in indices for index in group})
    scale = _plate_scale(plate, models)
    flats = [_flat_field(plate, model) for model in models]
    gathered: dict[str, list[NDArray[np.float32]]] = {}
    whole = np.ones(len(plate.sites), np.bool_)
    batch = min(model.recipe.embed.batch for model in models)
    start = 0
    for found in _batches(plate.sites, read, batch):
        names, arrays, embedded = [], [], []
        for number, array in enumerate(found, start):
            name = site_name(plate.sites[number])
            if isinstance(array, UserError):
                whole[number] = False
                _warn(f"{name} left out: {array}", bar)
            else:
                names.append(name)
                arrays.append(array)
                embedded.append(plate.sites[number])
        start += len(found)
        for model, group, flat in zip(models, indices, flats, strict=True) if arrays else ():
            rows = [read.index(index) for index in group]
            raw = [torch.from_numpy(array[rows]).to(device, non_blocking=True) for array in arrays]
            sites = flatten_sites(raw, _site_fields(flat, embedded, model.channels))
            scales = torch.tensor([scale[plate.channels[index].name] for index in group], dtype=torch.float32)
            cls_SD, patch_SD = forward_sites(model, sites, scales.expand(len(sites), -1, -1), names)
            prefix = column_prefix(model.group)
            gathered.setdefault(f"{prefix}_cls", []).append(cls_SD)
            gathered.setdefault(f"{prefix}_patch", []).append(patch_SD)
        if bar is not None:
            bar.update(len(found))
    if not gathered:
        raise UserError(f"No site of plate {plate.name} can be read. Run `sslprofiler inspect --pixels {plate.root}`.")
    return {name: np.concatenate(parts) for name, parts in gathered.items()}, whole


@torch.inference_mode()
def forward_sites(
    model: LoadedModel, sites: Sequence[torch.Tensor], scales_BC2: torch.Tensor, names: Sequence[str] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embed raw sites (C, H, W) at the two granularities (paper 3.3.1): CLS and mean of the patch tokens, (B, D)."""
    images = whole_sites(sites, scales_BC2, model.recipe.embed_size, model.recipe.augment, names)
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
                [plate],
                percentiles=settings.percentiles,
                sites=settings.scale_sites,
                seed=model.recipe.train.seed,
                channels=model.channels,
            )[plate.name]
        found.update({name: known[name] for name in model.channels})
    return found


def _flat_field(plate: Plate, model: LoadedModel) -> FlatFields:
    """The run's own illumination of a plate that it was trained on; otherwise measured now, where the run corrects."""
    if plate.name in model.flat_field:
        return model.flat_field
    return flat_fields(model.recipe, [plate], model.channels)


def _site_fields(flat: FlatFields, sites: Sequence[Site], channels: Sequence[str]) -> torch.Tensor | None:
    if not flat:
        return None
    fields = [site_field(flat, site, channels) for site in sites]
    return torch.from_numpy(np.stack([field for field in fields if field is not None]))


def _batches(
    sites: Sequence[Site], channels: Sequence[int], size: int
) -> Iterator[list[NDArray[np.uint16] | UserError]]:
    """Decode sites in threads, one batch ahead and no more; a site that cannot be read is its error."""

    def read(site: Site) -> NDArray[np.uint16] | UserError:
        try:
            return read_site(site, channels)
        except UserError as error:
            return error

    with ThreadPoolExecutor(max_workers=4) as pool:
        coming = [pool.submit(read, site) for site in sites[:size]]
        for start in range(0, len(sites), size):
            current = coming
            coming = [pool.submit(read, site) for site in sites[start + size : start + 2 * size]]
            yield [future.result() for future in current]


def _load_metadata(
    plates: Sequence[Plate], metadata: Path | str | None, run_metadata: Path | str | None
) -> DataFrame | None:
    """Load metadata with its warnings; that of the run need not know these plates."""
    if metadata is None and run_metadata is None:
        return None
    try:
        frame = load_metadata(metadata if metadata is not None else str(run_metadata), plates)
    except UserError as error:
        if metadata is not None:
            raise
        _warn(f"The run's metadata is not used: {error}")
        return None
    for text in frame.attrs["warnings"]:
        _warn(text)
    return frame


def _warn(text: str | None, bar: tqdm[object] | None = None) -> None:
    if text and bar is not None:
        bar.write(f"Warning: {text}", file=sys.stderr)
    elif text:
        print(f"Warning: {text}", file=sys.stderr)


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
        "plates": {plate.name: location(plate.root) for plate in plates},
        "tile": models[0].recipe.plates.tile,
    }


def _check_table(out: Path, identity: str) -> None:
    """Refuse to add to a table that other models made, and to write where that is not possible."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file. Choose another --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(f"Cannot write into {out} ({error.strerror or error}). Choose another --out.") from error
    for part in sorted(out.glob("*.parquet")):
        if read_info(part).get("models") != identity:
            raise UserError(
                f"{out} holds embeddings of other models ({part.name}). Choose another --out, or delete it."
            )


def _is_embedded(out: Path, plate: Plate, metadata: DataFrame, known: bool, info: Mapping[str, Any]) -> bool:
    """Whether a plate's part is there with exactly its sites; metadata that has changed is written to it."""
    part = part_path(out, plate.name)
    if not part.is_file():
        return False
    written = read_sites_part(part, ()).metadata
    if not written[_SITE].equals(metadata[_SITE]):
        return False
    if known and not _same_text(written, metadata):
        write_sites_part(out, plate.name, metadata, read_sites_part(part).features, info)
    return True


def _same_text(one: DataFrame, other: DataFrame) -> bool:
    return set(one.columns) == set(other.columns) and one[other.columns].astype(str).equals(other.astype(str))
