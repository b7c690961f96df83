"""What a person was asked once: where the images of a table's plates are. Kept per user. No Qt."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

_MOST = 200  # tables remembered


def _file() -> Path:
    return Path(platformdirs.user_config_dir("sslprofiler")) / "images.json"


def folder_of(table: Path) -> Path | None:
    """The folder of a table's images that was given before, where it still is."""
    text = _read().get(str(table.resolve()))
    folder = Path(text) if isinstance(text, str) and text else None
    return folder if folder is not None and folder.is_dir() else None


def was_declined(table: Path) -> bool:
    """Whether a person said that there are no images at hand."""
    return _read().get(str(table.resolve())) == ""


def remember(table: Path, folder: Path | None) -> None:
    """Remember a folder, or that there is none; where that cannot be written, the question comes again."""
    known = _read()
    known.pop(str(table.resolve()), None)
    known[str(table.resolve())] = "" if folder is None else str(folder.resolve())
    known = dict(list(known.items())[-_MOST:])
    with suppress(OSError):
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps(known, indent=1, ensure_ascii=False), encoding="utf-8")
        temporary.replace(file)


def _read() -> dict[str, Any]:
    try:
        known = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
