"""The child process that `sslprofiler browse` starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.profiling.tables import write_wells

# The window is closed as soon as its map is there, as a person would.
_CODE = """
import sys
import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from napari_sslprofiler.browser.widget import BrowserWidget
from napari_sslprofiler.browser import main

def look():
    shown = [w for w in QApplication.allWidgets() if isinstance(w, BrowserWidget)]
    if shown and shown[0].state.positions is not None:
        print("rows", len(shown[0].state))
        napari.current_viewer().close()

run = napari.run
def running():
    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(50)
    run()
napari.run = running
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.window
def test_it_shows_the_table_and_ends_with_its_window(tmp_path: Path) -> None:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        pytest.skip("opens a window, and there is no display")
    metadata = pd.DataFrame({"Metadata_Plate": ["P"] * 4, "Metadata_Well": ["A01", "A02", "A03", "A04"]})
    table = write_wells(tmp_path / "wells.parquet", metadata, np.eye(4), {})
    done = subprocess.run([sys.executable, "-c", _CODE, str(table)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "rows 4" in done.stdout


def test_it_wants_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    from napari_sslprofiler.browser.main import main

    assert main([]) == 2
    assert "give one table" in capsys.readouterr().err
