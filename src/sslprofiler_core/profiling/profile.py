"""From a sites table to a wells table: granularities, sites, channel groups, and alignment where it is asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import sslprofiler_core
from sslprofiler_core.errors import UserError
from sslprofiler_core.progress import progress_bar

from .alignment import align as align_profiles
from .alignment import check_alpha
from .merging import (
    SLOTS,
    SiteCountWarning,
    Sites,
    grid_places,
    grid_side,
    merge_granularities,
    merge_places,
)
from .normalise import check_epsilon, check_weights, sphere, standardise_plates, weight_groups
from .parquet import read_metadata_columns
from .tables import KEYS, SitesTable, check_wells_path, read_info, read_sites_part, sites_parts, write_wells

Features = Literal["cls", "cls+patch"]
Standardise = Literal["controls", "plate"]
Controls = Callable[[pd.DataFrame], NDArray[np.bool_]]

# The paper's two models first, in one order on every machine; other groups follow by name.
GROUP_ORDER = ("fluorescence", "brightfield")
POSITION = ["Metadata_PositionX", "Metadata_PositionY"]


def profile_sites(
    sites_path: Path | str,
    out: Path | str,
    *,
    sites: Sites = "concat",
    features: Features = "cls+patch",
    align: float | None = None,
    standardise: Standardise | None = None,
    sphering: float | None = None,
    weights: Mapping[str, float] | None = None,
    controls: Controls | None = None,
) -> Path:
    """Make well profiles from site embeddings (paper 3.3), one plate in memory at a time beside the profiles.

    Parameters
    ----------
    sites_path
        A sites table, as ``embed`` writes it.
    out
        The wells table to write.
    sites
        ``"concat"`` (paper 3.3.2: nine places one after the other) or ``"mean"``.
    features
        ``"cls"``, or ``"cls+patch"`` (paper 3.3.1).
    align
        Alpha of paper 3.3.3 over all plates of the table, None for no alignment. Every well moves, so a score of
        these profiles is a ``transductive`` one: evaluate unaligned wells, and let ``evaluate`` align them per fold.
    standardise
        Plate by plate, by the mean and deviation of its ``"controls"`` or of the whole ``"plate"``; see
        `standardise_plates`.
    sphering
        Epsilon of `sphere`, on the controls of all plates (on all wells without ``controls``); None for none.
    weights
        Channel group -> its say in distances; see `weight_groups`.
    controls
        Marks the control wells of a table's metadata, (W,).

    Returns
    -------
    ``out``. Profiles hold channel group after channel group. ``Metadata_SiteCount`` is how many sites a well has. What
    was done follows the order of these options, alignment last, and is in the table's ``info["profile"]``.

    Raises
    ------
    UserError
        For a path that is no sites table, parts that do not belong together, a well with a site twice, or options that
        are out of range.

    Warns
    -----
    SiteCountWarning
        Once, with the number of wells that lack sites, when these are concatenated.
    UserWarning
        When sites that are concatenated have stage positions on some plates only.
    """
    if align is not None:
        check_alpha(align)
    if sphering is not None:
        check_epsilon(sphering)
    parts = sites_parts(sites_path)
    check_wells_path(out)
    rows = sum(len(read_metadata_columns(part)[list(KEYS)].drop_duplicates()) for part in parts)
    tables: list[pd.DataFrame] = []
    merged = np.empty((0, 0), np.float32)
    groups: tuple[str, ...] = ()
    widths: dict[str, int] = {}
    short = filled_rows = 0
    layouts: dict[bool, dict[tuple[int, ...], str]] = {True: {}, False: {}}  # by position or not -> one plate of each
    with progress_bar(len(parts), "Profiling", "plate") as bar:
        for part in parts:
            table = read_sites_part(part)
            own = channel_groups(table, features, part)
            groups = groups or own
            if own != groups:
                raise UserError(
                    f"{part} has channel groups {', '.join(own)}, other parts {', '.join(groups)}. "
                    "Embed its plate again."
                )
            if weights and not tables:
                check_weights(weights, groups)
            metadata, values, filled, own_widths = _profile_plate(table, groups, sites, features, part)
            layout, by_position = field_places(table.metadata)
            layouts[by_position].setdefault(tuple(layout.tolist()), str(metadata["Metadata_Plate"].iloc[0]))
            widths = widths or own_widths
            if own_widths != widths:
                raise UserError(f"{part} has embeddings of another width than other parts. Embed its plate again.")
            if not tables:
                merged = np.empty((rows, values.shape[1]), np.float32)
            merged[filled_rows : filled_rows + len(values)] = values
            filled_rows += len(values)
            tables.append(metadata)
            short += filled
            bar.update()
    metadata = pd.concat(tables, ignore_index=True)
    bad = sum(int((~np.isfinite(merged[i : i + 256])).any(axis=1).sum()) for i in range(0, rows, 256))
    if bad:
        raise UserError(
            f"{sites_path}: {bad} of {len(merged)} wells have empty or infinite embeddings. Embed them again."
        )
    if short and sites == "concat":
        warnings.warn(
            f"{short} of {len(metadata)} wells have fewer sites than their plate's grid has places: "
            "those got the well's mean (Metadata_SiteCount has the counts)."
            + (" Where wells have so few sites, --sites mean is the plainer choice." if short == len(metadata) else ""),
            SiteCountWarning,
            stacklevel=2,
        )
    guessed = [plate for layout, plate in layouts[False].items() if layout not in layouts[True]]
    if guessed and layouts[True] and sites == "concat":
        warnings.warn(
            f"Sites of plate {guessed[0]} have no stage positions that form a grid, those of plate "
            f"{next(iter(layouts[True].values()))} have: by field number, they may stand in other places of the "
            "profile. Profile such plates apart, or with --sites mean.",
            stacklevel=2,
        )
    done: dict[str, Any] = {"sites": sites, "features": features, "groups": list(groups), "widths": widths}
    plates = metadata["Metadata_Plate"].to_numpy()
    if standardise is not None:
        marked = None if standardise == "plate" else _controls(metadata, controls)
        standardise_plates(merged, plates, marked, in_place=True)
        done["standardise"] = standardise
    if sphering is not None:
        sphere(merged, None if controls is None else _controls(metadata, controls), sphering, in_place=True)
        done["sphering"] = sphering
    if weights:
        weight_groups(merged, widths, weights, in_place=True)
        done["weights"] = dict(weights)
    info = read_info(sites_path) | {"version": sslprofiler_core.__version__, "profile": done, "alignment": None}
    if align is not None:
        align_profiles(merged, plates, metadata["Metadata_Well"].to_numpy(), align, in_place=True)
        info["alignment"] = {"mode": "transductive", "alpha": align}
    return write_wells(out, metadata, merged, info)


def _controls(metadata: pd.DataFrame, controls: Controls | None) -> NDArray[np.bool_]:
    marked = np.zeros(len(metadata), bool) if controls is None else controls(metadata)
    if not marked.any():
        raise UserError(
            "The table has no control wells that are known. Embed with --metadata, or name them with --control "
            "COLUMN=VALUE, or standardise by all wells of a plate."
        )
    return marked


def channel_groups(table: SitesTable, features: Features, where: Path) -> tuple[str, ...]:
    """Channel groups of a sites table in the order in which profiles hold them.

    Raises
    ------
    UserError
        When the table has no embeddings, or lacks a granularity that is asked for.
    """
    found = {name.removesuffix("_cls") for name in table.features if name.endswith("_cls")}
    if not found:
        raise UserError(
            f"{where} has no embeddings (columns <group>_cls). Make a sites table with `sslprofiler embed`."
        )
    lacking = sorted(group for group in found if f"{group}_patch" not in table.features)
    if features == "cls+patch" and lacking:
        raise UserError(f"{where} has no patch embeddings of {lacking[0]}. Profile with features 'cls'.")
    return tuple(group for group in GROUP_ORDER if group in found) + tuple(sorted(found - set(GROUP_ORDER)))


def _profile_plate(
    table: SitesTable, groups: tuple[str, ...], how: Sites, features: Features, part: Path
) -> tuple[pd.DataFrame, NDArray[np.float32], int, dict[str, int]]:
    """Profiles of one plate's wells, how many of these have places that had to be filled, and the groups' widths."""
    order = table.metadata.sort_values([*KEYS, "Metadata_Site"], kind="stable").index.to_numpy()
    metadata = table.metadata.loc[order].reset_index(drop=True)
    twice = metadata.duplicated([*KEYS, "Metadata_Site"])
    if twice.any():
        plate, well, site = metadata.loc[int(twice.to_numpy().argmax()), [*KEYS, "Metadata_Site"]]
        raise UserError(
            f"{part}: site {site} of well {well} on plate {plate} stands there twice. Embed its plate again."
        )
    embeddings = []
    for group in groups:
        vectors = table.features[f"{group}_cls"]
        if features == "cls+patch":
            vectors = merge_granularities(vectors, table.features[f"{group}_patch"])
        embeddings.append(vectors[order])
    place, side = site_places(metadata)
    starts = np.flatnonzero(~metadata.duplicated(list(KEYS)).to_numpy())
    wells = [slice(a, b) for a, b in zip(starts, [*starts[1:], len(metadata)], strict=True)]
    factor = SLOTS if how == "concat" else 1
    profiles = np.empty((len(wells), factor * sum(e.shape[1] for e in embeddings)), np.float32)
    for row, well in enumerate(wells):
        if how == "concat":
            merged = [merge_places(e[well], place[well], side) for e in embeddings]
        else:
            merged = [e[well].mean(axis=0, dtype=np.float64) for e in embeddings]
        profiles[row] = np.concatenate(merged)
    counts = np.diff([*starts, len(metadata)])
    kept = metadata.iloc[starts].drop(columns=["Metadata_Site", *POSITION], errors="ignore").reset_index(drop=True)
    kept["Metadata_SiteCount"] = counts.astype(np.int64)
    widths = {group: factor * e.shape[1] for group, e in zip(groups, embeddings, strict=True)}
    return kept, profiles, int((counts < side * side).sum()), widths


def site_places(metadata: pd.DataFrame) -> tuple[NDArray[np.int64], int]:
    """Where each site of one plate stands in its well's grid, and the grid's side; see `field_places`."""
    fields, field = np.unique(metadata["Metadata_Site"].to_numpy(), return_inverse=True)
    return field_places(metadata)[0][field], grid_side(len(fields))


def field_places(metadata: pd.DataFrame) -> tuple[NDArray[np.int64], bool]:
    """Where each field of one plate stands in its wells' grid, and whether by stage position.

    A field keeps its place in every well of the plate, so that wells with missing sites are filled where these are
    missing (our choice). The grid is made of the fields that the plate has: by their median stage positions
    ``Metadata_PositionX`` and ``Metadata_PositionY`` where these form a grid, otherwise by field number.
    """
    fields, field = np.unique(metadata["Metadata_Site"].to_numpy(), return_inverse=True)
    if all(name in metadata for name in POSITION):
        positions = metadata[POSITION].groupby(field).median().to_numpy(np.float64)
        places = grid_places(positions, grid_side(len(fields)))
        if places is not None:
            return places, True
    return np.arange(len(fields), dtype=np.int64), False
