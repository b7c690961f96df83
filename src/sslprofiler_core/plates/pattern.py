"""Files named by a pattern that the user gives: ``images/{plate}/{well}_{site}_{channel}.tif``.

A pattern is given as a path, in place of a plate's folder, so that every command and the plugin take it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sslprofiler_core.errors import UserError

from .described import describe_file
from .image_xpress import positions_of
from .layouts import Acquisition, Plane, PlateFolder, Record
from .multichannel import planes_of_first
from .types import MAX_COLUMNS, MAX_ROWS, well_position

FIELDS = {
    "plate": r"[^/]+?",
    "well": r"[A-Za-z]{1,2}\d{1,2}",
    "row": r"[A-Za-z]{1,2}|\d{1,2}",
    "column": r"\d{1,2}",
    "site": r"\d+",
    "channel": r"[^/]+?",
    "z": r"\d+",
    "time": r"\d+",
    "any": r"[^/]*?",
}
# A field, one that must have a certain value ("{plate=P1}", which is how a plate's root is written), or a star.
_TOKEN = re.compile(r"\{(\w*)(?:=([^{}]*))?\}|(\*)")
HELP = "Use {plate}, {well} (or {row} and {column}), {site}, {channel}, {z}, {time}, and * or {any} for the rest."


def is_pattern(path: Path) -> bool:
    """Whether a path is a pattern, and no file or folder that is there."""
    return bool(re.search(r"\{\w*(=[^{}]*)?\}", str(path))) and not path.exists()


@dataclass(frozen=True, slots=True)
class Pattern:
    """The layout of one pattern; ``labels`` are what its channels are called in file names."""

    pattern: str
    regex: re.Pattern[str]
    labels: Mapping[int, str] = field(default_factory=dict)
    name: str = "pattern"

    @property
    def example(self) -> str:
        """The pattern itself."""
        return self.pattern

    def claims(self, listing: object) -> bool:
        """Never: a pattern is given, not recognised; see ``Layout``."""
        return False

    def find(self, listing: object) -> list[PlateFolder]:
        """Nothing: see ``find_by_pattern``."""
        return []

    def name_of(self, plane: Plane, channel: int) -> str:
        """Name the file of another channel; see ``Layout``."""
        match = self.regex.fullmatch(plane.name)
        if match is None or "channel" not in self.regex.groupindex:
            return plane.name
        return plane.name[: match.start("channel")] + self.labels[channel] + plane.name[match.end("channel") :]

    def describe(self, path: Path) -> Acquisition | None:
        """What the file says, less an instrument's own numbers where the pattern has others; see ``Layout``."""
        known = describe_file(path)
        if known is None or "channel" not in self.regex.groupindex:
            return known
        return Acquisition(known.record, {}, known.pixel_size_um, {})


def find_by_pattern(path: Path) -> list[PlateFolder]:
    """Find the plates whose files a pattern describes.

    Channels are numbered by their label where all labels are numbers, else by the order of their labels.

    Raises
    ------
    UserError
        For a pattern without a well, with a field that there is not, or that no file with a well matches.
    """
    text = os.path.abspath(path).replace("\\", "/")  # noqa: PTH100  # resolve() would follow links that are meant
    layout = Pattern(str(path), _regex(text, str(path)))
    matches: dict[str, list[re.Match[str]]] = {}
    for file in _walk(text):
        if match := layout.regex.fullmatch(file):
            plate = match["plate"] if "plate" in layout.regex.groupindex else ""
            matches.setdefault(plate or Path(_base(text)).name, []).append(match)
    if not matches:
        raise UserError(f"No file is named like {path}. Check the pattern, with quotes around it. {HELP}")
    numbers: dict[str, int] = {}
    if "channel" in layout.regex.groupindex:
        # Over all plates: a label has one number, also on a plate that lacks another.
        numbers = _number_channels({match["channel"] for found in matches.values() for match in found})
    plates = [_plate(layout, text, name, found, numbers) for name, found in matches.items()]
    if not any(plate.planes for plate in plates):
        first = next(iter(matches.values()))[0][0]
        raise UserError(f"No file that is named like {path} names a well of a plate (the first: {first}). {HELP}")
    return [plate for plate in plates if plate.planes]


