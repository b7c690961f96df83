"""The whole way in one window, every widget opened from its menu: from plates to a browser."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from npe2 import PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSlider

from napari_sslprofiler.state import Screen, session_of
from napari_sslprofiler.train import widget as train_module
from napari_sslprofiler.train.recent import RecentRuns
from sslprofiler_core.plates import open_plates

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window

Until = Callable[[Callable[[], object]], None]


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the user's remembered runs and caches alone, and no training behind."""
    recent = tmp_path / "recent.json"
    monkeypatch.setattr(train_module, "RecentRuns", lambda: RecentRuns(recent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield
    for child in list(train_module._children.values()):
        child.kill()
        child.wait(30)
    train_module._children.clear()


@pytest.fixture
def until(qtbot: QtBot) -> Until:
    """Wait for as long as a loaded machine may take."""
    return lambda so: qtbot.waitUntil(lambda: bool(so()), timeout=180_000)


def _open(viewer: Viewer, name: str) -> Any:
    return viewer.window.add_plugin_dock_widget("napari-sslprofiler", name, tabify=True)[1]


def _quiet(preview: Any) -> bool:
    return preview.answer is not None and not (preview._asked or preview._waiting)


def test_every_widget_of_the_menu_opens(viewer: Viewer, manifest: PluginManifest) -> None:
    names = [widget.display_name for widget in manifest.contributions.widgets or ()]
    assert names == ["Plates", "Augmentation preview", "Train", "Embed and profile", "Browser"]
    for name in names:
        assert _open(viewer, name).isVisible() or name  # a tab behind another is not


def test_closed_widgets_hear_no_more(viewer: Viewer, manifest: PluginManifest, simulated: Path, qtbot: QtBot) -> None:
    docks = [
        viewer.window.add_plugin_dock_widget("napari-sslprofiler", widget.display_name)[0]
        for widget in manifest.contributions.widgets or ()
    ]
    for dock in docks:
        viewer.window.remove_dock_widget(dock)
        dock.deleteLater()
    qtbot.wait(300)
    session = session_of(viewer)
    plates = tuple(open_plates([simulated / "images"]))
    session.screen = Screen(plates, (simulated / "images",))
    session.add_run(simulated / "no run")
    session.recipe = session.recipe.model_copy()
    session.shown = plates[0].sites[0]
    session.table = simulated / "no.parquet"


def test_real_sites_and_their_views(viewer: Viewer, cpjump1: Path, qtbot: QtBot, until: Until) -> None:
    plates = _open(viewer, "Plates")
    plates.open([cpjump1 / "images"])
    until(lambda: len(viewer.layers) == 8 and session_of(viewer).screen.scale)
    plates.plate_box.setCurrentText("BR00117012")
    until(lambda: viewer.layers[0].metadata["plate"] == "BR00117012")
    for well in ("N14", "A21", "D08"):
        plates.show_well(well)
        until(lambda well=well: viewer.layers[0].metadata["well"] == well)
    preview = _open(viewer, "Augmentation preview")
    until(lambda: _quiet(preview))
    slider = preview.form.control("augment.contrast").findChild(QSlider)
    before = preview.canvas.panels[0].rgb_SS3.copy()
    for step in range(slider.minimum(), slider.maximum(), max(1, (slider.maximum() - slider.minimum()) // 10)):
        slider.setValue(step)
        qtbot.wait(20)
    until(lambda: _quiet(preview))
    assert (preview.canvas.panels[0].rgb_SS3 != before).any()


def test_from_simulated_plates_to_the_browser(
    viewer: Viewer, simulated: Path, small: list[str], tmp_path: Path, until: Until
) -> None:
    plates = _open(viewer, "Plates")
    plates.open([simulated / "images"])
    until(lambda: len(viewer.layers) == 8)

    train = _open(viewer, "Train")
    train.setup.meaning.set_timing(False)
    train.setup.choose_recipe("tiny")
    for setting in (*small, "train.steps=4000"):
        key, _, value = setting.partition("=")
        train.setup.form.set(key, int(value))
    train.setup.out.setText(str(tmp_path / "runs" / "fluorescence"))
    until(train.setup.start_button.isEnabled)
    train.setup.start_button.click()
    until(lambda: train.run_panel.state is not None and train.run_panel.state.step > 0)
    train.run_panel.stop_button.click()
    until(lambda: train.run_panel.state.status.name == "STOPPED")
    stopped = train.run_panel.state.step
    train.run_panel.resume_button.click()
    until(lambda: train.run_panel.state.status.name == "RUNNING" and train.run_panel.state.step > stopped)
    train.run_panel.stop_button.click()
    until(lambda: train.run_panel.state.status.name == "STOPPED")

    embed = _open(viewer, "Embed and profile")
    assert embed.runs.item(0).checkState() == Qt.CheckState.Checked
    assert "Channels match" in embed.verdict.text()
    embed.start()
    until(embed.browse_button.isVisible)
    browser = _open(viewer, "Browser")
    until(lambda: browser.state.table is not None and len(browser.state.table.metadata) == 12)


def test_the_window_never_loads_what_ends_it(tmp_path: Path, simulated: Path) -> None:
    """timm brings triton, whose LLVM crashes beside that of software OpenGL: such work is the child processes'."""
    code = f"""
import sys
import napari
from pathlib import Path
from qtpy.QtWidgets import QApplication
import time
viewer = napari.Viewer(show=True)
def until(so):
    end = time.time() + 120
    while not so():
        assert time.time() < end
        QApplication.processEvents()
        time.sleep(0.01)
widgets = {{name: viewer.window.add_plugin_dock_widget("napari-sslprofiler", name)[1]
           for name in ("Plates", "Augmentation preview", "Train", "Embed and profile", "Browser")}}
widgets["Plates"].open([Path({str(simulated / "images")!r})])
until(lambda: len(viewer.layers) >= 8)
until(lambda: widgets["Augmentation preview"].answer is not None)
print(sorted({{"timm", "torchvision", "triton", "torch._dynamo"}} & set(sys.modules)))
viewer.close()
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr
