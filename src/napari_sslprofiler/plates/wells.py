"""What a plate map shows: colours of wells by metadata or by gaps, with a legend. No Qt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_sslprofiler.style import CATEGORIES, GOOD, OTHER, WARNING, sequential
from sslprofiler_core.plates import well_position

if TYPE_CHECKING:
    from pandas import DataFrame

    from napari_sslprofiler.state import Screen
    from sslprofiler_core.plates import Plate

COMPLETENESS = "Complete sites"
_MOST = 19  # categories with a colour of their own
_PREFIX = "Metadata_"


@dataclass(frozen=True)
class Colouring:
    """Colours of wells and how to read them.

    Attributes
    ----------
    colours
        Well -> "#rrggbb".
    tooltips
        Well -> words.
    entries
        Legend of categories: (words, colour), most frequent first; empty for numbers.
    limits
        Legend of numbers: lowest and highest; None for categories.
    """

    colours: dict[str, str]
    tooltips: dict[str, str]
    entries: tuple[tuple[str, str], ...] = ()
    limits: tuple[float, float] | None = None


def columns_to_colour(screen: Screen, plate: Plate) -> list[str]:
    """What a plate can be coloured by: its gaps, then the metadata that differ between its wells."""
    frame = rows_of(screen, plate)
    if frame is None:
        return [COMPLETENESS]
    skip = {"Metadata_Plate", "Metadata_Well"}
    varying = [name for name in frame.columns if name not in skip and frame[name].nunique(dropna=False) > 1]
    first = [name for name in ("Metadata_Compound", "Metadata_CellType") if name in varying]
    return [COMPLETENESS, *first, *(name for name in varying if name not in first)]


def rows_of(screen: Screen, plate: Plate) -> DataFrame | None:
    """The metadata of a plate's wells, None when there is none."""
    frame = screen.metadata
    if frame is None:
        return None
    rows = frame[frame["Metadata_Plate"] == plate.name]
    return rows if len(rows) else None


def colour_wells(screen: Screen, plate: Plate, column: str) -> Colouring:
    """Colour a plate's wells by completeness or by a metadata column (`columns_to_colour`)."""
    counts = Counter(site.well for site in plate.sites)
    broken = broken_wells(plate)
    words = _tooltips(screen, plate, counts, broken)
    frame = rows_of(screen, plate)
    if column == COMPLETENESS or frame is None or column not in frame:
        return _by_completeness(counts, broken, words)
    values = {
        well: "" if value is None or value != value else str(value)
        for well, value in zip(frame["Metadata_Well"], frame[column], strict=True)
        if well in counts
    }
    return _by_values({well: values.get(well, "") for well in counts}, words)


def broken_wells(plate: Plate) -> dict[str, int]:
    """Wells with fewer complete sites than the plate's fullest -> how many they lack."""
    counts = Counter(site.well for site in plate.sites)
    most = max(counts.values(), default=0)
    return {well: most - count for well, count in counts.items() if count < most}


def describe_well(screen: Screen, plate: Plate, well: str) -> list[tuple[str, str]]:
    """What is known about a well: (name, value), the compound first."""
    frame = rows_of(screen, plate)
    if frame is None:
        return []
    rows = frame[frame["Metadata_Well"] == well]
    if not len(rows):
        return []
    known = {name: value for name, value in rows.iloc[0].items() if isinstance(value, str) and value}
    skip = {"Metadata_Plate", "Metadata_Well"}
    first = [name for name in ("Metadata_Compound", "Metadata_CellType") if name in known]
    order = [*first, *(name for name in known if name not in first and name not in skip)]
    return [(str(name).removeprefix(_PREFIX), known[name]) for name in order]


