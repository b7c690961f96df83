"""How fast does the browser lead to images? Click to site, thumbnails, scrolling, neighbours; from TIFFs and a store.

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX" python benchmarks/browser_images.py [--wells N] [--keep DIR]

Makes a simulated plate of 8 channels at 1080 px (a minute; ``--keep`` uses it again), converts it to a store, and opens
a table of 10,000 rows about its sites. Each figure is of a process of its own with an empty cache on the disk; files
have been read before, so they come from the system's memory. Times end when the window has been drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from browser import machine, seconds

ROWS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wells", type=int, default=24)
    parser.add_argument("--keep", type=Path, help="where the plate and its store are, or are made")
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.table:
        print("FIGURES " + json.dumps(figures(arguments.table)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        make_plates(folder, arguments.wells)
        print(machine())
        found = {}
        for kind, plates in (("TIFF", folder / "images"), ("store", folder / "store.zarr")):
            table = make_table(Path(temporary) / kind, plates, arguments.wells)
            environment = {**os.environ, "XDG_CACHE_HOME": str(Path(temporary) / f"{kind}-cache")}
            command = [sys.executable, __file__, "--table", str(table)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
            if not lines:
                raise SystemExit(done.stderr)
            found[kind] = json.loads(lines[0].removeprefix("FIGURES "))
    print(
        f"\n### Images: 8 channels at 1080 px, a table of {ROWS:,} rows\n\n| what | TIFF | store |\n| --- | --- | --- |"
    )
    for what, value in found["TIFF"].items():
        print(f"| {what} | {seconds(value)} | {seconds(found['store'][what])} |")


def make_plates(folder: Path, wells: int) -> None:
    """A plate as TIFFs and as a store, unless they are there."""
    command = [sys.executable, "-m", "sslprofiler_core.cli"]
    if not (folder / "images").is_dir():
        size = ["--plates", "1", "--wells", str(wells), "--sites", "1", "--size", "1080"]
        subprocess.run([*command, "simulate", str(folder), *size], check=True, capture_output=True)
    if not (folder / "store.zarr").is_dir():
        store = ["convert", str(folder / "images"), "--out", str(folder / "store.zarr")]
        subprocess.run([*command, *store], check=True, capture_output=True)


def make_table(folder: Path, plates: Path, wells: int) -> Path:
    """10,000 rows about the plate's sites, in turn, with features and a map."""
    import pandas as pd

    from sslprofiler_core.exploring.derived import AXES, derived_path, fingerprint
    from sslprofiler_core.plates import open_plates
    from sslprofiler_core.profiling.parquet import write_parquet

    plate = open_plates([plates])[0]
    sites = [plate.sites[row % len(plate.sites)] for row in range(ROWS)]
    rng = np.random.default_rng(0)
    compound = [f"compound {row % wells % 7}" for row in range(ROWS)]
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": [site.plate for site in sites],
            "Metadata_Well": [site.well for site in sites],
            "Metadata_Site": [site.site for site in sites],
            "Metadata_Compound": compound,
        }
    )
    folder.mkdir(parents=True)
    table = folder / "sites.parquet"
    vectors = rng.normal(size=(ROWS, 384)).astype(np.float32)
    info = {"version": "benchmark", "plates": {plate.name: str(plate.root)}}
    write_parquet(table, metadata, {"all_cls": vectors, "all_patch": vectors}, info)
    layout = pd.DataFrame(rng.normal(size=(ROWS, 2)).astype(np.float32), columns=list(AXES))
    made_from = {"kind": "map", "version": 1, "centred": False, "seed": 0, "made_from": fingerprint(table)}
    write_parquet(derived_path(table, "map"), layout, {}, made_from)
    return table


