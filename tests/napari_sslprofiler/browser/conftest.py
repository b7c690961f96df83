"""Fixtures of the browser's panels: a state with a table of simulated plates, and no file in the user's folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import platformdirs
import pytest

from napari_sslprofiler.browser.state import BrowserState, open_table
from sslprofiler_core.plates import load_metadata, open_plates
from sslprofiler_core.profiling import write_wells

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot
    from qtpy.QtWidgets import QWidget


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is cached and remembered stays in the test's folder."""
    for name in ("user_cache_dir", "user_config_dir"):
        monkeypatch.setattr(platformdirs, name, lambda *args, name=name, **options: str(tmp_path / name))
    return tmp_path


@pytest.fixture
def screen_state(simulated: Path, own_folders: Path) -> BrowserState:
    """The 12 wells of the simulated plates, with their images."""
    plates = open_plates([simulated / "images"])
    metadata = load_metadata(simulated / "metadata", plates)
    values = np.random.default_rng(0).normal(size=(len(metadata), 8))
    info = {"plates": {plate.name: str(plate.root) for plate in plates}}
    state = BrowserState()
    state.table = open_table(write_wells(own_folders / "wells.parquet", metadata, values, info))
    return state


@pytest.fixture
def blank_state(own_folders: Path) -> Callable[[pd.DataFrame], BrowserState]:
    """Makes a state of a table without images: (metadata) -> state."""

    def make(metadata: pd.DataFrame) -> BrowserState:
        values = np.random.default_rng(0).normal(size=(len(metadata), 4))
        state = BrowserState()
        state.table = open_table(write_wells(own_folders / "blank.parquet", metadata, values, {}))
        return state

    return make


Shown = Callable[["QWidget"], None]


@pytest.fixture
def shown(viewer: Viewer, qtbot: QtBot) -> Shown:
    """Shows a panel as a dock of a napari window and waits until it has nothing under way."""

    def show(panel: QWidget) -> None:
        if panel.parent() is None:
            viewer.window.add_dock_widget(panel, name="Panel", area="right")
        for _ in range(3):  # an answer that has just come may ask something else
            qtbot.waitUntil(lambda: panel.isVisible() and not panel.busy, timeout=20000)
            qtbot.wait(20)

    return show
