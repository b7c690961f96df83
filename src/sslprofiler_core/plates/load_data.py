"""CellProfiler's LoadData table: a CSV with a row a site, which says where each channel's image lies.

Columns: ``FileName_Orig<Channel>`` with ``PathName_Orig<Channel>`` or ``URL_Orig<Channel>``; ``Metadata_Plate``,
``Metadata_Well`` and ``Metadata_Site``; positions and pixel size as pe2loaddata copies them from the instrument (in
metres). Channels are numbered in the order of their columns. Illumination functions (``Illum...``) are not images.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TextIO
from urllib.parse import unquote, urlsplit

from sslprofiler_core.errors import UserError

from .described import describe_file
from .layouts import Acquisition, Listing, Plane, PlateFolder, Record, plate_name
from .remote import local
from .remote_cache import is_url, mirrored
from .types import MAX_COLUMNS, MAX_ROWS, well_position

NAMES = ("load_data.csv", "load_data.csv.gz", "load_data_with_illum.csv", "load_data_with_illum.csv.gz")

_KINDS = ("FileName", "PathName", "URL")
_TRIES = 20  # files of a folder that are looked for before the folder is given up
_COLUMN = re.compile(r"(?:Image_)?(FileName|PathName|URL)_(Orig)?(?!Illum)(.+)")
_PLATE, _WELL, _SITE = ("Metadata_Plate",), ("Metadata_Well",), ("Metadata_Site", "Metadata_FieldID", "Metadata_Field")
_ROW, _COL = ("Metadata_Row",), ("Metadata_Col", "Metadata_Column")
# A plate is 0.128 m wide: smaller numbers are metres (pe2loaddata's), larger ones micrometres.
_METRES = 0.2
# Half of the widest well (of 6) is 17,400 um: what lies further out is counted from the stage's origin.
_IN_WELL_UM = 20_000.0

Place = tuple[int, int, int]
Row = Mapping[str, str]


@dataclass(slots=True)
class _Plate:
    planes: list[Plane] = field(default_factory=list)
    strays: list[tuple[str, str]] = field(default_factory=list)
    positions: dict[Place, tuple[float, float]] = field(default_factory=dict)


class LoadData:
    """The layout of a LoadData table: of its folder when it is named ``load_data.csv``, or given itself."""

    name = "load_data"
    example = "load_data.csv"

    def claims(self, listing: Listing) -> bool:
        """See ``Layout``."""
        return any(name in NAMES for name in listing.files)

    def find(self, listing: Listing) -> list[PlateFolder]:
        """The plates of the folder's table; see ``Layout``. Raises UserError as ``read``."""
        names = set(listing.files)
        return next((self.read(listing.folder / name) for name in NAMES if name in names), [])

    def read(self, path: Path) -> list[PlateFolder]:
        """Read a table: a PlateFolder for each plate in it, whose root is the table.

        Raises
        ------
        UserError
            For a table that can't be read, lacks the columns, or none of whose images is where it says.
        """
        rows = _read_rows(path)
        columns = image_columns(list(rows[0]) if rows else [])
        if not columns:
            raise UserError(
                f"{path} names no images. A LoadData table has a row a site, with columns such as FileName_OrigDNA, "
                "PathName_OrigDNA, Metadata_Plate, Metadata_Well, Metadata_Site."
            )
        places = _Places(path)
        plates: dict[str, _Plate] = {}
        for number, row in enumerate(rows, start=2):
            _add_row(plates, path, number, row, columns, places)
        if not any(plate.planes for plate in plates.values()):
            first = next((stray[1] for plate in plates.values() for stray in plate.strays), "all are empty")
            raise UserError(f"No row of {path} names an image of a well ({first}). Correct its Metadata_ columns.")
        if not places.found:
            raise UserError(places.nothing_there())
        records = {number: Record(name, "unknown", None) for number, name in enumerate(columns, start=1)}
        pixel_size = _micrometres(_number(rows[0], ("Metadata_ImageResolutionX",)), 1e-3)
        return [
            PlateFolder(
                name, path, self, plate.planes, plate.strays, records, _from_well_centres(plate.positions), pixel_size
            )
            for name, plate in plates.items()
            if plate.planes
        ]

    def name_of(self, plane: Plane, channel: int) -> str:
        """The table itself: a channel that is missing is an empty cell in it; see ``Layout``."""
        return ""

    def describe(self, path: Path) -> Acquisition | None:
        """What the instrument wrote, less what counts its own channels and fields; see ``Layout``."""
        known = describe_file(path)
        return known and Acquisition(known.record, {}, known.pixel_size_um, {})


