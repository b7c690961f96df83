"""Bring chosen wells of CPJUMP1 from the public Cell Painting Gallery: ``sslprofiler download cpjump1``.

Source: cpg0000-jump-pilot (Chandrasekaran et al. 2024), CC0. The bucket is read without an account, and listed, so that
nothing but the plates' names has to be known.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from sslprofiler_core.errors import UserError
from sslprofiler_core.progress import progress_bar

from .phenix import PHENIX
from .remote import store_at
from .remote_cache import remove_abandoned
from .remote_store import RemoteObject, Store, is_same
from .types import well_name, well_position

BUCKET = "cellpainting-gallery"
BATCH = "2020_11_04_CPJUMP1"
SOURCE = f"{BUCKET}/cpg0000-jump-pilot/source_4"
IMAGES = f"{SOURCE}/images/{BATCH}/images"
METADATA = f"{SOURCE}/workspace/metadata"

_TOGETHER = 16
# Up to so many wells are listed one by one; more, by listing the plate's 27,648 files, 1,000 an answer.
_LISTED_ALONE = 24
_TABLES = (".csv", ".tsv", ".txt")

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a download: its object, and where it goes."""

    address: str
    object: RemoteObject
    path: Path

    def is_there(self) -> bool:
        """Whether the file is there, and the object's: by size and time, else by size and MD5."""
        return is_same(self.path, self.object)


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """What a download brings.

    Parameters
    ----------
    out
        The folder that gets ``images/`` and ``metadata/``.
    files, missing
        All files, and those that are not there yet.
    sites
        How many sites (with their channels) the images are of.
    notes
        What was asked for and is not in the bucket, in words.
    """

    out: Path
    files: tuple[RemoteFile, ...]
    missing: tuple[RemoteFile, ...]
    sites: int
    notes: tuple[str, ...]

    @property
    def missing_bytes(self) -> int:
        """Bytes to come."""
        return sum(file.object.size for file in self.missing)

    def describe(self) -> str:
        """Say in a line what comes."""
        there = len(self.files) - len(self.missing)
        beside = f" ({there:,} are there)" if there else ""
        return (
            f"{_count(self.sites, 'site')}, {_count(len(self.files), 'file')}{beside}: "
            f"{self.missing_bytes / 1e6:,.1f} MB to come into {self.out}."
        )


def plan_cpjump1(
    out: Path | str,
    *,
    plates: Sequence[str],
    wells: Sequence[str] = (),
    sites: Sequence[int] = (),
    metadata: bool = True,
    endpoint: str | None = None,
) -> DownloadPlan:
    """Look up what a download of CPJUMP1 would bring: lists the bucket, fetches no image.

    Parameters
    ----------
    out
        The folder to download into.
    plates
        Names such as "BR00117012".
    wells, sites
        Names ("D08") and field numbers; empty takes all.
    metadata
        Also bring the plate maps and tables of compounds, where the bucket has them.
    endpoint
        The address of another store with the same bucket; None is AWS.

    Raises
    ------
    UserError
        For plates or wells that are not there, and when the bucket can't be read.
    """
    out = Path(out)
    store = store_at(endpoint)
    places = {_position(well) for well in wells}
    folders = store.list_folder(IMAGES).folders
    files: list[RemoteFile] = []
    found: set[tuple[str, int, int, int]] = set()
    notes: list[str] = []
    for plate in dict.fromkeys(plates):
        folder = f"{IMAGES}/{_folder_of(plate, folders)}/Images"
        had: set[tuple[int, int]] = set()
        for name, thing in _images(store, folder, places):
            (plane,), _ = PHENIX.index([name])
            place = (plane.row, plane.column)
            if (places and place not in places) or (sites and plane.site not in sites):
                continue
            had.add(place)
            found.add((plate, *place, plane.site))
            files.append(RemoteFile(f"{folder}/{name}", thing, out / "images" / plate / name))
        if not had:
            raise UserError(f"Plate {plate} has none of these wells and sites. Leave --wells or --sites out for all.")
        if lacking := sorted(well_name(*place) for place in places - had):
            notes.append(f"Plate {plate} has no images of {', '.join(lacking)}.")
    if metadata:
        tables, note = _tables(store, out / "metadata")
        files += tables
        notes += note
    missing = tuple(file for file in files if not file.is_there())
    return DownloadPlan(out, tuple(files), missing, len(found), tuple(notes))


