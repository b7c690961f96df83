"""What colour each row has, and the legend that says so. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .columns import Column
from .palette import CATEGORIES, MATCH, MISSING, OTHER, PLAIN, STEPS, hex_of, ramp, rgb

ColourKind = Literal["none", "categorical", "numeric", "search"]


@dataclass(frozen=True)
class LegendEntry:
    """One line of a legend.

    ``names`` are the categories it stands for (several for "other"; None stands for rows without a value), ``code`` its
    place in the palette.
    """

    text: str
    names: tuple[str | None, ...]
    code: int
    colour: str
    count: int
    hidden: bool = False


@dataclass(frozen=True, eq=False)
class Colouring:
    """Colours of N rows.

    Parameters
    ----------
    column
        What is coloured by; "" for one colour.
    kind
        Categories, numbers, or what a search finds.
    codes
        (N,) uint16 into ``palette``.
    palette
        (P, 3) uint8.
    entries
        The legend, most frequent first, then "other" and "no value". Of numbers: at most the line "no value".
    low, high
        Of numbers: the values of the first and the last colour, the 0.5 and 99.5 percentiles.
    """

    column: str
    kind: ColourKind
    codes: NDArray[np.uint16]
    palette: NDArray[np.uint8]
    entries: tuple[LegendEntry, ...] = ()
    low: float = 0.0
    high: float = 1.0

    def colours(self, rows: NDArray[np.integer] | slice = slice(None)) -> NDArray[np.uint8]:
        """Colours of some rows, (n, 3) uint8."""
        return self.palette[self.codes[rows]]

    def colour(self, row: int) -> str:
        """One row's colour as ``"#rrggbb"``."""
        return hex_of(self.palette[self.codes[row]])

    @cached_property
    def hidden_codes(self) -> frozenset[int]:
        """Codes of hidden lines of the legend."""
        return frozenset(entry.code for entry in self.entries if entry.hidden)


def colour_plain(rows: int) -> Colouring:
    """All rows in one colour."""
    return Colouring("", "none", np.zeros(rows, np.uint16), np.array([rgb(PLAIN)], np.uint8))


def colour_matches(matches: NDArray[np.bool_], text: str) -> Colouring:
    """Rows that a search finds, and the others."""
    palette = np.array([rgb(OTHER), rgb(MATCH)], np.uint8)
    found = int(matches.sum())
    entries = (
        LegendEntry(f"“{text}”", (), 1, MATCH, found),
        LegendEntry("others", (), 0, OTHER, len(matches) - found),
    )
    return Colouring("", "search", matches.astype(np.uint16), palette, entries)


def colour_column(column: Column, hidden: frozenset[str | None] = frozenset()) -> Colouring:
    """Colour by a column: the 20 most frequent categories get colours of their own, the others share one; or a ramp."""
    if column.kind == "numeric":
        return _colour_numbers(column, hidden)
    # By falling frequency; equal ones in natural order.
    order = np.argsort(-column.counts, kind="stable")
    room = len(CATEGORIES) if len(order) <= len(CATEGORIES) else len(CATEGORIES) - 1
    own, rest = order[:room], order[room:]
    other, missing = len(own), len(own) + 1
    table = np.full(len(order) + 1, other, np.uint16)
    table[own] = np.arange(len(own), dtype=np.uint16)
    table[-1] = missing  # code -1
    palette = np.array([*map(rgb, CATEGORIES[: len(own)]), rgb(OTHER), rgb(MISSING)], np.uint8)
    entries = [
        LegendEntry(name, (name,), code, CATEGORIES[code], int(column.counts[at]), name in hidden)
        for code, (name, at) in enumerate((column.names[at], at) for at in own)
    ]
    if rest.size:
        names = tuple(column.names[at] for at in rest)
        count = int(column.counts[rest].sum())
        gone = all(name in hidden for name in names)
        entries.append(LegendEntry(f"{len(names):,} others", names, other, OTHER, count, gone))
    if column.missing:
        entries.append(LegendEntry("no value", (None,), missing, MISSING, column.missing, None in hidden))
    return Colouring(column.name, "categorical", table[column.codes], palette, tuple(entries))


def _colour_numbers(column: Column, hidden: frozenset[str | None]) -> Colouring:
    assert column.values is not None
    values = column.values
    known = values[np.isfinite(values)]
    low, high = (float(x) for x in np.percentile(known, (0.5, 99.5))) if known.size else (0.0, 1.0)
    if not high > low:
        high = low + (abs(low) or 1.0) * 1e-6
    place = np.clip((values - np.float32(low)) / np.float32(high - low), 0.0, 1.0) * (STEPS - 1)
    codes = np.nan_to_num(place, nan=STEPS).astype(np.uint16)
    palette = np.concatenate([ramp(), np.array([rgb(MISSING)], np.uint8)])
    entries: tuple[LegendEntry, ...] = ()
    if column.missing:
        entries = (LegendEntry("no value", (None,), STEPS, MISSING, column.missing, None in hidden),)
    return Colouring(column.name, "numeric", codes, palette, entries, low, high)


def highlighted(
    colouring: Colouring, matches: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Codes and palette to draw with: what a search finds among rows without a colour of their own gets one."""
    grey = [entry.code for entry in colouring.entries if entry.colour in (OTHER, MISSING)]
    if matches is None or colouring.kind != "categorical" or not grey:
        return colouring.codes, colouring.palette
    codes = colouring.codes.copy()
    codes[matches & np.isin(codes, grey)] = len(colouring.palette)
    return codes, np.concatenate([colouring.palette, np.array([rgb(MATCH)], np.uint8)])


def first_column(names: tuple[str, ...], label: str | None, column: Callable[[str], Column]) -> str:
    """What to colour by at first: the label, when its categories have colours of their own; else what best tells rows
    apart with at most 20 colours; "" for nothing.
    """

    def tells(name: str) -> bool:
        own = column(name)
        known = 2 * own.missing <= len(own.codes)
        return own.kind == "categorical" and known and 2 <= len(own.names) <= len(CATEGORIES)

    if label is not None and tells(label):
        return label
    words = ("celltype", "cell_type", "cell_line", "moa", "control_type", "pert_type", "timepoint", "plate")
    plain = {name.removeprefix("Metadata_").casefold(): name for name in names}
    liked = [plain[word] for word in words if word in plain]
    return next((name for name in liked if tells(name)), label or "")