LOAD_DATA = LoadData()


def image_columns(header: Sequence[str]) -> dict[str, dict[str, str]]:
    """Find a table's image columns: channel -> {"FileName": column, "PathName": ..., "URL": ...}, in their order."""
    found: dict[bool, dict[str, dict[str, str]]] = {True: {}, False: {}}
    for column in header:
        if match := _COLUMN.fullmatch(column.strip()):
            kind, original, channel = match.groups()
            found[original is not None].setdefault(channel, {})[kind] = column
    channels = found[True] or found[False]
    return {channel: kinds for channel, kinds in channels.items() if kinds.keys() & {"FileName", "URL"}}


def read_header(path: Path) -> list[str]:
    """Read a table's column names; empty when the file is no text. Raises OSError."""
    with _open(path) as file:
        try:
            line = file.readline(1_000_000)
            return next(csv.reader([line], delimiter=_delimiter(line)), [])
        except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile):
            return []


def _open(path: Path) -> TextIO:
    if path.name.endswith(".gz"):
        return io.TextIOWrapper(gzip.open(local(path)), encoding="utf-8-sig", newline="")
    return local(path).open(encoding="utf-8-sig", newline="")


def _delimiter(header: str) -> str:
    """Commas, or what a spreadsheet may write in their place."""
    return max(",;\t", key=header.count)


def _read_rows(path: Path) -> list[Row]:
    try:
        with _open(path) as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            return list(csv.DictReader(file, restkey="", restval="", delimiter=delimiter))
    except UnicodeDecodeError as error:
        raise UserError(f"Cannot read the table {path}: no text in UTF-8. Save it as CSV UTF-8.") from error
    except OSError as error:
        raise UserError(f"Cannot read the table {path}: {error.strerror or error}.") from error
    except (csv.Error, EOFError) as error:
        raise UserError(f"Cannot read the table {path}: {error}. A LoadData table is a CSV file.") from error


def _text(row: Row, names: Sequence[str]) -> str:
    return next((text.strip() for name in names if (text := row.get(name))), "")


def _number(row: Row, names: Sequence[str]) -> float | None:
    try:
        return float(_text(row, names))
    except ValueError:
        return None


def _micrometres(value: float | None, below: float) -> float | None:
    return value if value is None or abs(value) >= below else 1e6 * value


def _place(row: Row) -> Place | str:
    """A row's plate row, column and site, or what is wrong with it."""
    well = _text(row, _WELL)
    position = well_position(well)
    if position is None and _text(row, _ROW).isdecimal() and _text(row, _COL).isdecimal():
        position = int(_text(row, _ROW)), int(_text(row, _COL))
        if not (1 <= position[0] <= MAX_ROWS and 1 <= position[1] <= MAX_COLUMNS):
            return f"row {position[0]} and column {position[1]} are no well (they count from 1)"
    if position is None:
        return f"Metadata_Well is {well!r}, which is no well"
    site = re.search(r"\d+", _text(row, _SITE) or "1")
    return (*position, int(site[0])) if site else f"Metadata_Site is {_text(row, _SITE)!r}, which has no number"


def _add_row(
    plates: dict[str, _Plate],
    path: Path,
    number: int,
    row: Row,
    columns: Mapping[str, Mapping[str, str]],
    places: _Places,
) -> None:
    plate = plates.setdefault(_text(row, _PLATE) or plate_name(path.parent), _Plate())
    place = _place(row)
    if isinstance(place, str):
        plate.strays.append(("", f"row {number}: {place}: not used"))
        return
    for channel, kinds in enumerate(columns.values(), start=1):
        if (file := places.locate(row, kinds)) is None:
            continue
        name, there = file
        plate.planes.append(Plane(*place, channel, (number,), name))
        if not there:
            plate.strays.append((name, f"missing: row {number} of {path.name} names it"))
    x, y = (_number(row, (f"Metadata_Position{axis}",)) for axis in "XY")
    if x is not None and y is not None:
        plate.positions.setdefault(place, (x, y))


