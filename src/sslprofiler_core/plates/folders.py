"""Find plate folders: one plate, a folder of plates, or the gallery's ``<plate>__<time>-Measurement1/Images``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslprofiler_core.errors import UserError

from .layouts import Layout, Plane, known_layouts
from .types import Gap

# A simulated screen's root is two levels above its plates (images/<plate>), the gallery's batch three.
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class PlateFolder:
    """A folder with images of one plate: its files, read by name alone."""

    name: str
    root: Path
    layout: Layout
    planes: list[Plane]
    strays: list[tuple[str, str]]


def find_plate_folders(paths: Sequence[Path | str]) -> tuple[list[PlateFolder], list[Gap]]:
    """Find every plate under some paths, by plate name, without opening a file.

    Folders whose name starts with a dot and hidden files are left out; symbolic links are followed, each folder once.

    Returns
    -------
    The plates, and a gap for each folder of images beside them whose names no layout knows.

    Raises
    ------
    UserError
        For a path that is not there, is no folder, may not be read, or has no plate under it; and for two folders that
        hold the same plate.
    """
    if not paths:
        raise UserError("No plate folder given. Give one or more folders with images.")
    if isinstance(paths, str | Path):
        paths = [paths]
    plates: list[PlateFolder] = []
    strangers: list[Gap] = []
    visited: set[tuple[int, int]] = set()
    for path in map(Path, paths):
        seen: list[str] = []
        for folder, names in _walk(path, visited):
            seen += names[: 3 - len(seen)]
            plate, stray = _recognise(folder, names)
            if plate is not None:
                plates.append(plate)
            elif stray is not None:
                strangers.append(Gap(folder, stray))
        if not any(plate.root.resolve().is_relative_to(path.resolve()) for plate in plates):
            raise UserError(_nothing_found(path, seen))
    _refuse_twins(plates)
    plates.sort(key=lambda plate: plate.name)
    return plates, strangers


def _walk(path: Path, visited: set[tuple[int, int]], depth: int = 0) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder with its file names, top down; below a folder with planes there is nothing to look for."""
    try:
        status = path.stat()
        if (status.st_dev, status.st_ino) in visited:
            return
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except FileNotFoundError as error:
        if depth:  # a dangling link among the folders
            return
        raise UserError(f"There is no folder {path}. Check the path.") from error
    except NotADirectoryError as error:
        raise UserError(f"{path} is a file. Give the folder that holds the plate's images.") from error
    except OSError as error:
        raise UserError(f"Cannot read the folder {path}: {error.strerror or error}.") from error
    visited.add((status.st_dev, status.st_ino))
    names: list[str] = []
    folders: list[str] = []
    for entry in found:
        (folders if _is_folder(entry) else names).append(entry.name)
    names.sort()
    yield path, names
    if depth < _DEPTH and not _has_planes(names):
        for name in sorted(folders):
            yield from _walk(path / name, visited, depth + 1)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _has_planes(names: Sequence[str]) -> bool:
    return any(layout.index(names[i : i + 1])[0] for layout in known_layouts() for i in range(len(names)))


def _recognise(folder: Path, names: Sequence[str]) -> tuple[PlateFolder | None, str | None]:
    strays: list[tuple[str, str]] = []
    for layout in known_layouts():
        planes, strays = layout.index(names)
        if planes:
            return PlateFolder(plate_name(folder), folder, layout, planes, strays), None
    if not strays:
        return None, None
    return None, f"{len(strays)} images, none named like {_examples()} (the first: {strays[0][0]}): not used"


def plate_name(folder: Path) -> str:
    """Name a plate by its folder, the gallery's ``<plate>__<time>-Measurement1/Images`` by the part before ``__``."""
    folder = folder.absolute()
    name = folder.parent.name if folder.name.lower() == "images" and "__" in folder.parent.name else folder.name
    return name.partition("__")[0] or name


def _examples() -> str:
    return " or ".join(layout.example for layout in known_layouts())


def _nothing_found(path: Path, seen: Sequence[str]) -> str:
    if not seen:
        return f"The folder {path} has no files. Give a folder with images named like {_examples()}."
    return (
        f"No images found in {path}: expected names like {_examples()}, found {', '.join(seen)}. Give a plate's folder."
    )


def _refuse_twins(plates: Sequence[PlateFolder]) -> None:
    roots: dict[str, Path] = {}
    for plate in plates:
        if plate.name in roots:
            raise UserError(
                f"Plate {plate.name} is there twice: {roots[plate.name]} and {plate.root}. "
                "Give the folders one by one, each plate once."
            )
        roots[plate.name] = plate.root
