"""What is in some plates, and what is wrong with them: the document behind ``sslprofiler inspect``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.keys import fold, permutation

from .intensity import count_levels, map_in_threads, percentiles_of
from .open import PlateIndex, check_headers, index_plates
from .remote import fetch_all, is_waiting
from .remote_cache import is_mirrored, shown
from .types import Gap, Plate, Source

PERCENTILES = (0.1, 50.0, 99.9)
# Sites of a plate in an object store that are fetched for its percentiles: 71 MB of CPJUMP1 (our choice).
REMOTE_SITES = 4


def inspect_plates(
    paths: Sequence[Path | str],
    *,
    channels: Mapping[int, str] | Path | str | None = None,
    metadata: Path | str | None = None,
    pixels: bool = False,
    sites: int = 16,
    seed: int = 0,
    layout: str | None = None,
) -> dict[str, Any]:
    """Inspect plates: read every file's header, and the pixels of some sites.

    Parameters
    ----------
    paths, channels, layout
        As in ``open_plates``.
    metadata
        As in ``load_metadata``: adds cell type, time and compounds to each plate.
    pixels
        Decode every file, to find those that are damaged beyond their headers.
    sites
        How many sites a plate the intensity percentiles are measured on, sampled by a key of (seed, plate); at most
        4 where they have to be fetched from an object store.

    Returns
    -------
    A document for JSON: ``totals`` (``sites`` counts all that were found, ``planes`` the good files), ``plates``,
    ``gaps`` (``path`` and ``problem``; a missing file by the path that it should have) and ``notes``.

    Raises
    ------
    UserError
        As ``open_plates`` and ``load_metadata``. A file that can't be used is a gap, not an error.
    """
    indexes, strangers = index_plates(paths, channels, layout)
    reports = []
    for index in indexes:
        check_headers(index)
        if pixels:
            _measure(index, index.sources(), keep=False)
        reports.append(_report(index, _intensities(index, sites, seed)))
    notes = [note for index in indexes if (note := _unread(index))]
    if metadata is not None:
        notes += _add_metadata(reports, [index.plate() for index in indexes], metadata)
    gaps = [gap for index in indexes for gap in index.gaps] + strangers
    names = {(channel.name, channel.group) for index in indexes for channel in index.channels}
    totals = {key: sum(report[key] for report in reports) for key in ("wells", "sites")}
    return {
        "totals": {
            "plates": len(reports),
            **totals,
            "channels": len(names),
            "planes": sum(report["planes"] for report in reports),
            "gaps": len(gaps),
        },
        "plates": reports,
        "gaps": [{"path": shown(gap.path), "problem": gap.problem} for gap in gaps],
        "notes": notes,
    }


def _unread(index: PlateIndex) -> str | None:
    """Say how many of a plate's files are in an object store alone, so that nothing but their sizes was looked at."""
    waiting = sum(is_waiting(path) for path in {source.path for source in index.sources()})
    if not waiting:
        return None
    return f"{index.name}: {waiting:,} files in the bucket were not fetched: what they hold shows when they are read."


def _report(index: PlateIndex, intensities: dict[int, list[float]]) -> dict[str, Any]:
    plate = index.plate()
    per_well = Counter((row, column) for row, column, _ in index.sites)
    distribution = Counter(per_well.values())
    return {
        "name": plate.name,
        "path": shown(plate.root),
        "layout": plate.layout,
        "wells": len(per_well),
        "sites": len(index.sites),
        "complete_sites": len(plate.sites),
        "sites_per_well": {str(count): wells for count, wells in sorted(distribution.items())},
        "planes": len(index.good_sources()),
        "channels": [
            {
                "number": channel.number,
                "name": channel.name,
                "group": channel.group,
                "percentiles": {
                    f"{percentile:g}": value
                    for percentile, value in zip(PERCENTILES, intensities.get(channel.number, ()), strict=False)
                },
            }
            for channel in plate.channels
        ],
        "pixel_size_um": plate.pixel_size_um,
        "shape": plate.shape and list(plate.shape),
        "dtype": index.header.dtype if index.header else None,
        "gaps": len(index.gaps),
    }


def _intensities(index: PlateIndex, count: int, seed: int) -> dict[int, list[float]]:
    """Measure the percentiles of each channel on sampled sites; incomplete sites serve with what they have."""
    if is_mirrored(index.folder.root):
        count = min(count, REMOTE_SITES)
    places = sorted(index.sites)
    order = permutation(fold(seed, "intensity", index.name), len(places))[:count]
    result = {}
    for number in index.numbers:
        planes = [index.sites[places[i]].get(number) for i in sorted(order)]
        sources = [Source(index.path(plane), plane.plane) for plane in planes if plane is not None]
        histogram = _measure(index, sources, keep=True)
        if histogram is not None and histogram.any():
            result[number] = [round(value, 1) for value in percentiles_of(histogram, PERCENTILES)]
    return result


def _measure(index: PlateIndex, sources: Sequence[Source], keep: bool) -> NDArray[np.int64] | None:
    """Decode planes and add up their levels; a file that can't be decoded becomes a gap."""

    def count(source: Source) -> NDArray[np.int64] | str:
        try:
            return count_levels(source)
        except UserError as error:
            return str(error)

    total: NDArray[np.int64] | None = None
    good = [source for source in sources if source.path not in index.bad]
    if keep:
        fetch_all(path for path, _ in good)
    for (path, _), counts in zip(good, map_in_threads(count, good), strict=True):
        if isinstance(counts, str):
            if path not in index.bad:
                problem = counts.removeprefix(f"Cannot read {path}: ").partition(". Run ")[0]
                index.gaps.append(Gap(path, f"damaged: {problem}"))
            index.bad.add(path)
        elif keep:
            total = counts if total is None else total + counts
    return total


def _add_metadata(reports: list[dict[str, Any]], plates: Sequence[Plate], path: Path | str) -> list[str]:
    from .metadata import load_metadata

    table = load_metadata(path, plates)
    for report, plate in zip(reports, plates, strict=True):
        rows = table[(table["Metadata_Plate"] == plate.name) & table["Metadata_Well"].isin(plate.wells)]
        report["metadata"] = {
            "cell_types": sorted(rows["Metadata_CellType"].dropna().unique()),
            "times": sorted(rows["Metadata_Time"].dropna().unique()) if "Metadata_Time" in rows else [],
            "compounds": sorted(rows["Metadata_Compound"].dropna().unique()),
            "wells_without_compound": int(rows["Metadata_Compound"].isna().sum()),
        }
    notes: list[str] = table.attrs["warnings"]
    return notes
