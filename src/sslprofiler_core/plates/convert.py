"""Convert plates of any layout to a plate store: ``sslprofiler convert``.

A plate is written under a hidden name and gets its own when it is whole; a site likewise, after it was read back and
compared with its source. So whatever is found under its own name is whole, and a conversion that was stopped, however
it was, goes on with the sites that are missing.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import local

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.progress import progress_bar

from .headers import HeaderError
from .intensity import measure_scale
from .ome_zarr import OWN
from .open import open_plates
from .reading import read_site
from .shards import ShardError, shard_holds
from .store import (
    FORMAT,
    field_path,
    plate_attributes,
    site_attributes,
    source_digest,
    well_attributes,
    well_path,
    write_group,
    write_json,
    write_site,
)
from .thumbnails import THUMBNAIL
from .types import Gap, Plate, Site, well_position
from .zarr_metadata import read_array_header, read_attributes, read_json

# Sites whose percentiles give other programs a contrast to start with.
_CONTRAST_SITES = 2
_CLAIM = "claim.json"
_UNFINISHED = ".writing-"
_LOCAL = local()


@dataclass(frozen=True, slots=True)
class Converted:
    """A plate in a store: where it is, how many sites it has, and what of the source is not in it."""

    path: Path
    sites: int
    left_out: tuple[Gap, ...]
    already_there: bool


def convert_plates(
    paths: Sequence[Path | str],
    out: Path | str,
    *,
    channels: Mapping[int, str] | Path | str | None = None,
    layout: str | None = None,
    compressed: bool = True,
    threads: int | None = None,
    progress: bool = False,
) -> list[Converted]:
    """Write plates to a store, each site checked against its source.

    Parameters
    ----------
    paths, channels, layout
        As in ``open_plates``.
    out
        The store's folder; plates are added to one that is there. A plate that it has is left as it is.
    compressed
        lz4 with bitshuffle (CPJUMP1: 0.7 of the pixels' size); False stores pixels as they are.
    threads
        How many sites are worked on at once; None takes two more than there are processors.
    progress
        Show a progress bar.

    Returns
    -------
    One entry a plate, in the order of ``open_plates``. Sites that lack a channel, or with a file that can't be read,
    are not in the store: they are in ``left_out``.

    Raises
    ------
    UserError
        As ``open_plates``; for a plate without one good site; for a store that holds another plate of this name, or is
        being written by another process; and for a site that does not read back as it was written.
    """
    store = Path(out)
    opened = open_plates(paths, channels=channels, check=True, layout=layout)
    for plate in opened:
        _refuse_name(plate)
    if not read_attributes(store).get(OWN, {}).get("store"):
        if store.exists() and any(store.iterdir()):
            raise UserError(f"{store} holds other files. Give an empty or new folder, such as STORE.zarr, or a store.")
        write_group(store, {OWN: {"format": FORMAT, "store": True}})
    total = sum(len(plate.sites) for plate in opened)
    # Two more than there are processors: while some wait for the disk, the others decode.
    workers = threads or (os.cpu_count() or 1) + 2
    with progress_bar(total, "convert", "site") if progress else nullcontext() as bar:

        def tick(count: int) -> None:
            if bar is not None:
                bar.update(count)

        return [_convert(plate, store, compressed, workers, tick) for plate in opened]


def _refuse_name(plate: Plate) -> None:
    if plate.name.startswith((".", "__")) or any(mark in plate.name for mark in '/\\:*?"<>|'):
        raise UserError(f"A folder cannot be named {plate.name!r}, as this plate is. Rename the plate's folder.")
    if not plate.sites or plate.shape is None:
        raise UserError(
            f"Plate {plate.name} has no complete site. `sslprofiler inspect {plate.root}` says what is missing."
        )


def _convert(plate: Plate, store: Path, compressed: bool, workers: int, tick: Callable[[int], None]) -> Converted:
    final = store / plate.name
    if final.exists():
        held = _held(plate, final)
        tick(len(plate.sites))
        why = f"came after the plate was converted: delete {final} and convert again"
        later = [
            Gap(site.paths[0], f"{site.well} site {site.site} {why}")
            for site in plate.sites
            if _place(site) not in held
        ]
        return Converted(final, len(held), (*plate.gaps, *later), already_there=True)
    partial = store / f".{plate.name}.partial"
    partial.mkdir(exist_ok=True)
    with _alone(store / f".{plate.name}.lock"):
        _claim(plate, partial, compressed)
        sites, bad = _write_sites(plate, partial, compressed, workers, tick)
        if not sites:
            raise UserError(f"No site of plate {plate.name} could be read. {bad[0].problem}")
        _write_groups(plate, partial, sites)
        (partial / _CLAIM).unlink()
        _sync(partial)
        partial.rename(final)
        _sync(store)
    return Converted(final, len(sites), (*plate.gaps, *bad), already_there=False)


def _held(plate: Plate, final: Path) -> set[tuple[int, int, int]]:
    """The sites that a store has of a plate; refuses one of this name that has other sites or channels."""
    own = read_attributes(final).get(OWN, {})
    held = {(row, column, site) for row, column, site, *_ in own.get("sites", [])}
    names = [channel["name"] for channel in own.get("channels", [])]
    wanted = {_place(site) for site in plate.sites}
    if not held or not held <= wanted or names != [channel.name for channel in plate.channels]:
        raise UserError(
            f"{final} is there already, with other sites or channels. Give another --out, or delete that folder."
        )
    there = [site for site in plate.sites if _place(site) in held]
    # One measurement of a plate and the next have the same name and the same sites: their files tell them apart.
    if not any(_made_from(site, final) for site in (there[0], there[len(there) // 2], there[-1])):
        warnings.warn(
            f"{final} is there already, made from files of other sizes or times than those of {plate.root}: copies, or "
            "another measurement of the plate. If it is another, give another --out.",
            stacklevel=2,
        )
    return held


def _made_from(site: Site, final: Path) -> bool:
    try:
        noted = read_attributes(final / field_path(site)).get(OWN, {}).get("source")
        return noted is None or noted == source_digest(site)
    except OSError:
        return True


def _place(site: Site) -> tuple[int, int, int]:
    row, column = well_position(site.well) or (0, 0)
    return row, column, site.site


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends; where there are no such locks, go without."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{lock.parent} is being written by another process. Wait until it has ended.") from error
        except OSError:  # a file system without locks
            pass
        yield
        lock.unlink(missing_ok=True)


def _claim(plate: Plate, partial: Path, compressed: bool) -> None:
    """Note what is being converted and how, or refuse to go on with something else."""
    claim = {
        "format": FORMAT,
        "plate": plate.name,
        "channels": [[c.number, c.name, c.group] for c in plate.channels],
        "pixel_size_um": plate.pixel_size_um,
        "shape": list(plate.shape or ()),
        "compressed": compressed,
    }
    noted = read_json(partial / _CLAIM)
    if noted is None:
        write_json(partial / f"{_CLAIM}.new", claim)
        (partial / f"{_CLAIM}.new").replace(partial / _CLAIM)
    elif noted != json.loads(json.dumps(claim)):
        raise UserError(
            f"{partial} is a conversion that was stopped, with other channels or settings. Give those again, or "
            "delete that folder."
        )


def _write_sites(
    plate: Plate, partial: Path, compressed: bool, workers: int, tick: Callable[[int], None]
) -> tuple[list[Site], list[Gap]]:
    """Write the sites that are not there yet; returns those that are there now, and those that can't be read."""
    for well in {well_path(site.well) for site in plate.sites}:
        for left in (partial / well).glob(f"{_UNFINISHED}*"):
            shutil.rmtree(left)
    windows = _windows(plate)

    def write(site: Site) -> Gap | None:
        return _write_checked(plate, site, partial, windows, compressed)

    done: list[Site] = []
    bad: list[Gap] = []
    waiting = iter(plate.sites)
    with ThreadPoolExecutor(workers, thread_name_prefix="convert") as pool:
        running: deque[tuple[Site, Future[Gap | None]]] = deque()
        running.extend((site, pool.submit(write, site)) for site in islice(waiting, 2 * workers))
        try:
            while running:
                site, future = running.popleft()
                gap = future.result()
                running.extend((site, pool.submit(write, site)) for site in islice(waiting, 1))
                if gap is None:
                    done.append(site)
                else:
                    bad.append(gap)
                tick(1)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return done, bad


def _windows(plate: Plate) -> dict[str, tuple[float, float]]:
    try:
        with warnings.catch_warnings(action="ignore"):  # damaged files are told of when their sites' turn comes
            return measure_scale([plate], sites=_CONTRAST_SITES, keep=False)[plate.name]
    except UserError:  # no contrast is better than no store
        return {}


def _write_checked(
    plate: Plate, site: Site, partial: Path, windows: Mapping[str, tuple[float, float]], compressed: bool
) -> Gap | None:
    """Write one site under a hidden name, compare it with its source, and give it its own.

    Returns
    -------
    None, or what is wrong with a source that can't be read.
    """
    final = partial / field_path(site)
    try:
        digest = source_digest(site)
        if final.exists():
            if _is_whole(final, digest):
                return None
            shutil.rmtree(final)
        image = read_site(site, out=_memory(plate))
    except UserError as error:
        return Gap(site.paths[0], f"{site.well} site {site.site} cannot be read: {error}")
    except OSError as error:
        return Gap(site.paths[0], f"{site.well} site {site.site} cannot be read: {error.strerror or error}")
    writing = final.with_name(f"{_UNFINISHED}{site.site}")
    level, _ = write_site(writing, image, site_attributes(plate, site, windows, digest), compressed)
    try:
        same = shard_holds(level, image)
    except ShardError:
        same = False
    if not same:
        raise UserError(f"{writing} does not read back as it was written. Check the disk, and run the command again.")
    _forget_pages(level.file)
    writing.rename(final)
    return None


def _forget_pages(path: Path) -> None:
    """Let the system have the memory back that holds a file, which is on the disk, for the next site's.

    A plate is larger than memory: kept, its pixels would drive out whatever else is there, and finding new memory for
    each site costs as much as packing it.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError), path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _memory(plate: Plate) -> NDArray[np.uint16]:
    """Memory for a site that this thread uses again: new memory for each costs as much as decoding the store."""
    shape = (len(plate.channels), *(plate.shape or (0, 0)))
    held: NDArray[np.uint16] | None = getattr(_LOCAL, "site", None)
    if held is None or held.shape != shape:
        held = _LOCAL.site = np.empty(shape, np.uint16)
    return held


def _is_whole(field: Path, digest: str) -> bool:
    """Whether a site that an earlier call wrote is all there, and its source unchanged since."""
    try:
        for level in ("0", THUMBNAIL):
            read_array_header(field / level)
    except HeaderError:
        return False
    return bool(read_attributes(field).get(OWN, {}).get("source") == digest)


def _write_groups(plate: Plate, partial: Path, sites: Sequence[Site]) -> None:
    """Write what makes the sites a plate, the plate's own metadata last."""
    wells: dict[str, list[Site]] = {}
    for site in sites:
        wells.setdefault(well_path(site.well), []).append(site)
    for row in {path.partition("/")[0] for path in wells}:
        write_group(partial / row, {})
    for path, members in wells.items():
        write_group(partial / path, well_attributes(members))
    written = {field_path(site) for site in sites}
    for field in partial.glob("*/*/*/"):
        if field.relative_to(partial).as_posix() not in written:  # of a site that the source has no more
            shutil.rmtree(field)
    write_group(partial, plate_attributes(plate, sites))


def _sync(folder: Path) -> None:
    """Have a folder's entries on the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def describe_conversion(converted: Sequence[Converted]) -> list[str]:
    """Say in a line a plate what was written, and what is not in it."""
    lines: list[str] = []
    for plate in converted:
        verb = "there already" if plate.already_there else "written"
        lines.append(f"{plate.path}: {_count(plate.sites, 'site')} {verb}.")
        if plate.left_out:
            first = plate.left_out[0]
            lines.append(
                f"  {_count(len(plate.left_out), 'problem')} in the source, whose sites are not in the store; the "
                f"first: {first.path}: {first.problem}"
            )
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
