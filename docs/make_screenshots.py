"""Make the guide's pictures: each widget in a real window, on the demo's plates and, where it is there, on real data.

    python docs/make_screenshots.py --demo DIR [--real FOLDER] [--only NAME ...] [--theme dark] [--out docs/images]

DIR is what ``sslprofiler demo --out DIR`` wrote; FOLDER holds CPJUMP1 plates. Needs a display of 1280 x 800 or more
(``xvfb-run -s "-screen 0 1600x1200x24 +extension GLX"``). Nothing is asserted here: look at the pictures.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from napari.settings import get_settings
from PIL import Image
from qtpy.QtWidgets import QApplication

from napari_sslprofiler.browser.neighbours_panel import NeighboursPanel
from napari_sslprofiler.site_display import display_of
from napari_sslprofiler.state import session_of

SIZE = (1280, 800)


class Window:
    """A napari window that waits for what is on its way."""

    def __init__(self, out: Path) -> None:
        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(*SIZE)
        self.out = out

    def open(self, name: str) -> Any:
        """Open one of the plugin's widgets."""
        return self.viewer.window.add_plugin_dock_widget("napari-sslprofiler", name, tabify=True)[1]

    def until(self, so: Callable[[], object], seconds: float = 180.0) -> None:
        """Run the window until something is so."""
        end = time.monotonic() + seconds
        while not so():
            if time.monotonic() > end:
                raise TimeoutError("what the picture should show did not come")
            QApplication.processEvents()
            time.sleep(0.01)

    def rest(self, seconds: float = 0.6) -> None:
        """Let the window settle."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.01)

    def picture(self, name: str) -> None:
        """Take it."""
        self.rest()
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        path = self.out / f"{name}.png"
        Image.fromarray(pixels[..., :3]).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

    def show_plates(self, images: Path, well: str = "") -> Any:
        """Open plates and wait for their contrast."""
        widget = self.open("Plates")
        widget.open([images])
        session = session_of(self.viewer)
        self.until(lambda: len(self.viewer.layers) >= 8 and session.screen is not None and session.screen.scale)
        if well:
            widget.show_well(well)
        self.rest(1.0)
        return widget

    def close(self) -> None:
        """Close it."""
        self.viewer.close()
        QApplication.processEvents()


def plates(window: Window, demo: Path, real: Path) -> None:
    """A plate map and a site."""
    window.show_plates(demo / "plates" / "images")
    window.picture("guide-plates")


def preview(window: Window, demo: Path, real: Path) -> None:
    """The augmentations on a site."""
    there = real.is_dir()
    widget = window.show_plates(real if there else demo / "plates" / "images")
    if there:
        widget.plate_box.setCurrentText("BR00117012")
        window.rest(1.0)
    made = window.open("Augmentation preview")
    window.until(lambda: made.answer is not None)
    window.rest(3.0)
    window.picture("guide-preview")


def train(window: Window, demo: Path, real: Path) -> None:
    """A training with its curves: a run of the demo, followed."""
    window.show_plates(demo / "plates" / "images")
    made = window.open("Train")
    made.setup.choose_recipe("tiny")
    with tempfile.TemporaryDirectory() as folder:
        made.setup.out.setText(str(Path(folder) / "fluorescence"))
        made.setup.form.set("train.steps", 120)
        window.until(made.setup.start_button.isEnabled)
        window.until(lambda: "about" in made.setup.meaning.rows["Time here"].text())
        window.picture("guide-train-setup")
        made.setup.start_button.click()
        window.until(lambda: made.run_panel.state is not None and made.run_panel.state.step >= 90)
        window.picture("guide-train")
        made.run_panel.stop_button.click()
        window.until(lambda: not made.run_panel.state.status.alive)


def embed(window: Window, demo: Path, real: Path) -> None:
    """Plates and runs chosen, at work."""
    window.show_plates(demo / "plates" / "images")
    made = window.open("Embed and profile")
    for run in ("brightfield", "fluorescence"):
        made.add_run(demo / "runs" / run)
    with tempfile.TemporaryDirectory() as folder:
        made.out.setText(str(Path(folder) / "profiles"))
        window.rest()
        made.start()
        window.until(lambda: "left" in made.status.text() or made.browse_button.isVisible())
        window.picture("guide-embed")
        window.until(lambda: made.browse_button.isVisible() or made.start_button.isEnabled())


def browser(window: Window, demo: Path, real: Path) -> None:
    """The demo's wells in the browser, and the neighbours of one on other plates."""
    session_of(window.viewer).table = demo / "wells.parquet"
    made = window.open("Browser")
    window.until(lambda: made.state.table is not None)
    window.until(lambda: not made.jobs.laying_out)
    # What all wells of a plate share would hide what was done to them.
    made.jobs.make_map(centred=True)
    window.until(lambda: not made.jobs.laying_out)
    window.rest(2.0)
    panel = made.findChild(NeighboursPanel)
    panel.not_same["plate"].setChecked(True)
    panel.centred.setChecked(True)
    compounds = list(made.state.metadata["Metadata_Compound"])
    made.state.current = next(row for row, name in enumerate(compounds) if name == "sim-mito-fragmented")
    window.until(lambda: not display_of(window.viewer).busy)
    window.rest(6.0)
    window.picture("browser")


PICTURES = {"plates": plates, "preview": preview, "train": train, "embed": embed, "browser": browser}


def main() -> None:
    """Make the pictures that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--real", type=Path, default=Path("../shared/data/cpjump1/images"))
    parser.add_argument("--only", nargs="*", choices=sorted(PICTURES), default=list(PICTURES))
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    get_settings().appearance.theme = asked.theme
    # A copy under a neutral name: paths are in the pictures.
    place = Path(tempfile.gettempdir()) / "screen-demo"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(asked.demo, place)
    for name in asked.only:
        window = Window(asked.out)
        PICTURES[name](window, place, asked.real)
        window.close()
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
