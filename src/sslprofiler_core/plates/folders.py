"""Find plates: one plate, a folder of plates, the gallery's ``<plate>__<time>-Measurement1/Images``, or a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from sslprofiler_core.errors import UserError

from .layouts import IMAGE_SUFFIXES, LAYOUT_VARIABLE, Layout, Listing, PlateFolder, known_layouts, layout_named
from .load_data import LOAD_DATA
from .pattern import find_by_pattern, is_pattern
from .remote import list_remote, local
from .remote_cache import is_mirrored, mirrored, shown
from .types import Gap

# A simulated screen's root is two levels above its plates (images/<plate>), the gallery's batch three.
_DEPTH = 4
_TABLES = (".csv", ".csv.gz")


def find_plate_folders(paths: Sequence[Path | str], layout: str | None = None) -> tuple[list[PlateFolder], list[Gap]]:
    """Find every plate under some paths, by plate name, without decoding a file.

    A path may be an object store's (``s3://bucket/folder``). Folders whose name starts with a dot and hidden files are
    left out; symbolic links are followed, each folder once.

    Parameters
    ----------
    layout
        The name of the only layout to look for; None takes ``$SSLPROFILER_LAYOUT``, and without it tries all, and each
        folder's first match counts.

    Returns
    -------
    The plates, and a gap for each folder of images beside them whose names no layout knows.

    Raises
    ------
    UserError
        For a path that is not there, is no folder, may not be read, or has no plate under it; for two folders that hold
        the same plate; and for a plate's name that is no text.
    """
    if not paths:
        raise UserError("No plate folder given. Give one or more folders with images.")
    if isinstance(paths, str | Path):
        paths = [paths]
    layout = layout or os.environ.get(LAYOUT_VARIABLE)
    layouts = known_layouts() if not layout else (layout_named(layout),)
    plates: list[PlateFolder] = []
    strangers: list[Gap] = []
    visited: set[tuple[int, int]] = set()
    for path in map(mirrored, paths):
        if is_pattern(path):
            if is_mirrored(path):
                raise UserError(f"{shown(path)} is a pattern, which finds no files in a bucket. Download them first.")
            plates += find_by_pattern(path)
            continue
        if path.name.lower().endswith(_TABLES) and local(path).is_file() and LOAD_DATA in layouts:
            plates += LOAD_DATA.read(path)
            continue
        seen: list[str] = []
        before = len(plates)
        for listing, found in _walk(path, layouts, visited):
            seen += map(_printable, listing.files[: 3 - len(seen)])
            plates += found
            if not found and (images := _images(listing)):
                problem = f"{len(images)} images, none named like {_examples(layouts)}"
                strangers.append(Gap(listing.folder, f"{problem} (the first: {_printable(images[0])}): not used"))
        again = (plate.root.resolve().is_relative_to(path.resolve()) for plate in plates)  # an earlier path's plates
        if len(plates) == before and not any(again):
            raise UserError(_nothing_found(path, seen, layouts))
    _refuse_broken_names(plates)
    _refuse_twins(plates)
    plates.sort(key=lambda plate: plate.name)
    return plates, strangers


def _walk(
    path: Path, layouts: Sequence[Layout], visited: set[tuple[int, int]], depth: int = 0
) -> Iterator[tuple[Listing, list[PlateFolder]]]:
    """Yield each folder with its plates, top down; below a folder with planes there is nothing to look for."""
    if is_mirrored(path):
        yield from _walk_remote(path, layouts, depth)
        return
    try:
        status = path.stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        listing = list_folder(path)
    except FileNotFoundError as error:
        if depth:  # a dangling link among the folders
            return
        raise UserError(f"There is no folder {path}. Check the path.") from error
    except NotADirectoryError as error:
        raise UserError(f"{path} is a file. Give the folder that holds the plate's images.") from error
    except OSError as error:
        raise UserError(f"Cannot read the folder {path}: {error.strerror or error}.") from error
    visited.add((status.st_dev, status.st_ino))
    found = _find(listing, layouts)
    yield listing, found
    if depth < _DEPTH and not found:
        for name in listing.folders:
            yield from _walk(path / name, layouts, visited, depth + 1)


def _walk_remote(path: Path, layouts: Sequence[Layout], depth: int) -> Iterator[tuple[Listing, list[PlateFolder]]]:
    """Do the same in an object store, where there are no links, and a folder without entries is not there."""
    listing = list_remote(path)
    found = _find(listing, layouts)
    yield listing, found
    if depth < _DEPTH and not found:
        for name in listing.folders:
            yield from _walk_remote(path / name, layouts, depth + 1)


def _find(listing: Listing, layouts: Sequence[Layout]) -> list[PlateFolder]:
    return next((plates for layout in layouts if (plates := layout.find(listing))), [])


def list_folder(path: Path, at_most: int | None = None) -> Listing:
    """List a folder, or its first entries. Raises OSError."""
    files: list[str] = []
    folders: list[str] = []
    zarr = False
    with os.scandir(path) as entries:
        for entry in islice(entries, at_most):
            zarr |= entry.name in ("zarr.json", ".zgroup", ".zarray")
            if not entry.name.startswith("."):
                (folders if _is_folder(entry) else files).append(entry.name)
    return Listing(path, sorted(files), sorted(folders), zarr)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _images(listing: Listing) -> list[str]:
    return [name for name in listing.files if name.lower().endswith(IMAGE_SUFFIXES)]


def _examples(layouts: Sequence[Layout]) -> str:
    return " or ".join(layout.example for layout in layouts)


def _nothing_found(path: Path, seen: Sequence[str], layouts: Sequence[Layout]) -> str:
    if not seen:
        return f"The folder {shown(path)} has no files. Give a folder with images named like {_examples(layouts)}."
    return (
        f"No images found in {shown(path)}: expected names like {_examples(layouts)}, found {', '.join(seen)}. "
        "Give a plate's folder, or a pattern such as '{plate}/{well}_{site}_{channel}.tif'."
    )


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)


def _refuse_broken_names(plates: Sequence[PlateFolder]) -> None:
    """Refuse plate names that no table can hold: bytes from a file system with another encoding."""
    for plate in plates:
        try:
            plate.name.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"The plate's name {plate.name!r} is not UTF-8. Rename it: {str(plate.root)!r}.") from error


def _refuse_twins(plates: Sequence[PlateFolder]) -> None:
    roots: dict[str, Path] = {}
    for plate in plates:
        if plate.name in roots:
            raise UserError(
                f"Plate {plate.name} is there twice: {roots[plate.name]} and {plate.root}. "
                "Give the folders one by one, each plate once."
            )
        roots[plate.name] = plate.root
