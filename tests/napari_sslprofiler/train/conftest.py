"""Fixtures of the Train widget's tests."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from napari import Viewer

    from napari_sslprofiler.train.widget import TrainWidget

Wait = Callable[..., None]


@pytest.fixture
def wait() -> Wait:
    """Let the window work until something is so."""
    from qtpy.QtWidgets import QApplication

    def wait(until: Callable[[], object], seconds: float = 180.0) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, f"it did not happen in {seconds} s"
            QApplication.processEvents()
            time.sleep(0.005)

    return wait


@pytest.fixture
def widget(viewer: Viewer, tmp_path: Path) -> Iterator[TrainWidget]:
    """The Train widget, docked; whatever it started is ended."""
    from napari_sslprofiler.train import widget as module
    from napari_sslprofiler.train.recent import RecentRuns

    made = module.TrainWidget(viewer, RecentRuns(tmp_path / "recent.json"))
    made.setup.meaning.set_timing(False)  # tests that time say so
    made.ask_on_close = lambda run: "leave"
    viewer.window.add_dock_widget(made, name="Train", area="right")
    yield made
    made._timer.stop()
    for child in list(module._children.values()):
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        child.wait(30)
    module._children.clear()


@pytest.fixture
def ready(widget: TrainWidget, viewer: Viewer, simulated: Path, small: list[str], tmp_path: Path) -> TrainWidget:
    """With plates, the tiny recipe made smaller still but 4,000 steps long, and a folder."""
    from napari_sslprofiler.plates.opening import open_screen
    from napari_sslprofiler.state import session_of
    from sslprofiler_core.recipes import dump_recipe, load_recipe

    recipe = tmp_path / "own.toml"
    recipe.write_text(dump_recipe(load_recipe("tiny", [*small, "train.steps=4000"])))
    session_of(viewer).screen = open_screen([simulated / "images"], lambda done, total: None)
    widget.setup.choose_recipe(recipe)
    widget.setup.out.setText(str(tmp_path / "my runs" / "one"))
    widget.setup._out_edited()
    return widget