def plate_summary(plate: Plate) -> str:
    """A plate in a line: wells, sites a well, channels, pixel size, layout."""
    counts = Counter(site.well for site in plate.sites)
    each = sorted(set(counts.values()))
    sites = f"{each[0]}" if len(each) == 1 else f"{each[0]} to {each[-1]}" if each else "0"
    parts = [
        _count(len(counts), "well"),
        f"{sites} {'site' if sites == '1' else 'sites'} a well",
        _count(len(plate.channels), "channel"),
    ]
    if plate.shape is not None:
        parts.append(f"{plate.shape[1]} × {plate.shape[0]} px")
    if plate.pixel_size_um is not None:
        parts.append(f"{plate.pixel_size_um:.3g} µm a pixel")
    return " · ".join([*parts, plate.layout])


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _tooltips(screen: Screen, plate: Plate, counts: Mapping[str, int], broken: Mapping[str, int]) -> dict[str, str]:
    compounds: dict[str, str] = {}
    frame = rows_of(screen, plate)
    if frame is not None and "Metadata_Compound" in frame:
        pairs = zip(frame["Metadata_Well"], frame["Metadata_Compound"], strict=True)
        compounds = {well: value for well, value in pairs if isinstance(value, str)}
    words = {}
    for well in {*counts, *broken}:
        sites = _count(counts.get(well, 0), "complete site")
        gaps = f", {broken[well]} fewer than others" if well in broken else ""
        words[well] = f"<b>{well}</b> {compounds.get(well, '')}<br>{sites}{gaps}"
    return words


def _by_completeness(counts: Mapping[str, int], broken: Mapping[str, int], words: dict[str, str]) -> Colouring:
    most = max(counts.values(), default=0)
    states = {
        well: "complete" if counts.get(well, 0) == most and well not in broken else "with gaps"
        for well in {*counts, *broken}
        if counts.get(well, 0)
    }
    colours = {well: GOOD if state == "complete" else WARNING for well, state in states.items()}
    tally = Counter(states.values())
    kinds = (("complete", GOOD, f"all {most} sites" if most > 1 else "complete"), ("with gaps", WARNING, "with gaps"))
    return Colouring(
        colours, words, tuple((f"{text} ({tally[kind]})", colour) for kind, colour, text in kinds if tally[kind])
    )


def _by_values(values: dict[str, str], words: dict[str, str]) -> Colouring:
    numbers = _numbers(values)
    if numbers is not None:
        known = [number for number in numbers.values() if np.isfinite(number)]
        low, high = min(known), max(known)
        wells = list(numbers)
        scaled = (np.array([numbers[well] for well in wells]) - low) / ((high - low) or 1.0)
        hexes = ["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in sequential(scaled).tolist()]
        return Colouring(dict(zip(wells, hexes, strict=True)), words, limits=(low, high))
    tally = Counter(value for value in values.values() if value)
    # Equal counts in the order of the plate, so that colours do not jump.
    ranked = [value for value, _ in tally.most_common()]
    own = {value: CATEGORIES[i % len(CATEGORIES)] for i, value in enumerate(ranked[:_MOST])}
    entries = [(f"{value} ({tally[value]})", colour) for value, colour in own.items()]
    rest = len(ranked) - len(own)
    if rest > 0:
        entries.append((f"{rest} others", OTHER))
    unknown = sum(not value for value in values.values())
    if unknown:
        entries.append((f"not known ({unknown})", "#5c5c66"))
    colours = {well: own.get(value, OTHER) if value else "#5c5c66" for well, value in values.items()}
    return Colouring(colours, words, tuple(entries))


def _numbers(values: Mapping[str, str]) -> dict[str, float] | None:
    """The values as numbers, where all that are known are numbers of at least three kinds."""
    found = {}
    for well, value in values.items():
        try:
            found[well] = float(value) if value else np.nan
        except ValueError:
            return None
    kinds = {number for number in found.values() if np.isfinite(number)}
    return found if len(kinds) >= 3 else None


def in_plate_order(wells: Mapping[str, object] | list[str]) -> list[str]:
    """Wells row by row."""
    return sorted(wells, key=lambda well: well_position(well) or (0, 0))
