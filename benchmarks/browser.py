"""How fast is the browser? A million rows and 2,500 wells: first picture, recolour, lasso, hover, memory; neighbours.

    xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX" python benchmarks/browser.py
        [--rows N] [--skip-peer] [--peer-python PYTHON]

The same points are shown by peers, each in a process of its own: napari-clusters-plotter, where ``--peer-python`` is an
interpreter that has it, and napari's Points layer, which people use without it. Figures are medians of several; first
pictures of large tables, and all of the peers', are taken once. A first picture is from the click to the drawn map,
with imports and the empty window not counted; the first table of a process, which pays for some, stands apart. Times
end when the window's frame with the answer has been drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

COMPOUNDS = 40
FEW = 100_000  # rows of a table whose first picture is taken five times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--skip-peer", action="store_true")
    parser.add_argument("--peer-python", default="", help="an interpreter with napari-clusters-plotter")
    parser.add_argument("--peer", choices=("points", "plotter"), help=argparse.SUPPRESS)
    parser.add_argument("--places", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        data = np.load(arguments.places)
        measure = peer_points if arguments.peer == "points" else peer_plotter
        print("FIGURES " + json.dumps(measure(data["places"], data["codes"])))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(machine())
        for rows in (2_500, arguments.rows):
            table = make_table(Path(folder) / f"rows{rows}", rows)
            ours = browser_figures(table)
            peers = {}
            if not arguments.skip_peer:
                peers["napari Points layer"] = run_peer(sys.executable, "points", table)
                if arguments.peer_python:
                    peers["napari-clusters-plotter"] = run_peer(arguments.peer_python, "plotter", table)
            print(report(rows, ours, peers))
    print(neighbours_report())


def machine() -> str:
    import napari
    import vispy
    from qtpy import API_NAME

    versions = f"Python {platform.python_version()}, napari {napari.__version__}, vispy {vispy.__version__}, {API_NAME}"
    return f"{platform.platform()}, {os.cpu_count()} cores, {versions}; under Xvfb OpenGL is software"


def make_table(folder: Path, rows: int) -> Path:
    """A sites table of 40 compounds in 40 clouds, its map beside it, as ``embed`` and a browser leave them."""
    import pandas as pd

    from sslprofiler_core.exploring.derived import AXES, derived_path, fingerprint
    from sslprofiler_core.profiling.parquet import write_parquet

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    codes = rng.integers(0, COMPOUNDS, rows)
    places = (rng.normal(size=(COMPOUNDS, 2)) * 9)[codes] + rng.normal(size=(rows, 2))
    wells = np.array([f"{chr(65 + r)}{c + 1:02d}" for r in range(16) for c in range(24)])
    plate = np.arange(rows) // 3456
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": [f"BR{p:05d}" for p in plate],
            "Metadata_Well": wells[np.arange(rows) // 9 % 384],
            "Metadata_Site": np.arange(rows) % 9 + 1,
            "Metadata_Compound": [f"compound {c:02d}" for c in codes],
            "Metadata_CellType": np.where(plate % 2, "U2OS", "A549"),
            "Metadata_Intensity": rng.normal(size=rows),
        }
    )
    table = folder / "sites.parquet"
    vectors = rng.normal(size=(rows, 8)).astype(np.float32)
    write_parquet(table, metadata, {"all_cls": vectors, "all_patch": vectors}, {"version": "benchmark"})
    layout = pd.DataFrame(places.astype(np.float32), columns=list(AXES))
    info = {"kind": "map", "version": 1, "centred": False, "seed": 0, "made_from": fingerprint(table)}
    write_parquet(derived_path(table, "map"), layout, {}, info)
    np.savez(folder / "places.npz", places=places.astype(np.float32), codes=codes)
    return table


def memory() -> float:
    """MB in use by this process now."""
    import gc

    gc.collect()
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def browser_figures(table: Path) -> dict[str, float]:
    """Seconds and MB of our browser in a napari window."""
    import napari
    from qtpy.QtCore import QEvent, QEventLoop, QObject, QTimer
    from qtpy.QtWidgets import QApplication

    from napari_sslprofiler.browser.widget import BrowserWidget

    class Window(QObject):
        """Tells whether a window's frame was painted with an answer on it."""

        answered: Callable[[], bool] = staticmethod(lambda: False)
        shown = False

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 - Qt's name
            if event.type() == QEvent.Type.UpdateRequest and self.answered():
                self.shown = True
            return False

    viewer = napari.Viewer()
    viewer.window.resize(1600, 1100)
    widget = BrowserWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Browse", area="right")
    app = QApplication.instance()
    beat = QTimer()
    beat.start(2)  # the event loop sleeps in between, as a person's does

    def settle(until: Callable[[], bool]) -> None:
        end = time.perf_counter() + 120
        while not until() and time.perf_counter() < end:
            app.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents)
        app.processEvents()

    def rest(pause: float) -> None:
        end = time.perf_counter() + pause
        settle(lambda: time.perf_counter() > end)

    def drawn() -> bool:
        return widget.map.drawn and not widget.map.drawing

    def timed(act: Callable[[], object], repeats: int = 5) -> float:
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            before = widget.map.frames
            act()
            settle(lambda before=before: drawn() and widget.map.frames > before)
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    def open_it(path: Path) -> float:
        start = time.perf_counter()
        widget.open(path)
        settle(lambda: widget.state.table is not None and widget.state.table.path == path and drawn())
        return time.perf_counter() - start

    settle(lambda: widget.isVisible() and widget.map.frames > 0)
    rest(2.0)
    first = open_it(make_table(table.parent / "first", 100))
    rest(1.5)
    settle(lambda: not (widget.map.busy or widget.jobs.busy))
    before = memory()
    figures = {"first picture": open_it(table), "first table of a process (100 rows)": first}
    rest(1.5)
    settle(lambda: not (widget.map.busy or widget.jobs.busy))
    state = widget.state
    assert state.table is not None
    held = float(state.table.metadata.memory_usage(deep=True).sum()) / 2**20
    figures["memory above the metadata, MB"] = memory() - before - held
    if len(state) <= FEW:
        again = []
        for i in range(4):
            other = make_table(table.parent / f"other{i}", len(state))
            rest(1.5)
            again.append(open_it(other))
        figures["first picture"] = statistics.median([figures["first picture"], *again])
        rest(1.5)
    columns = iter(["Metadata_CellType", "Metadata_Intensity", "Metadata_Compound"] * 4)
    figures["recolour"] = timed(lambda: state.colour_by(next(columns)))
    middle = (widget.map.width() / 2, widget.map.height() / 2)
    angles = np.linspace(0, 2 * np.pi, 200)
    radius = 0.3 * min(middle)
    shift = iter(range(100))

    def lasso() -> None:
        x = middle[0] + 3 * next(shift)
        corners = [(x + radius * np.cos(a), middle[1] + radius * np.sin(a)) for a in angles]
        widget.map.select_within(corners, False, "replace")

    start = time.perf_counter()
    for _ in range(5):
        lasso()
    figures["lasso (rows found and told)"] = (time.perf_counter() - start) / 5
    figures["lasso, drawn"] = timed(lasso)
    state.clear_selection()
    settle(drawn)
    rng = np.random.default_rng(0)
    places = rng.uniform(0.2, 0.8, (200, 2)) * (widget.map.width(), widget.map.height())
    start = time.perf_counter()
    for x, y in places:
        widget.map.hover(x, y)
    figures["hover"] = (time.perf_counter() - start) / len(places)
    state.colour_by("Metadata_Compound")
    entry = state.colouring.entries[0]
    figures["hide a category"] = timed(lambda: state.toggle_entry(state.colouring.entries[entry.code]))
    state.show_all()
    moves = iter([1.3, 1 / 1.3] * 10)
    figures["zoom"] = timed(lambda: setattr(widget.map, "view", widget.map.view.zoomed(next(moves), *middle)))
    widget.map.mode = "points"
    settle(drawn)
    figures["recolour, each row a point"] = timed(lambda: state.colour_by(next(columns)), 3)
    assert not state.table.features.loaded  # nobody has asked for neighbours

    window = Window()
    widget.window().installEventFilter(window)

    def painted(answered: Callable[[], bool]) -> None:
        window.answered, window.shown = answered, False
        settle(lambda: window.shown)

    figures.update(panel_figures(widget, settle, rest, painted))
    viewer.close()
    app.processEvents()
    return figures


