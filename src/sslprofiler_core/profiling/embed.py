"""Plates through one or more trained models: one row a site, ``cls`` and ``patch`` of every model.

The whole site is resampled to the model's size by the same code that makes views (our choice: nothing random, no
tiles). Parts are written a plate at a time, so an interrupted call goes on with the plate that it was at.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sslprofiler_core import __version__, ranks
from sslprofiler_core.errors import UserError
from sslprofiler_core.model.files import LoadedModel, load_model, pick_device
from sslprofiler_core.plates import Plate, load_metadata, open_plates, tile_plate
from sslprofiler_core.plates.remote_cache import location
from sslprofiler_core.progress import progress_bar
from sslprofiler_core.training.start import describe_gaps

from .embed_sites import channel_indices, column_prefix, embed_plate, forward_sites, warn
from .patch_store import PatchWriter, patches_path
from .tables import part_path, read_info, read_sites_part, write_sites_part

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["embed_plate", "embed_plates", "forward_sites", "load_models"]

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
    patches: bool = False,
) -> Path:
    """Embed every site of some plates (paper 3.3).

    Started by ``torchrun``, each process embeds every n-th plate, on its own GPU where there are several.

    Parameters
    ----------
    plates
        Plate folders, or folders of plates.
    models
        One a channel group; their features stand side by side as ``<group>_cls`` and ``<group>_patch``.
    out
        The table: a folder with one Parquet part a plate. Plates that are in it already, embedded by the same models
        from the same channels, are passed over (their metadata is written anew when it has changed).
    metadata
        A plate map, a table of plates, or a folder of both.
    run_metadata
        The same, of the training run: used when there is no other, for the plates that it knows.
    device
        Such as ``"cuda"``; None takes the best there is.
    channels_file
        Names and groups of the channels, where the files do not say.
    patches
        Keep every patch token too: float16, in ``<out>.patches.zarr`` beside the table (see `patch_store`).

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
    rank, count = _share()
    where = pick_device(ranks.device_name(device))
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
    own = opened[rank::count]
    for plate in own:
        warn(describe_gaps(plate))
    frame = _load_metadata(opened, metadata, run_metadata)
    identity = _identity(models)
    _check_table(out, identity)

    for model in models:
        model.backbone.to(where)
    info = _info(models, opened, identity)
    infos = {plate.name: info | {"numbers": _numbers(models, plate)} for plate in own}
    rows = {plate.name: _site_metadata(plate, frame) for plate in own}
    todo = [
        plate
        for plate in own
        if not _is_embedded(out, plate, rows[plate.name], frame is not None, infos[plate.name])
        or (patches and not patches_path(out, plate.name).is_dir())
    ]
    total = sum(len(plate.sites) for plate in own)
    done = total - sum(len(plate.sites) for plate in todo)
    batch = min(model.recipe.embed.batch for model in models)
    label = "Embedding" if count == 1 else f"Embedding, process {rank + 1} of {count}"
    with progress_bar(total, label, "site", done) as bar:
        for plate in todo:
            writer = PatchWriter(out, plate.name, plate.sites, batch, info) if patches else None
            features, whole = embed_plate(plate, models, where, bar, writer)
            if writer is not None:
                writer.finish()
            write_sites_part(out, plate.name, rows[plate.name].loc[whole], features, infos[plate.name])
    return out


def _share() -> tuple[int, int]:
    """Which process this is, and of how many: they need not speak to each other."""
    return ranks.index(), int(os.environ.get("WORLD_SIZE", "1")) if ranks.several() else 1


def load_models(runs: Sequence[Path | str]) -> list[LoadedModel]:
    """The models of run folders, in the order given."""
    return [load_model(run) for run in runs]


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
        warn(f"The run's metadata is not used: {error}")
        return None
    for text in frame.attrs["warnings"]:
        warn(text)
    return frame


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


def _numbers(models: Sequence[LoadedModel], plate: Plate) -> dict[str, int]:
    """Which channels of the plate's files the models see under which name."""
    seen = {name for model in models for name in model.channels}
    return {channel.name: channel.number for channel in plate.channels if channel.name in seen}


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
    """Whether a plate's part is there with exactly its sites, its channels having the names that they have now.

    Metadata that has changed is written to it.
    """
    part = part_path(out, plate.name)
    if not part.is_file() or read_info(part).get("numbers", info["numbers"]) != info["numbers"]:
        return False
    written = read_sites_part(part, ()).metadata
    if not written[_SITE].equals(metadata[_SITE]):
        return False
    if known and not _same_text(written, metadata):
        write_sites_part(out, plate.name, metadata, read_sites_part(part).features, info)
    return True


def _same_text(one: DataFrame, other: DataFrame) -> bool:
    return set(one.columns) == set(other.columns) and one[other.columns].astype(str).equals(other.astype(str))
