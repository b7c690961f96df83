"""Whether a path looks like plates, in milliseconds: for a program that is asked to open any file or folder."""

from __future__ import annotations

from pathlib import Path

from .folders import list_folder
from .layouts import known_layouts
from .load_data import image_columns, read_header
from .remote_cache import is_url

# Entries looked at in a folder, and folders looked into: bounded work, whatever is there.
_ENTRIES = 64
_FOLDERS = 3
_DEPTH = 3


def looks_like_plates(path: Path) -> bool:
    """Tell whether ``open_plates`` is likely to find plates at a path; never raises, never decodes an image.

    Looks at the first 64 entries of a folder, and of at most three folders in it and so on, three levels down; of a
    CSV, at its first line. A folder with few images among many other files may be missed.
    """
    if is_url(path):
        return True  # a URL is no one else's, and asking its server takes longer than a drop may
    try:
        if path.is_file():
            name = path.name.lower()
            return name.endswith((".csv", ".csv.gz")) and bool(image_columns(read_header(path)))
        return _looks(path, _DEPTH)
    except (OSError, ValueError):
        return False


def _looks(folder: Path, depth: int) -> bool:
    try:
        listing = list_folder(folder, at_most=_ENTRIES)
    except OSError:
        return False
    if any(layout.claims(listing) for layout in known_layouts()):
        return True
    return depth > 0 and any(_looks(folder / name, depth - 1) for name in listing.folders[:_FOLDERS])
