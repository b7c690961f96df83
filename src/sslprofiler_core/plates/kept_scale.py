"""Measured percentiles, kept beside the plate: whoever opens it next need not decode its sites again.

They lie in ``.sslprofiler/PLATE.scale.json`` in the folder that the plate's folder is in, or in the user's cache folder
where nothing may be written there (and for plates in object stores); ``$SSLPROFILER_SCALES`` names a folder to use
instead of both. Each value's key holds what it was measured on:
the files with their sizes and times of change, and the percentiles. So a plate that changed is measured anew, and a
value can be lost but not be wrong.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from threading import get_ident

from sslprofiler_core.errors import UserError

from .headers import is_array
from .remote import status_of
from .remote_cache import cache_root, is_mirrored
from .types import Plate, Source

Scale = tuple[float, float]

FOLDER_VARIABLE = "SSLPROFILER_SCALES"
_FOLDER = ".sslprofiler"
_FORMAT = 1
_MOST = 1000  # values of a plate; the oldest go first


def scale_key(sources: Sequence[Source], percentiles: tuple[float, float]) -> str | None:
    """Name what a channel's scale was measured on: files with size and time of change, and percentiles.

    Returns
    -------
    None where a file's facts can't be had: what is not known cannot be kept.
    """
    digest = blake2b(repr((_FORMAT, percentiles)).encode(), digest_size=16)
    try:
        for path, plane in sources:
            for file in _files(path):
                digest.update(os.fsencode(f"{file}\0{plane}\0{status_of(file)}\n"))
    except (OSError, UserError):
        return None
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    """A source's file, or all files of an array."""
    if not is_array(path):
        yield path
        return
    if is_mirrored(path):  # only this program's arrays are read from object stores: they are one file
        yield path / "c" / "0" / "0" / "0"
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name)


def kept_scales(plate: Plate) -> dict[str, Scale]:
    """What was kept of a plate, by key; a file that makes no sense is as if it were not there."""
    found: dict[str, Scale] = {}
    for file in _places(plate):
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            for key, (low, high) in json.loads(file.read_bytes())["scales"].items():
                if math.isfinite(low) and math.isfinite(high) and low < high:
                    found[key] = (float(low), float(high))
    return found


def keep_scales(plate: Plate, scales: Mapping[str, Scale]) -> Path | None:
    """Keep scales by key, beside those that are kept already; where, or None where nothing can be written.

    Of two that write at once, the file is one's or the other's: what is lost is measured again.
    """
    whole = {**kept_scales(plate), **scales}
    latest = dict(list(whole.items())[-_MOST:])
    text = json.dumps({"format": _FORMAT, "plate": plate.name, "scales": latest}, indent=0)
    for file in _places(plate):
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, text)
            return file
    return None


def _write(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}-{os.getpid()}-{get_ident()}")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _places(plate: Plate) -> Iterator[Path]:
    """Where a plate's scales may be, the best first."""
    root = plate.root.absolute()
    chosen = os.environ.get(FOLDER_VARIABLE, "")
    # A folder in an OME-Zarr plate would be one that other programs don't know; beside it, it is nobody's.
    # Nor is there a folder beside a pattern.
    if not (chosen or is_mirrored(root) or "{" in str(root)):
        yield root.parent / _FOLDER / f"{root.name}.scale.json"
    # Beside the cached objects: among them it would go by age.
    cache = cache_root()
    folder = Path(chosen).expanduser() if chosen else cache.with_name(f"{cache.name}-scales")
    yield folder / f"{blake2b(os.fsencode(root), digest_size=8).hexdigest()}.scale.json"
