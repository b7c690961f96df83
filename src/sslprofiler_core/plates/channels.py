"""Channels: their names and groups, from the instrument or the user, and how some of them are chosen.

Names are never assumed: experiments differ in which channel ``ch1`` is.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from sslprofiler_core.errors import UserError

from .layouts import Record
from .types import Channel, Plate

GROUPS = ("fluorescence", "brightfield")


@dataclass(frozen=True, slots=True)
class ChannelNames:
    """The user's (name, group) by channel number, either of them None when not given; ``source`` is for errors."""

    given: dict[int, tuple[str | None, str | None]]
    source: str

    def refuse_unused(self, numbers: Iterable[int]) -> None:
        """Raise UserError when a given number is no channel of any plate: it is probably mistyped."""
        known = set(numbers)
        unused = sorted(self.given.keys() - known)
        if unused:
            raise UserError(
                f"{self.source} names channel {unused[0]}, which no plate has. "
                f"The plates have {', '.join(map(str, sorted(known)))}."
            )


def read_channel_names(channels: Mapping[int, str] | Path | str | None) -> ChannelNames:
    """Read what the user calls the channels.

    Parameters
    ----------
    channels
        Number -> name; or a TOML file with tables ``[1]`` that have ``name`` and ``group``; or a CSV file with the
        columns number, name, group. A name or a group that is left out stays the instrument's.

    Raises
    ------
    UserError
        For a file that can't be read, a number that is none, or a group that is neither fluorescence nor brightfield.
    """
    if channels is None:
        return ChannelNames({}, "")
    if isinstance(channels, str):
        channels = Path(channels)
    if not isinstance(channels, Path):
        return ChannelNames({number: (name, None) for number, name in channels.items()}, "The channel mapping")
    try:
        text = channels.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read the channels file {channels}: {error}.") from error
    rows = _csv_rows(text) if channels.suffix.lower() in (".csv", ".tsv", ".txt") else _toml_rows(text, channels)
    given: dict[int, tuple[str | None, str | None]] = {}
    for number, name, group in rows:
        if not number.strip().isdecimal():
            raise UserError(f"{channels}: {number!r} is not a channel number. {_FORM}")
        if group and group.strip().lower() not in GROUPS:
            raise UserError(f"{channels}: the group of channel {number} is {group!r}. Use {' or '.join(GROUPS)}.")
        if int(number) in given:
            raise UserError(f"{channels} names channel {int(number)} twice. Keep one of them.")
        given[int(number)] = (name.strip() or None, group.strip().lower() or None)
    if not given:
        raise UserError(f"{channels} names no channels. {_FORM}")
    return ChannelNames(given, str(channels))


_FORM = 'Write [1] name = "Mito" group = "fluorescence" (TOML), or a CSV with the columns number,name,group.'


def _toml_rows(text: str, path: Path) -> list[tuple[str, str, str]]:
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}. {_FORM}") from error
    rows = []
    for number, entry in tree.items():
        if not isinstance(entry, dict) or not entry.keys() <= {"name", "group"}:
            raise UserError(f"{path}: {number} is not a table with name and group. {_FORM}")
        rows.append((number, str(entry.get("name", "")), str(entry.get("group", ""))))
    return rows


def _csv_rows(text: str) -> list[tuple[str, str, str]]:
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    lines = [line for line in csv.reader(text.splitlines(), delimiter=delimiter) if any(line)]
    if lines and lines[0][0].strip().lower() == "number":
        lines = lines[1:]
    rows = []
    for line in lines:
        number, name, group = [*line, "", ""][:3]
        rows.append((number, name, group))
    return rows


def name_channels(numbers: Sequence[int], records: Mapping[int, Record], names: ChannelNames) -> tuple[Channel, ...]:
    """Name a plate's channels: the user's name, else the instrument's, else "ch1".

    Groups alike, else as the name suggests (see ``group_of_name``).

    Channels that share a name get their focus height: "Brightfield +5 um"; those that share that too, their number.
    """
    chosen: dict[int, tuple[str, str]] = {}
    for number in numbers:
        record = records.get(number)
        name, group = names.given.get(number, (None, None))
        name = name or (record.name if record else f"ch{number}")
        group = group or (record.group if record else "unknown")
        chosen[number] = (name, group_of_name(name) if group == "unknown" else group)
    shared = Counter(name for name, _ in chosen.values())
    for number, (name, group) in chosen.items():
        record = records.get(number)
        if shared[name] > 1 and record and record.height_um is not None:
            chosen[number] = (f"{name} {round(record.height_um, 3):+g} um", group)
    shared = Counter(name for name, _ in chosen.values())
    return tuple(
        Channel(f"{name} (ch{number})" if shared[name] > 1 else name, group, number)
        for number, (name, group) in chosen.items()
    )