def run_download(
    plan: DownloadPlan, *, endpoint: str | None = None, report: Report | None = None, progress: bool = False
) -> Path:
    """Fetch what is missing of a plan; called again after an interruption, it goes on with what is missing then.

    Parameters
    ----------
    report
        Called with (files there, files in all); may raise to stop.
    progress
        Show a progress bar.

    Returns
    -------
    The folder ``images``.

    Raises
    ------
    UserError
        When there is no room for it, and as ``Store.fetch``.
    """
    _refuse_without_room(plan)
    for folder in {file.path.parent for file in plan.files}:
        remove_abandoned(folder)
    store = store_at(endpoint)
    total = len(plan.files)
    done = total - len(plan.missing)
    bar_or_none = progress_bar(total, "download", "file", done) if progress else nullcontext()
    with bar_or_none as bar, ThreadPoolExecutor(_TOGETHER, thread_name_prefix="download") as pool:
        if report is not None:
            report(done, total)
        fetches = [pool.submit(store.fetch, file.address, file.path, file.object) for file in plan.missing]
        try:
            for fetch in fetches:
                fetch.result()
                done += 1
                if bar is not None:
                    bar.update(1)
                if report is not None:
                    report(done, total)
        except BaseException:
            for fetch in fetches:
                fetch.cancel()
            raise
    return plan.out / "images"


def _position(well: str) -> tuple[int, int]:
    place = well_position(well)
    if place is None:
        raise UserError(f"{well!r} is no well. Give names such as D08, or rectangles such as A01-D06.")
    return place


def _folder_of(plate: str, folders: Sequence[str]) -> str:
    """The plate's newest measurement."""
    of_plate = sorted(name for name in folders if name.partition("__")[0] == plate)
    if not of_plate:
        known = sorted({name.partition("__")[0] for name in folders})
        some = ", ".join(known[:4]) + (f" and {len(known) - 4} more" if len(known) > 4 else "")
        raise UserError(f"CPJUMP1 has no plate {plate}. It has {some or 'none any more'}.")
    return of_plate[-1]


def _images(store: Store, folder: str, places: set[tuple[int, int]]) -> Iterator[tuple[str, RemoteObject]]:
    starts = [f"r{row:02}c{column:02}f" for row, column in sorted(places)]
    for start in starts if len(starts) <= _LISTED_ALONE else ():
        yield from sorted(store.list_folder(folder, start).objects.items())
    if not 0 < len(starts) <= _LISTED_ALONE:
        names = store.list_folder(folder).objects
        planes, _ = PHENIX.index(sorted(names))
        yield from ((plane.name, names[plane.name]) for plane in planes)


def _tables(store: Store, out: Path) -> tuple[list[RemoteFile], list[str]]:
    """The batch's plate maps, and the tables of compounds, all beside each other."""
    found: dict[str, RemoteFile] = {}
    for folder in (f"platemaps/{BATCH}", f"platemaps/{BATCH}/platemap", "external_metadata"):
        try:
            objects = store.list_folder(f"{METADATA}/{folder}").objects
        except FileNotFoundError:
            continue
        for name, thing in objects.items():
            if name.endswith(_TABLES):
                found.setdefault(name, RemoteFile(f"{METADATA}/{folder}/{name}", thing, out / name))
    if found:
        return list(found.values()), []
    return [], [f"The bucket has no plate maps under s3://{METADATA} any more: the images come alone."]


def _refuse_without_room(plan: DownloadPlan) -> None:
    folder = plan.out.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if plan.missing_bytes > free:
        raise UserError(
            f"{plan.out} has room for {free / 1e9:.1f} GB, and {plan.missing_bytes / 1e9:.1f} GB are to come. "
            "Make room, or take fewer wells."
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
