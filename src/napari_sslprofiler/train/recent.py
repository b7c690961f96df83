"""Run folders that a person trained in or followed, kept per user. No Qt."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import platformdirs

_MOST = 12


class RecentRuns:
    """Remembered run folders, newest first.

    Parameters
    ----------
    file
        Where they are kept; None takes the user's configuration folder.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file or Path(platformdirs.user_config_dir("sslprofiler")) / "runs.json"

    def paths(self) -> tuple[Path, ...]:
        """The folders that are still there."""
        return tuple(path for path in self._read() if path.is_dir())

    def add(self, run: Path) -> None:
        """Put a folder first; where that cannot be written, it is forgotten with the window."""
        run = run.resolve()
        found = [run, *(path for path in self._read() if path != run)][:_MOST]
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            aside = self._file.with_name(f".{self._file.name}.{os.getpid()}.tmp")
            aside.write_text(json.dumps([str(path) for path in found], indent=1), encoding="utf-8")
            aside.replace(self._file)

    def _read(self) -> list[Path]:
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [Path(path) for path in known if isinstance(path, str)] if isinstance(known, list) else []
