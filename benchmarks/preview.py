"""How long does the window stand still while a preview starts, and how long does a preview take?

    python benchmarks/preview.py [--images PLATES] [--rounds 3]

Three parts. First, an event loop with a timer every 5 ms while torch and the augmentations are imported: in a thread
of the same process, and in a process of their own, in turns; gaps between the timer's beats. Then the time from a
request to its preview, both sites decoded, at several sizes, through the renderer's process, beside the same function
called without it (what the process costs). Last, where there is a display (``xvfb-run -a``), in a real napari window:
from a click on "Another draw" to the new pictures painted, and from the choice of another site to its layers drawn.
The design's limits: 95 % of gaps under 100 ms, none over 400 ms; a preview of 256 px in 200 ms and a site in 400 ms on
two cores. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

IMPORTS = "import torch, sslprofiler_core.augment.pairs, sslprofiler_core.augment.views"

LOOP = f"""
import subprocess, sys, threading, time
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
app = QApplication([])
gaps, last = [], [0.0]
def beat():
    now = time.perf_counter(); gaps.append(now - last[0]); last[0] = now
timer = QTimer(); timer.timeout.connect(beat); timer.start(5)
done = threading.Event()
def work():
    if sys.argv[1] == "thread":
        {IMPORTS}
    else:
        subprocess.run([sys.executable, "-c", {IMPORTS!r}], check=True)
    done.set()
until = time.perf_counter() + 0.3
while time.perf_counter() < until:
    app.processEvents()
gaps.clear(); since = last[0] = time.perf_counter()
threading.Thread(target=work).start()
while not done.is_set():
    app.processEvents()
