"""Drag a table of wells or sites, or a saved browser, into napari: it opens in the Browser widget."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.types import LayerData

PathOrPaths = str | list[str]

_WHOLE = (".h5ad", ".sslbrowser.json")
_TEXTS = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
_FILES = ("filename_", "pathname_", "url_")  # columns that lead to images: a LoadData table's


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerData]] | None:
    """Give napari a reader for one table or saved browser; None, in milliseconds, for all else."""
    paths = [path] if isinstance(path, str) else path
    return read_table if len(paths) == 1 and looks_like_table(Path(paths[0])) else None


def read_table(path: PathOrPaths) -> list[LayerData]:
    """Open a table in the Browser widget of the current viewer; it adds no layer.

    Raises
    ------
    UserError
        Where there is no window.
    """
    from sslprofiler_core.errors import UserError

    widget = open_browser_widget()
    first = Path(path if isinstance(path, str) else path[0])
    if widget is None:
        raise UserError(f"{first} is shown by the Browser, and there is no window. Use `sslprofiler browse {first}`.")
    widget.open(first)
    return [(None,)]  # napari's word for "read, and no layer to add"


def open_browser_widget() -> Any:
    """The Browser widget of the current viewer, shown; None where there is no window."""
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        return None
    _, widget = viewer.window.add_plugin_dock_widget("napari-sslprofiler", "Browser")
    return widget


def looks_like_table(path: Path) -> bool:
    """Whether the browser is for this: by the name and the first bytes."""
    name = path.name.lower()
    try:
        if path.is_dir():
            return name.endswith(".parquet") and any(part.suffix == ".parquet" for part in path.iterdir())
        if name.endswith(_WHOLE):
            return path.is_file()
        if name.endswith(".parquet"):
            with path.open("rb") as file:
                return file.read(4) == b"PAR1"
        if name.endswith(_TEXTS):
            return _has_profiles(_first_line(path))
    except (OSError, EOFError, UnicodeDecodeError):
        pass
    return False


def _first_line(path: Path) -> str:
    if path.suffix.lower() == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.readline(1 << 20)
    with path.open(encoding="utf-8") as file:
        return file.readline(1 << 20)


def _has_profiles(header: str) -> bool:
    """Whether columns say what a well is and what was measured of it, but not which files are its images."""
    separator = max(",;\t", key=header.count)
    names = [name.strip().strip('"') for name in header.split(separator)]
    facts = {name for name in names if name.startswith("Metadata_")}
    others = [name for name in names if name not in facts]
    wells = bool(facts & {"Metadata_Well", "Metadata_well_position", "Metadata_Plate"})
    return wells and len(others) > 1 and not any(name.lower().startswith(_FILES) for name in others)
