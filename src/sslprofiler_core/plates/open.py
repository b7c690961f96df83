"""Open plates: an index of which files belong to which site, made from file names.

One file a channel is opened, for what the instrument says about it; no other is looked at, so a plate of 27,648 files
is open in about a second. ``check=True`` also reads every file's header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .channels import ChannelNames, name_channels, read_channel_names
from .folders import find_plate_folders
from .headers import Header, HeaderError, read_header, read_headers
from .layouts import Acquisition, Plane, PlateFolder, Record
from .remote import fetch_all, is_waiting, known_object
from .types import Channel, Gap, Plate, Site, Source, well_name

# Unreadable files that are passed over in the search for one that says what a channel is.
_TRIES = 20


@dataclass(slots=True)
class PlateIndex:
    """A plate while it is being opened: its sites, complete or not, and its gaps so far."""

    folder: PlateFolder
    sites: dict[tuple[int, int, int], dict[int, Plane]]
    gaps: list[Gap]
    numbers: tuple[int, ...] = ()
    channels: tuple[Channel, ...] = ()
    acquisition: Acquisition | None = None
    recorded: dict[int, Record] = field(default_factory=dict)
    header: Header | None = None
    bad: set[Path] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The plate's name."""
        return self.folder.name

    def path(self, plane: Plane) -> Path:
        """Where a plane lies."""
        return self.folder.root / plane.name

    def sources(self) -> list[Source]:
        """All planes of the plate's channels, by site and channel."""
        return [
            Source(self.path(planes[number]), planes[number].plane)
            for _, planes in sorted(self.sites.items())
            for number in self.numbers
            if number in planes
        ]

    def good_sources(self) -> list[Source]:
        """Planes of the plate's channels that nothing bad is known of."""
        return [source for source in self.sources() if source.path not in self.bad]

    def plate(self) -> Plate:
        """Give the plate as others see it: complete sites whose files are not known to be bad."""
        shape = (self.header.shape[0], self.header.shape[1]) if self.header else None
        pixel_size = self.folder.pixel_size_um or (self.acquisition.pixel_size_um if self.acquisition else None)
        return Plate(
            self.name,
            self.folder.root,
            self.folder.layout.name,
            self.channels,
            tuple(self._complete_sites()),
            pixel_size,
            shape,
            tuple(self.gaps),
        )

    def _complete_sites(self) -> Iterator[Site]:
        by_number = self.acquisition.positions_um if self.acquisition else {}
        for (row, column, number), planes in sorted(self.sites.items()):
            if any(channel not in planes for channel in self.numbers):
                continue
            own = [planes[channel] for channel in self.numbers]
            files = {name: self.folder.root / name for name in dict.fromkeys(plane.name for plane in own)}
            if not self.bad.isdisjoint(files.values()):
                continue
            yield Site(
                self.name,
                well_name(row, column),
                number,
                tuple(files[plane.name] for plane in own),
                self.folder.positions_um.get((row, column, number), by_number.get(number)),
                planes=tuple(plane.plane for plane in own if plane.plane is not None),
            )


def open_plates(
    paths: Sequence[Path | str],
    *,
    channels: Mapping[int, str] | Path | str | None = None,
    check: bool = False,
    layout: str | None = None,
) -> list[Plate]:
    """Open every plate under some folders.

    Parameters
    ----------
    paths
        Each one a plate's folder, a folder of plates, or a folder of the gallery's
        ``<plate>__<time>-Measurement1/Images``; on disk, or in an object store (``s3://bucket/folder``).
    channels
        Names for channel numbers, over what the instrument says: a mapping, or a TOML or CSV file with names and
        groups (see ``channels.read_channel_names``).
    check
        Also read every file's header: sites with a truncated or odd file become gaps. Without it such a file shows
        when it is read, as does one that would have to be fetched from an object store first.
    layout
        The name of the layout that the files follow ("phenix"), where it is not to be recognised by looking.

    Returns
    -------
    The plates by name. A plate's channels are those that at least half of its sites have, and those that the
    instrument recorded and that most of the other plates have; sites that lack one of them are gaps.

    Raises
    ------
    UserError
        For paths without plates (see ``folders.find_plate_folders``), and for a channels file that can't be used.
    """
    indexes, _ = index_plates(paths, channels, layout)
    if check:
        for index in indexes:
            check_headers(index)
    return [index.plate() for index in indexes]


def index_plates(
    paths: Sequence[Path | str],
    channels: Mapping[int, str] | Path | str | None = None,
    layout: str | None = None,
) -> tuple[list[PlateIndex], list[Gap]]:
    """Do ``open_plates``'s work and keep the incomplete sites: what ``inspect`` reports on.

    Returns
    -------
    An index a plate, and the gaps that belong to no plate.
    """
    names = read_channel_names(channels)
    folders, strangers = find_plate_folders(paths, layout)
    indexes = [_group(folder) for folder in folders]
    common = _majority((index.numbers for index in indexes), len(indexes))
    for index in indexes:
        _describe(index, common, names)
    names.refuse_unused(channel.number for index in indexes for channel in index.channels)
    return indexes, strangers


def check_headers(index: PlateIndex) -> None:
    """Read the header of each of a plate's files; files that can't be used become gaps."""
    # One file a site may hold all its channels: it is looked at once, for the last plane that is asked of it.
    sources = list({source.path: source for source in sorted(index.sources(), key=_last_plane)}.values())
    sources = [source for source in sources if source.path not in index.bad]
    sources = _leave_waiting(index, sources)
    headers = read_headers(sources)
    usual = Counter(header for header in headers if isinstance(header, Header)).most_common(1)
    if usual:
        index.header = usual[0][0]
    for (path, _), header in zip(sources, headers, strict=True):
        if isinstance(header, str):
            problem = header
        elif header != index.header:
            problem = f"{header}; the plate's other files are {index.header}"
        else:
            continue
        index.gaps.append(Gap(path, problem))
        index.bad.add(path)