beat()
print(time.perf_counter() - since, np.percentile(gaps, 95) * 1000, max(gaps) * 1000)
"""


def gaps(where: str) -> list[float]:
    """Seconds taken, 95th percentile and worst of the gaps in ms."""
    ran = subprocess.run(
        [sys.executable, "-c", LOOP, where],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    return [float(word) for word in ran.stdout.split()]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="plates (default: a simulated one of 1080 px, 8 channels)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python "
        f"{platform.python_version()}, torch {version('torch')}, napari {version('napari')}\n"
    )
    print("| torch is imported in | seconds | gaps, 95 % | worst gap |\n| --- | --- | --- | --- |")
    found: dict[str, list[list[float]]] = {"a thread of the window": [], "a process of its own": []}
    for _ in range(options.rounds):
        for name, where in zip(found, ("thread", "process"), strict=True):
            found[name].append(gaps(where))
    worst = {}
    for name, rounds in found.items():
        seconds, most, longest = np.median(rounds, axis=0)
        worst[name] = longest
        every = ", ".join(f"{each[2]:.0f}" for each in rounds)
        print(f"| {name} | {seconds:.1f} | {most:.0f} ms | {longest:.0f} ms (of {every}) |")
    one, other = worst.values()
    print(f"\nThe thread's worst gap is {one / other:.1f} times the process's (medians of {options.rounds} turns).\n")
    with tempfile.TemporaryDirectory() as folder:
        images = options.images
        if images is None:
            from sslprofiler_core.plates import simulate_plates

            images = simulate_plates(Path(folder) / "screen", plates=1, wells=4, sites=4, size=1080) / "images"
        answer_times(images)
        if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
            window_times(images)
        else:
            print("\nNo display: the window was not timed (run this under xvfb-run -a).")


def answer_times(images: Path) -> None:
    """Print how long previews take."""
    import torch

    from napari_sslprofiler.preview.client import Renderer
    from napari_sslprofiler.preview.model import Wish, settle
    from napari_sslprofiler.preview.pairing import Pairings
    from napari_sslprofiler.preview.render import Sites, render
    from sslprofiler_core.plates import measure_scale, open_plates
    from sslprofiler_core.recipes import Recipe

    plates = tuple(open_plates([images]))
    plate = plates[0]
    scale = measure_scale([plate], sites=1)[plate.name]
    rows, columns = plate.shape or (0, 0)
    renderer, sites, pairings = Renderer(), Sites(), Pairings()
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    print(f"Sites of {len(plate.channels)} x {rows} x {columns} px, decoded; 12 draws:\n")
    print("| channels | size | through the process | worst | the function alone | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for group in ("fluorescence", "all"):
        for size in (128, 256, 384, 518):
            there, here = [], []
            for step in range(13):
                wish = Wish(plates, plate, plate.sites[0], Recipe(), group, step, 0, size, scale)
                since = time.perf_counter()
                request = settle(wish, pairings).request
                renderer.ask(request)
                asked = time.perf_counter()
                render(request, sites)
                there.append(1000 * (asked - since))
                here.append(1000 * (time.perf_counter() - asked))
            median, alone = np.median(there[1:]), np.median(here[1:])
            print(
                f"| {group} | {size} px | {median:.0f} ms | {max(there[1:]):.0f} ms | {alone:.0f} ms | "
                f"{median / alone:.2f} |"
            )
    renderer.close()


def window_times(images: Path) -> None:
    """Print how long a real window takes to answer."""
    import napari
    from qtpy.QtCore import QCoreApplication
    from vispy.scene.canvas import SceneCanvas

    from napari_sslprofiler.preview.canvas import ViewsCanvas
    from napari_sslprofiler.site_display import display_of
    from napari_sslprofiler.state import Screen, session_of
    from sslprofiler_core.plates import measure_scale, open_plates

    painted = {"views": 0.0, "canvas": 0.0}
    paint, draw = ViewsCanvas.paintEvent, SceneCanvas.on_draw

    def paint_views(canvas: Any, event: Any) -> None:
        paint(canvas, event)
        painted["views"] = time.perf_counter()

    def draw_canvas(canvas: Any, event: Any) -> None:
        draw(canvas, event)
        painted["canvas"] = time.perf_counter()

    ViewsCanvas.paintEvent, SceneCanvas.on_draw = paint_views, draw_canvas

    def wait(done: Callable[[], bool], limit_s: float = 60.0) -> None:
        until = time.perf_counter() + limit_s
        while not done():
            if time.perf_counter() > until:
                raise SystemExit("the window did not answer in a minute")
            QCoreApplication.processEvents()
            time.sleep(0.001)

    def rest(seconds: float) -> None:
        until = time.perf_counter() + seconds
        wait(lambda: time.perf_counter() > until)

    plates = tuple(open_plates([images]))
    plate = plates[0]
    viewer = napari.Viewer()
    session, display = session_of(viewer), display_of(viewer)
    session.screen = Screen(plates, (images,), measure_scale([plate], sites=1))
    display.show(plate, plate.sites[0])
    wait(lambda: len(viewer.layers) == len(plate.channels) and not display.busy)
    _, made = viewer.window.add_plugin_dock_widget("napari-sslprofiler", "Augmentation preview")
    wait(lambda: made.answer is not None and made.answer.exact)
    rest(3.0)  # the renderer loads its compiled loops meanwhile
    print(f"\nA napari window of {viewer.window.geometry()[2:]} px; {len(plate.channels)} channels; 20 clicks each:\n")
    print("| from the click to | median | worst |\n| --- | --- | --- |")
    for group in ("fluorescence", "all"):
        made.bar.group_box.setCurrentIndex(made.bar.group_box.findData(group))
        rest(2.0)
        times = []
        for _ in range(20):
            before, since = made.answer, time.perf_counter()
            made.bar.another_button.click()
            wait(lambda before=before: made.answer is not before)
            arrived = time.perf_counter()
            wait(lambda arrived=arrived: painted["views"] > arrived)
            times.append(1000 * (painted["views"] - since))
            rest(0.1)
        print(f"| new pictures of {group} at 256 px | {np.median(times):.0f} ms | {max(times):.0f} ms |")
    times = []
    for number in range(20):
        site = plate.sites[1 + number % (len(plate.sites) - 1)]
        since = time.perf_counter()
        display.show(plate, site)
        wait(lambda: not display.busy)
        arrived = time.perf_counter()
        wait(lambda arrived=arrived: painted["canvas"] > arrived)
        times.append(1000 * (painted["canvas"] - since))
        rest(0.5)
    print(f"| another site, the preview open | {np.median(times):.0f} ms | {max(times):.0f} ms |")
    viewer.close()


if __name__ == "__main__":
    main()