def _regex(text: str, given: str) -> re.Pattern[str]:
    parts, at, seen = [], 0, set()
    for token in _TOKEN.finditer(text):
        parts.append(re.escape(text[at : token.start()]))
        at = token.end()
        name = "any" if token[3] else token[1]
        if name not in FIELDS:
            raise UserError(f"The pattern {given} has a field {{{name}}}. {HELP}")
        if name == "any":
            parts.append(FIELDS[name])
        else:
            form = FIELDS[name] if token[2] is None else re.escape(token[2])
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{form})")
        seen.add(name)
    if "well" not in seen and not {"row", "column"} <= seen:
        raise UserError(f"The pattern {given} says not where the well is. {HELP}")
    return re.compile("".join([*parts, re.escape(text[at:])]))


def _base(text: str) -> str:
    """The folder that a pattern starts from."""
    first = _TOKEN.search(text)
    return text[: first.start() if first else None].rpartition("/")[0] or "/"


def _walk(text: str) -> Iterator[str]:
    """Files as deep below the pattern's folder as the pattern is, folders that can't match left out."""
    base = _base(text)
    parts = text[len(base) :].strip("/").split("/")
    loose = [_loose(part) for part in parts]

    def down(folder: str, depth: int) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if loose[depth].fullmatch(entry.name))
        except OSError:
            return
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            if depth + 1 == len(parts):
                yield path
            else:
                yield from down(path, depth + 1)

    return down(base, 0)


def _loose(part: str) -> re.Pattern[str]:
    """What a part of the path has to look like, whatever its fields hold: the whole pattern is matched after it.

    Hidden names are left out where the pattern does not say the dot: macOS puts a "._A01.tif" beside each file.
    """
    shown = "" if part.startswith(".") else r"(?!\.)"
    return re.compile(shown + ".*".join(re.escape(literal) for literal in re.split(r"\{[^{}]*\}|\*", part)))


def _plate(
    layout: Pattern, text: str, name: str, found: list[re.Match[str]], numbers: Mapping[str, int]
) -> PlateFolder:
    fields = layout.regex.groupindex
    strays, places = [], []
    for match in found:
        position = _well(match)
        if position is None:
            strays.append((match[0], "it names no well of a plate: not used"))
            continue
        order = tuple(int(match[axis]) for axis in ("time", "z") if axis in fields)
        places.append((match, (*position, int(match["site"]) if "site" in fields else 1), order))
    planes = [Plane(*place, numbers[match["channel"]], order, match[0]) for match, place, order in places if numbers]
    records = {}
    if not numbers:
        channels = planes_of_first(Path(match[0]) for match, _, _ in places)
        several: list[int | None] = [None] if channels is None else list(channels)
        planes = [
            Plane(*place, channel, order, match[0], number)
            for match, place, order in places
            for channel, number in enumerate(several, start=1)
        ]
    elif not all(label.isdecimal() for label in numbers):
        records = {number: Record(label, "unknown", None) for label, number in numbers.items()}
    root = Path(text.replace("{plate}", f"{{plate={name}}}"))
    own = Pattern(layout.pattern, layout.regex, {number: label for label, number in numbers.items()})
    return PlateFolder(name, root, own, planes, strays, records, positions_of(root, planes))


def _number_channels(labels: set[str]) -> dict[str, int]:
    if all(label.isdecimal() for label in labels) and len({int(label) for label in labels}) == len(labels):
        return {label: int(label) for label in sorted(labels, key=int)}
    return {label: k for k, label in enumerate(sorted(labels, key=_natural), start=1)}


def _natural(label: str) -> list[tuple[int, str]]:
    """Sort "w2" before "w10"."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", label)]


def _well(match: re.Match[str]) -> tuple[int, int] | None:
    fields = match.re.groupindex
    if "well" in fields:
        return well_position(match["well"])
    row, column = match["row"], int(match["column"])
    if row.isdecimal():
        return (int(row), column) if 1 <= int(row) <= MAX_ROWS and 1 <= column <= MAX_COLUMNS else None
    return well_position(f"{row}{column}")