def panel_figures(
    widget: Any,
    settle: Callable[[Callable[[], bool]], None],
    rest: Callable[[float], None],
    painted: Callable[[Callable[[], bool]], None],
) -> dict[str, float]:
    """Seconds of the panels: from a wish to the window's frame that has its answer."""
    state = widget.state
    rows = len(state)

    def median(acts: list[Callable[[], object]], until: Callable[[], bool]) -> float:
        taken = []
        for act in acts:
            start = time.perf_counter()
            act()
            painted(until)
            taken.append(time.perf_counter() - start)
            rest(0.2)
        return statistics.median(taken)

    figures = {}
    table = widget.panel("Table")
    settle(lambda: not table.busy and len(table.model.rows) == rows)
    rest(0.3)
    sorts = [lambda name=name: (setattr(table, "sort", (name, True)), table._arrange()) for name in table.columns[:5]]
    figures["table: sort"] = median(sorts, lambda: not table.busy)
    groups = np.random.default_rng(1).random((5, rows)) < 0.02
    selects = [lambda group=group: state.select(group) for group in groups]
    figures["table: show a selection"] = median(selects, lambda: not table.busy)
    gallery = widget.panel("Gallery")
    settle(lambda: not gallery._ordering.busy)
    rest(0.3)
    figures["gallery: show a selection"] = median(selects, lambda: not gallery._ordering.busy)
    plates = widget.panel("Plates")
    rest(0.5)
    columns = ("Metadata_CellType", "Metadata_Intensity", "Metadata_Compound")
    figures["plates: recolour"] = median(
        [lambda name=name: state.colour_by(name) for name in columns], lambda: not getattr(plates, "busy", False)
    )
    state.clear_selection()
    neighbours = widget.panel("Neighbours")
    state.current = 0
    settle(lambda: neighbours.answer is not None and not neighbours.busy)
    asks = [lambda row=row: setattr(state, "current", row) for row in range(10, 15)]
    figures["neighbours: click to list"] = median(
        asks, lambda: neighbours.answer is not None and neighbours.answer.question.rows[0] == state.current
    )
    return figures


