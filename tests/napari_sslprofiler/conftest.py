"""Fixtures of the plugin's tests."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from npe2 import PluginManifest

if TYPE_CHECKING:
    from napari import Viewer


@pytest.fixture(scope="session")
def manifest() -> PluginManifest:
    """The manifest as the installed package ships it."""
    found = PluginManifest.from_distribution("napari-sslprofiler")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def _imported() -> Iterator[None]:
    """What windows import, out of the garbage collector's sight: napari's fixture collects after every window."""
    # Tests train in this process. timm brings triton, whose LLVM ends the process when Mesa's software OpenGL has
    # loaded another before it; the plugin itself leaves such work to child processes.
    for module in ("timm", "napari", "napari._qt.qt_viewer", "sslprofiler_core.training"):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def _display() -> None:
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        pytest.skip("opens a window: without a display Qt ends the process; run it under xvfb-run, as `make test` does")


@pytest.fixture
def viewer(_display: None, _imported: None, make_napari_viewer_proxy: Callable[..., Viewer]) -> Viewer:
    """A real window, shown."""
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where a test leaves its screenshots; set SSLPROFILER_PICTURES to keep them and look at them."""
    folder = Path(os.environ.get("SSLPROFILER_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _waited_for_processor() -> float:
    """Seconds for which this thread was ready to run and did not, where the system tells."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class Heartbeat:
    """How long the event loop was away: gaps between the beats of a timer.

    Told apart: drawing, and the time for which this thread was ready but other programs had the processor (Linux).
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from qtpy.QtCore import QTimer
        from vispy.scene.canvas import SceneCanvas

        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._beat)
        self._last = 0.0
        self._drawn = 0.0
        self._waited = 0.0
        self.gaps_ms: list[float] = []
        self.drawing_ms: list[float] = []
        self.waits_ms: list[float] = []
        draw = SceneCanvas.on_draw

        def timed(canvas: SceneCanvas, event: object) -> None:
            since = time.perf_counter()
            draw(canvas, event)
            self._drawn += time.perf_counter() - since

        monkeypatch.setattr(SceneCanvas, "on_draw", timed)

    def _beat(self) -> None:
        now, waited = time.perf_counter(), _waited_for_processor()
        self.gaps_ms.append(1000 * max(0.0, now - self._last - self._drawn - (waited - self._waited)))
        self.drawing_ms.append(1000 * self._drawn)
        self.waits_ms.append(1000 * (waited - self._waited))
        self._last, self._drawn, self._waited = now, 0.0, waited

    def __enter__(self) -> Heartbeat:
        self.gaps_ms, self.drawing_ms, self.waits_ms = [], [], []
        self._last, self._drawn, self._waited = time.perf_counter(), 0.0, _waited_for_processor()
        self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.stop()
        self._beat()

    def report(self, what: str) -> str:
        """The figures in words."""
        gaps, drawing = np.array(self.gaps_ms), np.array(self.drawing_ms)
        return (
            f"{what}: {len(gaps)} beats, gaps 95 % {np.percentile(gaps, 95):.0f} ms, worst {gaps.max():.0f} ms; "
            f"drawing {drawing.sum():.0f} ms in all, longest {drawing.max():.0f} ms; "
            f"waited for the processor {sum(self.waits_ms):.0f} ms in all"
        )

    def check(self, what: str) -> None:
        """The window was never away for long: 95 % of the gaps under 100 ms, none over 400 ms, drawing left out."""
        print(self.report(what))
        assert np.percentile(self.gaps_ms, 95) < 100, self.report(what)
        assert max(self.gaps_ms) < 400, self.report(what)


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch) -> Heartbeat:
    """``with heartbeat: ...`` while the window works, then ``heartbeat.check("indexing")``."""
    return Heartbeat(monkeypatch)
