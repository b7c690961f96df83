"""A browser's state as a file, ``.sslbrowser.json``: paths relative to it, so that it travels with its table. No Qt."""

from __future__ import annotations

import base64
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from sslprofiler_core.exploring import TableView

    from .state import BrowserState

SUFFIX = ".sslbrowser.json"
KEY = "sslprofiler-browser"
VERSION = 1


@dataclass(frozen=True, eq=False)
class SavedState:
    """What a file holds: ``table`` is where the table is now, ``content`` the rest, as JSON has it."""

    path: Path
    table: Path
    content: dict[str, Any]

    @property
    def recipes(self) -> dict[str, dict[str, Any]]:
        """Computed columns: name -> how to compute them again."""
        return {str(name): dict(recipe) for name, recipe in self.content.get("computed", {}).items()}

    @property
    def map(self) -> dict[str, Any]:
        """How the map was made."""
        return dict(self.content.get("map", {}))


def save_state(state: BrowserState, path: Path, layout: dict[str, Any] | None = None) -> Path:
    """Write a state, whole or not at all.

    Parameters
    ----------
    state
        With a table.
    path
        The file; ``.sslbrowser.json`` is added where it lacks.
    layout
        How the map was made, for the colleague's browser.

    Returns
    -------
    The file.

    Raises
    ------
    UserError
        Without a table, or where the file cannot be written.
    """
    if state.table is None:
        raise UserError("There is nothing to save: no table is open. Open one first.")
    if not path.name.endswith(SUFFIX):
        path = path.with_name(path.name.removesuffix(".json") + SUFFIX)
    folder = path.resolve().parent
    colouring = state.colouring
    content: dict[str, Any] = {
        KEY: VERSION,
        "table": _relative(state.table.path, folder),
        "rows": len(state),
        "colour": {"kind": colouring.kind, "column": colouring.column},
        "kinds": dict(state.columns.kinds),
        "hidden": {name: sorted(names, key=lambda n: (n is None, n)) for name, names in state.hidden.items()},
        "ranges": {name: list(limits) for name, limits in state.ranges.items()},
        "search": {"text": state.search, "hides": state.search_hides},
        "isolated": None if state.isolated is None else _pack(state.isolated),
        "selection": _pack(state.selection),
        "current": state.current,
        "view": None if state.view is None else list(state.view),
        "computed": {name: recipe for name, recipe in state.recipes.items() if name in state.column_names},
        "map": layout or {},
        "plates": {
            plate: _relative(root, folder) for plate, root in (state.images.folders if state.images else {}).items()
        },
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}. Choose a folder you may write to.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_state(path: Path) -> SavedState:
    """Read a saved state and find its table.

    Raises
    ------
    UserError
        For a file that is none, was saved by a newer version, or whose table is not there.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    except ValueError as error:
        raise UserError(f"{path} is not a saved browser: it is no JSON. Choose a {SUFFIX} file.") from error
    if not isinstance(content, dict) or not isinstance(content.get(KEY), int) or "table" not in content:
        raise UserError(f"{path} is not a saved browser. Choose a {SUFFIX} file.")
    if content[KEY] > VERSION:
        raise UserError(f"{path} was saved by a newer SSLProfiler. Update: pip install -U napari-sslprofiler.")
    table = _absolute(str(content["table"]), path)
    if not table.exists():
        table = path.resolve().parent / table.name
    if not table.exists():
        raise UserError(f"The table of {path.name} is not there: {content['table']}. Put it beside {path.name}.")
    return SavedState(path, table, content)


def apply_state(state: BrowserState, saved: SavedState, table: TableView) -> list[str]:
    """Put a saved state on its table, which is open; computed columns come later (see ``saved.recipes``).

    Returns
    -------
    What could not be put back, in sentences: columns that are gone, a table of other rows.

    Raises
    ------
    UserError
        For content that makes no sense; the state then shows the table alone.
    """
    content, notes = saved.content, []
    state.table = table
    try:
        if state.images is not None and isinstance(content.get("plates"), dict):
            folders = {str(k): _absolute(str(v), saved.path) for k, v in content["plates"].items()}
            state.images.point({plate: folder for plate, folder in folders.items() if folder.is_dir()})
            state.images_changed()
        same = content.get("rows") == len(state)
        if not same:
            notes.append(f"{table.path.name} has changed since: its rows are others, so no selection is put back.")
        for name, column_kind in content.get("kinds", {}).items():
            if column_kind in ("categorical", "numeric"):
                state.columns.kinds[str(name)] = column_kind
        text = content.get("search", {})
        state.set_search(str(text.get("text", "")), bool(text.get("hides", False)))
        columns = set(state.column_names)
        later = set(saved.recipes)
        gone: list[str] = []
        for name, names in content.get("hidden", {}).items():
            if name in columns:
                state.set_hidden(name, names)
            elif name not in later:
                gone.append(name)
        for name, limits in content.get("ranges", {}).items():
            if name in columns:
                state.set_range(name, (float(limits[0]), float(limits[1])))
            elif name not in later:
                gone.append(name)
        colour = content.get("colour", {})
        kind, column = colour.get("kind"), str(colour.get("column", ""))
        if kind == "search":
            state.colour_by_search()
        elif column in columns or not column:
            state.colour_by(column)
        elif column not in later:
            gone.append(column)
        if gone:
            notes.append(f"{table.path.name} has no column {', '.join(sorted(set(gone)))} any more.")
        if same:
            if content.get("isolated") is not None:
                state.isolate(_unpack(content["isolated"], len(state)))
            state.selection = _unpack(content["selection"], len(state))
            current = content.get("current")
            state.current = None if current is None else int(current)
        view = content.get("view")
        state.wanted_view = None if view is None else (float(view[0]), float(view[1]), float(view[2]))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise UserError(f"{saved.path} is damaged ({error}). Save the browser again.") from error
    return notes


def _pack(mask: NDArray[np.bool_]) -> str:
    return base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode()


def _unpack(text: Any, rows: int) -> NDArray[np.bool_]:
    packed = np.frombuffer(zlib.decompress(base64.b64decode(str(text), validate=True)), np.uint8)
    if len(packed) != (rows + 7) // 8:
        raise ValueError(f"a mask of {len(packed)} bytes for {rows} rows")
    return np.unpackbits(packed, count=rows).astype(bool)


def _relative(path: Path, folder: Path) -> str:
    """Relative to the folder where that is on its drive, always with forward slashes."""
    try:
        return Path(os.path.relpath(path.resolve(), folder)).as_posix()
    except ValueError:  # another drive of Windows
        return path.resolve().as_posix()


def _absolute(text: str, file: Path) -> Path:
    path = Path(text)
    return path if path.is_absolute() else Path(os.path.normpath(file.resolve().parent / path))