_BRIGHTFIELD = re.compile(r"bright ?field|\bbf(?!p)|\bphase|\bdic\b|transmi|trans ?light|\btl\b", re.IGNORECASE)
_FLUORESCENCE = re.compile(
    r"\b(dna|rna|er|agp|mito\w*|golgi|actin|nucle\w*|tubulin|lyso\w*|dapi|hoechst|fitc|tritc|texas ?red|cy ?[2357]|gfp|"
    r"[bcry]fp|mcherry|tdtomato|alexa\w*|atto\w*|syto\w*|phalloidin|wga|con ?a|concanavalin|bodipy|"
    r"(?:ex|em)? ?[3-7]\d\d(?: ?nm| long)?)\b",
    re.IGNORECASE,
)


def group_of_name(name: str) -> str:
    """Tell a channel's group by its name, for stains and filters that are common: "unknown" for all others.

    Used where neither the files nor the user say it. Our choice: a LoadData table names channels "DNA" and
    "Brightfield" and nothing more, and nobody should have to write a file to say what these are.
    """
    words = name.replace("_", " ").replace("-", " ")
    if _BRIGHTFIELD.search(words):
        return "brightfield"
    return "fluorescence" if _FLUORESCENCE.search(words) else "unknown"


def select_channels(plate: Plate, group: str | Sequence[str]) -> tuple[int, ...]:
    """Choose channels of a plate.

    Parameters
    ----------
    group
        "fluorescence", "brightfield" (in the plate's order), "all", or names: a list, or joined by commas
        ("Mito,DNA"), kept in the order given. A name may be written in any case, or as the layout's number ("ch5").
        CPJUMP1 has a channel "Brightfield": as a single word this is the group, in a list the channel.

    Returns
    -------
    Indices into ``plate.channels``.

    Raises
    ------
    UserError
        For a name that the plate does not have or that is given twice, a group without channels, and a group when
        the groups of the plate's channels are not known.
    """
    names = [part.strip() for part in group.split(",")] if isinstance(group, str) else list(group)
    word = group.strip().lower() if isinstance(group, str) else ""
    if word == "all":
        return tuple(range(len(plate.channels)))
    if word in GROUPS:
        return _group_channels(plate, word)
    indices: list[int] = []
    for name in names:
        index = _find(plate, name)
        if index in indices:
            raise UserError(f"Channel {name!r} is given twice. Name each channel once.")
        indices.append(index)
    return tuple(indices)


def _group_channels(plate: Plate, group: str) -> tuple[int, ...]:
    unknown = [channel.name for channel in plate.channels if channel.group not in GROUPS]
    if unknown:
        raise UserError(
            f"Plate {plate.name} does not say which channels are {group} ({', '.join(unknown)}). "
            "Give names and groups with --channels-file, or name the channels."
        )
    indices = tuple(i for i, channel in enumerate(plate.channels) if channel.group == group)
    if not indices:
        raise UserError(f"Plate {plate.name} has no {group} channel. It has {describe_channels(plate)}.")
    return indices


def _find(plate: Plate, name: str) -> int:
    for i, channel in enumerate(plate.channels):
        if channel.name == name:
            return i
    lower = name.lower()
    matches = [i for i, c in enumerate(plate.channels) if lower in (c.name.lower(), f"ch{c.number}")]
    if len(matches) != 1:
        raise UserError(
            f"Plate {plate.name} has no channel {name!r}. It has {describe_channels(plate)}; "
            "groups are fluorescence, brightfield and all."
        )
    return matches[0]


def describe_channels(plate: Plate) -> str:
    """List a plate's channel names for a message."""
    return ", ".join(channel.name for channel in plate.channels)


def require_same_channels(plates: Sequence[Plate]) -> tuple[Channel, ...]:
    """Check that all plates have the same channels, by name and group in order, and return them.

    Raises
    ------
    UserError
        With both lists side by side, for the first plate that differs from the first plate.
    """
    if not plates:
        raise UserError("No plates given. Give one or more folders with images.")
    first = plates[0]
    for plate in plates[1:]:
        if _signature(plate) != _signature(first):
            raise UserError(_different_channels(first, plate))
    return first.channels


def _signature(plate: Plate) -> list[tuple[str, str]]:
    return [(channel.name, channel.group) for channel in plate.channels]


def side_by_side(left: Sequence[str], right: Sequence[str]) -> str:
    """Two lists as the lines of a table, each under its first entry; what one lacks is "-"."""
    width = max(map(len, left))
    return "\n".join(f"  {a:<{width}}  {b}" for a, b in zip_longest(left, right, fillvalue="-"))


def _different_channels(one: Plate, other: Plate) -> str:
    def line(channel: Channel) -> str:
        return f"ch{channel.number} {channel.name} ({channel.group})"

    table = side_by_side([one.name, *map(line, one.channels)], [other.name, *map(line, other.channels)])
    return (
        f"Plates {one.name} and {other.name} have different channels. Use them apart, or name them alike with "
        f"--channels-file:\n{table}"
    )