def _leave_waiting(index: PlateIndex, sources: Sequence[Source]) -> list[Source]:
    """Leave out what would have to be fetched from an object store: of that, only what is empty is known."""
    here = []
    for source in sources:
        if not is_waiting(source.path):
            here.append(source)
        elif (known := known_object(source.path)) and not known.size:
            index.gaps.append(Gap(source.path, "empty file"))
            index.bad.add(source.path)
    return here


def _last_plane(source: Source) -> int:
    return source.plane or 0


def _majority(sets: Iterable[Iterable[int]], count: int) -> set[int]:
    """Numbers that at least half of the sets have."""
    votes = Counter(number for numbers in sets for number in numbers)
    return {number for number, n in votes.items() if 2 * n >= count}


def _group(folder: PlateFolder) -> PlateIndex:
    sites: dict[tuple[int, int, int], dict[int, Plane]] = {}
    gaps = [Gap(folder.root / name, problem) for name, problem in folder.strays]
    for plane in sorted(folder.planes, key=lambda plane: (plane.order, plane.name)):
        first = sites.setdefault((plane.row, plane.column, plane.site), {}).setdefault(plane.channel, plane)
        if first is not plane:
            problem = f"duplicate: the same well, site and channel as {first.name}, which is used"
            gaps.append(Gap(folder.root / plane.name, problem))
    _keep_together(sites)
    index = PlateIndex(folder, sites, gaps, bad={folder.root / name for name, _ in folder.strays})
    index.numbers = tuple(sorted(_majority(sites.values(), len(sites))))
    return index


def _keep_together(sites: Mapping[tuple[int, int, int], dict[int, Plane]]) -> None:
    """Leave out planes of another depth or time than the site's others: the one that is used elsewhere is missing.

    Where a channel has no usual one, as in a table whose rows are numbered, nothing is known of it.
    """
    orders: dict[int, Counter[tuple[int, ...]]] = {}
    for planes in sites.values():
        for number, plane in planes.items():
            orders.setdefault(number, Counter())[plane.order] += 1
    usual = {}
    for number, counts in orders.items():
        order, count = counts.most_common(1)[0]
        if 2 * count > counts.total():
            usual[number] = order
    for planes in sites.values():
        odd = [number for number, plane in planes.items() if number in usual and plane.order != usual[number]]
        if len(odd) < len(planes):
            for number in odd:
                del planes[number]


def _describe(index: PlateIndex, common: set[int], names: ChannelNames) -> None:
    """Settle a plate's channels: which numbers, and what the instrument and the user call them."""
    by_channel: dict[int, list[Plane]] = {}
    for _, planes in sorted(index.sites.items()):
        for number, plane in planes.items():
            by_channel.setdefault(number, []).append(plane)
    fetch_all(index.path(by_channel[number][0]) for number in index.numbers)
    records: dict[int, Record] = {}
    numbered_alike = True
    for number in index.numbers:
        acquisition = _acquisition(index, by_channel[number])
        index.acquisition = index.acquisition or acquisition
        own = index.folder.records.get(number)
        if own is not None:
            if own.group == "unknown" and acquisition and acquisition.record:
                own = replace(own, group=acquisition.record.group)
            records[number] = own
        elif acquisition and acquisition.record:
            records[number] = acquisition.record
            numbered_alike &= acquisition.recorded.get(number) is acquisition.record
    if index.acquisition and numbered_alike:
        # What is said of a channel that no file has counts only where files carry the instrument's own numbers.
        index.recorded = index.acquisition.recorded
    index.numbers = tuple(sorted({*index.numbers, *(common & index.recorded.keys())}))
    _note_missing(index, by_channel)
    index.channels = name_channels(index.numbers, index.recorded | records, names)


def _acquisition(index: PlateIndex, planes: Sequence[Plane]) -> Acquisition | None:
    """What the first readable file says; the plate's shape on the way."""
    for plane in planes[:_TRIES]:
        path = index.path(plane)
        try:
            index.header = index.header or read_header(path, plane.plane)
            return index.folder.layout.describe(path)
        except HeaderError:
            continue
    return None


def _note_missing(index: PlateIndex, by_channel: Mapping[int, Sequence[Plane]]) -> None:
    layout = index.folder.layout
    for _, planes in sorted(index.sites.items()):
        sibling = planes[min(planes)]
        for number in index.numbers:
            if number not in planes:
                path = index.folder.root / layout.name_of(sibling, number)
                site = f"{well_name(sibling.row, sibling.column)} site {sibling.site}"
                problem = f"missing: {site} has {len(planes)} of its {len(index.numbers)} channels"
                index.gaps.append(Gap(path, problem))
    for number in sorted(by_channel.keys() - set(index.numbers)):
        for plane in by_channel[number]:
            index.gaps.append(
                Gap(index.path(plane), f"channel {number} is in fewer than half of the plate's sites: not used")
            )
    for number in sorted(index.recorded.keys() - set(index.numbers) - by_channel.keys()):
        first = index.sites[min(index.sites)]
        path = index.folder.root / layout.name_of(first[min(first)], number)
        problem = (
            f"missing, as on all sites: the instrument recorded a channel {number} ({index.recorded[number].name})"
        )
        index.gaps.append(Gap(path, problem))
