"""Well profiles of the demo: from the networks, and by hand to stand beside them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import sslprofiler_core
from sslprofiler_core.plates import IntensityScale, Plate, Site, read_site
from sslprofiler_core.profiling import (
    intensity_features,
    profile_sites,
    read_info,
    read_wells,
    texture_features,
    write_wells,
)
from sslprofiler_core.progress import progress_bar

if TYPE_CHECKING:
    from pandas import DataFrame

    from sslprofiler_core.model import LoadedModel

Floats = NDArray[np.floating[Any]]

HANDMADE = {"intensity": intensity_features, "texture": texture_features}
# Both channel groups together.
BOTH = "both"


def network_profiles(sites: Path, wells: Path, models: Sequence[LoadedModel]) -> dict[str, Floats]:
    """Profile a sites table; returns channel group -> (W, D), and ``"both"``.

    The mean over sites, as positions mean nothing on simulated plates: concatenating them would only add noise.
    """
    profile_sites(sites, wells, sites="mean")
    table = read_wells(wells)
    width = {model.group: 2 * model.recipe.model.width for model in models}  # cls and patch
    groups = [str(group) for group in table.info["profile"]["groups"]]
    ends = np.cumsum([width[group] for group in groups])
    parts = np.split(table.profiles, ends[:-1], axis=1)
    return {BOTH: table.profiles, **dict(zip(groups, parts, strict=True))}


def well_features(
    plates: Sequence[Plate], models: Sequence[LoadedModel], metadata: DataFrame, out: Path
) -> dict[str, Floats]:
    """Hand-made features of each well, and their tables ``<kind>-wells.parquet`` in ``out``.

    Pixels are scaled to [0, 1] as for the models; features are averaged over the sites of a well, then standardised
    over the wells of the table.

    Returns
    -------
    ``"intensity"``, ``"texture"`` -> (W, D), a row a row of ``metadata``.
    """
    scale = merged_scale(models)
    digest = hashlib.sha256(json.dumps(scale, sort_keys=True).encode()).hexdigest()[:16]
    paths = {kind: out / f"{kind}-wells.parquet" for kind in HANDMADE}
    if all(path.is_file() and read_info(path).get("scale") == digest for path in paths.values()):
        tables = {kind: read_wells(path) for kind, path in paths.items()}
        keys = ["Metadata_Plate", "Metadata_Well"]
        if all(table.metadata[keys].equals(metadata[keys]) for table in tables.values()):
            return {kind: table.profiles for kind, table in tables.items()}
    found = _features_of_wells(plates, scale)
    rows = list(zip(metadata["Metadata_Plate"], metadata["Metadata_Well"], strict=True))
    profiles = {}
    for kind, path in paths.items():
        values = np.stack([found[kind][row] for row in rows]).astype(np.float64)
        deviation = values.std(axis=0)
        values = (values - values.mean(axis=0)) / np.where(deviation > 0.0, deviation, 1.0)
        info = {"version": sslprofiler_core.__version__, "features": kind, "scale": digest}
        write_wells(path, metadata, values, info)
        profiles[kind] = values.astype(np.float32)
    return profiles


def centred_per_plate(profiles_WD: Floats, metadata: DataFrame) -> Floats:
    """Subtract each plate's mean profile: what all wells of a plate share, such as its stain, is gone."""
    centred = np.array(profiles_WD, np.float64)
    plates = metadata["Metadata_Plate"].to_numpy()
    for plate in np.unique(plates):
        centred[plates == plate] -= centred[plates == plate].mean(axis=0)
    return centred.astype(np.float32)


def merged_scale(models: Sequence[LoadedModel]) -> IntensityScale:
    """The intensity scale of all models' channels."""
    scale: IntensityScale = {}
    for model in models:
        for plate, channels in model.scale.items():
            scale.setdefault(plate, {}).update({name: channels[name] for name in model.channels})
    return scale


def scaled_site(
    site: Site, plate: Plate, scale: Mapping[str, Mapping[str, tuple[float, float]]]
) -> NDArray[np.float32]:
    """Read a site's scaled channels: (C, H, W) in [0, 1]; C are the plate's channels that have a scale, in order."""
    own = scale[plate.name]
    channels = [i for i, channel in enumerate(plate.channels) if channel.name in own]
    limits = np.array([own[plate.channels[i].name] for i in channels], np.float32)
    low, high = limits[:, 0, None, None], limits[:, 1, None, None]
    scaled: NDArray[np.float32] = np.clip((read_site(site, channels).astype(np.float32) - low) / (high - low), 0.0, 1.0)
    return scaled


def _features_of_wells(
    plates: Sequence[Plate], scale: IntensityScale
) -> dict[str, dict[tuple[str, str], NDArray[np.float64]]]:
    """Features by kind and (plate, well): means over sites."""
    work = [(plate, site) for plate in plates for site in plate.sites]
    sums: dict[str, dict[tuple[str, str], NDArray[np.float64]]] = {kind: {} for kind in HANDMADE}
    counts: dict[tuple[str, str], int] = {}

    def features(item: tuple[Plate, Site]) -> dict[str, NDArray[np.float32]]:
        pixels = scaled_site(item[1], item[0], scale)
        return {kind: function(pixels) for kind, function in HANDMADE.items()}

    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress_bar(len(work), "Hand-made features", "site") as bar,
    ):
        for (plate, site), found in zip(work, pool.map(features, work), strict=True):
            well = (plate.name, site.well)
            counts[well] = counts.get(well, 0) + 1
            for kind, values in found.items():
                sums[kind][well] = sums[kind].get(well, 0.0) + values.astype(np.float64)
            bar.update()
    return {kind: {well: total / counts[well] for well, total in own.items()} for kind, own in sums.items()}