def figures(table: Path) -> dict[str, float]:
    """Seconds of one table."""
    import napari
    from qtpy.QtCore import QEventLoop, QTimer
    from qtpy.QtWidgets import QApplication

    from napari_sslprofiler.browser.widget import BrowserWidget
    from napari_sslprofiler.site_display import display_of
    from napari_sslprofiler.state import session_of

    viewer = napari.Viewer()
    viewer.window.resize(1600, 1100)
    widget = BrowserWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Browse", area="right")
    app = QApplication.instance()
    beat = QTimer()
    beat.start(2)
    display, session, state = display_of(viewer), session_of(viewer), widget.state

    def settle(until: Callable[[], bool]) -> None:
        end = time.perf_counter() + 120
        while not until() and time.perf_counter() < end:
            app.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        app.processEvents()

    def rest(pause: float) -> None:
        end = time.perf_counter() + pause
        settle(lambda: time.perf_counter() > end)

    def timed(act: Callable[[], Any], until: Callable[[], bool]) -> float:
        start = time.perf_counter()
        act()
        settle(until)
        return time.perf_counter() - start

    widget.open(table)
    settle(lambda: widget.map.drawn and session.screen is not None)
    settle(lambda: not (widget.map.busy or widget.jobs.busy or widget.images.busy))
    rest(2.0)

    def click(row: int) -> None:
        assert state.positions is not None
        x, y = widget.map.view.to_pixels(state.positions[row : row + 1])[0]
        widget.map.click(float(x), float(y), "replace")

    def shows(row: int) -> bool:
        assert state.table is not None
        well = state.table.metadata["Metadata_Well"].iloc[row]
        return not display.busy and len(viewer.layers) > 0 and viewer.layers[-1].metadata.get("well") == well

    first = 5
    start = time.perf_counter()
    click(first)
    settle(lambda: len(viewer.layers) > 0 and bool(viewer.layers[0].metadata.get("well")))
    found = {"first click of all, to its first channel": time.perf_counter() - start}
    settle(lambda: shows(int(state.current or 0)))
    found["first click of all, to all 8 channels"] = time.perf_counter() - start
    settle(lambda: not widget.images.busy)
    rest(2.0)
    taken = []
    for row in range(100, 109):
        taken.append(timed(lambda row=row: click(row), lambda: shows(int(state.current or 0))))
        settle(lambda: not (widget.images.busy or widget.map.busy))
        rest(0.3)
    found["click to image"] = statistics.median(taken)
    found["click to image, slowest of 9"] = max(taken)

    neighbours: Any = widget.panel("Neighbours")
    settle(lambda: neighbours.answer is not None)
    settle(lambda: not neighbours.busy)
    taken = []
    for row in range(200, 209):
        before = neighbours.answer
        state_row = row

        def ask(state_row: int = state_row) -> None:
            state.current = state_row

        taken.append(timed(ask, lambda before=before: neighbours.answer is not before))
        settle(lambda: not (neighbours.busy or widget.images.busy or display.busy))
        rest(0.2)
    found["neighbours: click to list, its site on the way too"] = statistics.median(taken)

    state.clear_selection()
    store = neighbours.thumbnails.store
    store._cache.close()  # what neighbours have put there does not count
    store._cache = None
    store._restart()
    start = time.perf_counter()
    gallery: Any = widget.panel("Gallery")
    view = gallery.view
    settle(lambda: len(view.rows) == ROWS)
    settle(lambda: len(view.in_sight()) > 0 and all(store.image(int(row)) is not None for row in view.in_sight()))
    found[f"gallery: first screen ({len(view.in_sight())} thumbnails)"] = time.perf_counter() - start
    settle(lambda: not gallery.busy)
    bar = view.verticalScrollBar()
    taken = []
    for place in np.linspace(0, bar.maximum(), 150).astype(int):
        start = time.perf_counter()
        bar.setValue(int(place))
        app.processEvents()
        taken.append(time.perf_counter() - start)
    found["scrolling over 10,000, a screen or more at once: a frame"] = statistics.median(taken)
    taken = []
    for place in range(0, 3000, 20):
        start = time.perf_counter()
        bar.setValue(place)
        app.processEvents()
        taken.append(time.perf_counter() - start)
    found["scrolling, 20 px at once: a frame"] = statistics.median(taken)
    found["scrolling, 20 px at once: the slowest of 150"] = max(taken)
    settle(lambda: not gallery.busy)
    viewer.close()
    app.processEvents()
    return found


if __name__ == "__main__":
    main()