class _Places:
    """Finds the images of a table that may have been moved, or written on another machine.

    A folder that is not where the table says is looked for beside the table and up to six folders above it, by the end
    of its path, the longest first. Each folder is listed once: 27,648 images are not asked for one by one.
    """

    def __init__(self, table: Path) -> None:
        self._table = table.absolute()
        self._folders: dict[str, tuple[str, frozenset[str]]] = {}
        self._tries: Counter[str] = Counter()
        self._written: dict[str, str] = {}  # an image that is there -> the folder that the table has for it
        self._first = ""
        self.found = 0

    def locate(self, row: Row, kinds: Mapping[str, str]) -> tuple[str, bool] | None:
        """Where an image is, and whether it is there; None when the row does not name it."""
        file, folder, url = (_text(row, [kinds[kind]] if kind in kinds else ()) for kind in _KINDS)
        if not folder and url:
            if is_url(url):
                self.found += 1  # as far as is known before it is read
                return str(mirrored(url)), True
            parts = urlsplit(url)
            if parts.scheme not in ("", "file"):
                raise UserError(
                    f"{self._table} names images on a server ({url}). Download them, and put the table beside them "
                    "with PathName columns."
                )
            whole = unquote(parts.path) if parts.scheme else url
            folder, _, file = whole.rpartition("/")
        if not file:
            return None
        head, _, last = file.replace("\\", "/").rpartition("/")
        folder = (f"{folder}/{head}" if head else folder).replace("\\", "/").rstrip("/")
        # Of a folder whose first files are missing, others may be there.
        if folder not in self._folders or (not self._folders[folder][1] and self._tries[folder] < _TRIES):
            self._tries[folder] += 1
            self._folders[folder] = self._find(folder, last)
        where, names = self._folders[folder]
        there = last in names
        self.found += there
        if there and self._written.setdefault(f"{where}/{last}", folder) != folder:
            other = self._written[f"{where}/{last}"]
            raise UserError(
                f"{self._table} names {last} in {other} and in {folder}, but only {where} is there. Copy both folders, "
                "or correct the table."
            )
        self._first = self._first or f"{where}/{last}"
        return f"{where}/{last}", there

    def _find(self, folder: str, file: str) -> tuple[str, frozenset[str]]:
        for candidate in self._candidates(folder):
            if (Path(candidate) / file).exists():
                with os.scandir(candidate) as entries:
                    return candidate, frozenset(entry.name for entry in entries)
        return folder or str(self._table.parent), frozenset()

    def _candidates(self, folder: str) -> Iterator[str]:
        base = self._table.parent
        written = folder.replace("\\", "/").rstrip("/")
        yield str(base / written)
        parts = [part for part in written.split("/") if part not in ("", ".")]
        for above in (base, *base.parents[:6]):
            for start in range(len(parts) + (above == base)):
                yield str(above.joinpath(*parts[start:]))

    def nothing_there(self) -> str:
        """Say that none of the images is there."""
        return (
            f"None of the images that {self._table} names is there; the first is {self._first}. "
            "Correct its PathName columns, or put the table in the folder of the images."
        )


def _from_well_centres(positions: Mapping[Place, tuple[float, float]]) -> dict[Place, tuple[float, float]]:
    """Positions in micrometres from the well's centre; those of the stage from the mean of the well's sites."""
    if not positions:
        return {}
    scale = 1e6 if max(abs(value) for point in positions.values() for value in point) < _METRES else 1.0
    found = {place: (scale * x, scale * y) for place, (x, y) in positions.items()}
    if max(abs(value) for point in found.values() for value in point) < _IN_WELL_UM:
        return found
    return centre_in_wells(found)


def centre_in_wells(positions: Mapping[Place, tuple[float, float]]) -> dict[Place, tuple[float, float]]:
    """Take the mean over each well's sites from their positions."""
    wells: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for (row, column, _), point in positions.items():
        wells.setdefault((row, column), []).append(point)
    centres = {well: tuple(fmean(axis) for axis in zip(*points, strict=True)) for well, points in wells.items()}
    return {place: (x - centres[place[:2]][0], y - centres[place[:2]][1]) for place, (x, y) in positions.items()}