def run_peer(python: str, kind: str, table: Path) -> dict[str, float]:
    """A peer's figures, from a process of its own; empty where it fails."""
    command = [python, __file__, "--peer", kind, "--places", str(table.parent / "places.npz")]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if not lines:
        print(f"(no figures of {kind}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]})")
        return {}
    found: dict[str, float] = json.loads(lines[0].removeprefix("FIGURES "))
    return found


def peer_points(places: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """napari's Points layer with the compound as a feature."""
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    viewer.window.resize(1600, 1100)
    app = QApplication.instance()
    app.processEvents()
    start = time.perf_counter()
    cycle = ["red", "green", "blue", "yellow", "cyan", "magenta"]
    features = {"compound": codes, "other": (codes + 1) % 7}
    layer = viewer.add_points(
        places[:, ::-1], features=features, face_color="compound", face_color_cycle=cycle, size=0.05
    )
    viewer.reset_view()
    app.processEvents()
    viewer.screenshot(flash=False)
    figures = {"first picture": time.perf_counter() - start}
    start = time.perf_counter()
    layer.face_color = "other"
    app.processEvents()
    viewer.screenshot(flash=False)
    figures["recolour"] = time.perf_counter() - start
    return figures


def peer_plotter(places: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """napari-clusters-plotter on a Points layer whose features hold the map; the layer is there before time starts."""
    import napari
    import pandas as pd
    from napari_clusters_plotter import PlotterWidget
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    viewer.window.resize(1600, 1100)
    app = QApplication.instance()
    widget = PlotterWidget(viewer)
    viewer.window.add_dock_widget(widget)
    features = pd.DataFrame({"a": places[:, 0], "b": places[:, 1], "value": codes.astype(float)})
    layer = viewer.add_points(places[:, ::-1], features=features, size=0.05)
    viewer.reset_view()
    viewer.layers.selection.active = layer
    app.processEvents()

    def draw() -> None:
        app.processEvents()
        widget.plotting_widget.canvas.draw()
        viewer.screenshot(flash=False)  # it colours the layer too

    start = time.perf_counter()
    widget.x_axis = "a"
    widget.y_axis = "b"
    draw()
    figures = {"first picture": time.perf_counter() - start}
    start = time.perf_counter()
    widget.hue_axis = "value"
    draw()
    figures["recolour"] = time.perf_counter() - start
    return figures


def report(rows: int, ours: dict[str, float], peers: dict[str, dict[str, float]]) -> str:
    """Markdown: a line a figure."""
    lines = ["", f"### {rows:,} rows", "", "| what | browser | " + "".join(f"{name} | ratio | " for name in peers)]
    lines.append("| --- | --- |" + " --- | --- |" * len(peers))
    for what, value in ours.items():
        cells = [what, f"{value:.0f}" if "MB" in what else seconds(value)]
        for figures in peers.values():
            other = figures.get(what)
            cells += ["", ""] if other is None else [seconds(other), f"{other / value:.0f} x"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1.0 else f"{1000 * value:.1f} ms"


def neighbours_report(rows: int = 100_000, width: int = 768) -> str:
    """One query among many, with and without filters, beside scikit-learn's brute force."""
    import pandas as pd
    from sklearn.neighbors import NearestNeighbors

    from sslprofiler_core.exploring import NeighbourIndex

    rng = np.random.default_rng(0)
    features = rng.normal(size=(rows, width)).astype(np.float32)
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": [f"P{i // 3456}" for i in range(rows)],
            "Metadata_Well": [f"A{i // 9 % 24 + 1:02d}" for i in range(rows)],
            "Metadata_Compound": rng.integers(0, 300, rows).astype(str),
        }
    )
    start = time.perf_counter()
    index = NeighbourIndex(features, metadata)
    made = time.perf_counter() - start
    queries = rng.integers(0, rows, 20)

    def median(act: Callable[[int], object]) -> float:
        taken = []
        for query in queries:
            start = time.perf_counter()
            act(int(query))
            taken.append(time.perf_counter() - start)
        return statistics.median(taken)

    plain = median(lambda q: index.query([q], 20))
    filtered = median(lambda q: index.query([q], 20, exclude=["plate", "compound"]))
    peer = NearestNeighbors(n_neighbors=20, metric="cosine", algorithm="brute").fit(features)
    theirs = median(lambda q: peer.kneighbors(features[q : q + 1]))
    return (
        f"\n### Neighbours: one query among {rows:,} x {width}, k = 20\n\n"
        f"index made once in {seconds(made)}; a query {seconds(plain)}, not the same plate or compound "
        f"{seconds(filtered)}; scikit-learn without a filter {seconds(theirs)} ({theirs / plain:.1f} x)"
    )


if __name__ == "__main__":
    main()
