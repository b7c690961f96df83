"""``sslprofiler browse``: the browser's window in a child process, since the core itself has none."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

from sslprofiler_core.errors import UserError

_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_STATE = ".sslbrowser.json"


def browse(table: Path) -> int:
    """Show a table, or a saved browser, in napari, and wait until its window is closed.

    Returns
    -------
    The child's exit status: 0 when the window was closed.

    Raises
    ------
    UserError
        Where the table cannot be opened, or there is no napari, no Qt or no display.
    """
    table = Path(table)
    if not table.exists():
        raise UserError(f"There is no table {table}. Check the path.")
    if not table.name.endswith(_STATE):
        from .tables import open_table

        open_table(table)  # what is wrong with it is said here, before a window opens
    _check_window()
    child = subprocess.Popen([sys.executable, "-m", "napari_sslprofiler.browser.main", str(table.resolve())])
    try:
        return child.wait()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise


def _check_window() -> None:
    install = "Install them: pip install 'napari-sslprofiler[all]'"
    if importlib.util.find_spec("napari") is None:
        raise UserError(f"The browser needs napari and Qt, and napari is not installed. {install}.")
    if not any(importlib.util.find_spec(name) for name in _BINDINGS):
        raise UserError(f"The browser needs napari and Qt, and there is no Qt binding (PyQt6 or PySide6). {install}.")
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not shown:
        raise UserError("The browser opens a window, and there is no display. Run it on a desktop, or over `ssh -X`.")
