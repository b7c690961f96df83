"""Fixtures of the plugin's tests."""

from __future__ import annotations

import contextlib
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Do a test that was late again: a freeze of the program's own comes back, a stall of the machine does not."""
    for item in items:
        if "heartbeat" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=["TooLateError"]))


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


def _waited_for_processor() -> dict[str, float]:
    """Seconds for which each thread of this process was ready to run and did not, where the system tells."""
    waited = {}
    for thread in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            waited[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
    return waited


class TooLateError(AssertionError):
    """The window was away for too long."""


class Heartbeat:
    """How long the event loop was away: gaps between the beats of a timer.

    Told apart: drawing, and the time for which a thread was ready but other programs had the processor (Linux). Of all
    threads, for the window waits as well where one that must wait holds Python's lock. And the garbage collector, which
    goes through what all tests before have left in this process.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from qtpy.QtCore import QTimer
        from vispy.scene.canvas import SceneCanvas

        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._beat)
        self._last = 0.0
        self._drawn = 0.0
        self._collected = self._collecting_since = 0.0
        self._waited: dict[str, float] = {}
        self.gaps_ms: list[float] = []
        self.drawing_ms: list[float] = []
        self.waits_ms: list[float] = []
        self.collecting_ms: list[float] = []
        draw = SceneCanvas.on_draw

        def timed(canvas: SceneCanvas, event: object) -> None:
            since = time.perf_counter()
            draw(canvas, event)
            self._drawn += time.perf_counter() - since

        monkeypatch.setattr(SceneCanvas, "on_draw", timed)

    def _beat(self) -> None:
        now, waited = time.perf_counter(), _waited_for_processor()
        wait = max((seconds - self._waited.get(thread, 0.0) for thread, seconds in waited.items()), default=0.0)
        self.gaps_ms.append(1000 * max(0.0, now - self._last - self._drawn - self._collected - wait))
        self.drawing_ms.append(1000 * self._drawn)
        self.waits_ms.append(1000 * wait)
        self.collecting_ms.append(1000 * self._collected)
        self._last, self._drawn, self._collected, self._waited = now, 0.0, 0.0, waited

    def _collect(self, phase: str, _: dict[str, int]) -> None:
        """Count a collection's time on the processor: its start and its stop are told on the thread that collects."""
        if phase == "start":
            self._collecting_since = time.thread_time()
        else:
            self._collected += time.thread_time() - self._collecting_since

    def __enter__(self) -> Heartbeat:
        self.gaps_ms, self.drawing_ms, self.waits_ms, self.collecting_ms = [], [], [], []
        self._last, self._drawn, self._collected = time.perf_counter(), 0.0, 0.0
        self._collecting_since, self._waited = time.thread_time(), _waited_for_processor()
        gc.callbacks.append(self._collect)
        self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.stop()
        gc.callbacks.remove(self._collect)
        self._beat()

    def report(self, what: str) -> str:
        """The figures in words."""
        gaps, drawing = np.array(self.gaps_ms), np.array(self.drawing_ms)
        return (
            f"{what}: {len(gaps)} beats, gaps 95 % {np.percentile(gaps, 95):.0f} ms, worst {gaps.max():.0f} ms; "
            f"drawing {drawing.sum():.0f} ms in all, longest {drawing.max():.0f} ms; "
            f"garbage collector {sum(self.collecting_ms):.0f} ms, longest {max(self.collecting_ms):.0f} ms; "
            f"waited for the processor {sum(self.waits_ms):.0f} ms in all"
        )

    def check(self, what: str) -> None:
        """The window was never away for long: 95 % of the gaps under 100 ms, none over 400 ms, drawing left out."""
        print(self.report(what))
        if np.percentile(self.gaps_ms, 95) >= 100 or max(self.gaps_ms) >= 400:
            raise TooLateError(self.report(what))


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch) -> Heartbeat:
    """``with heartbeat: ...`` while the window works, then ``heartbeat.check("indexing")``."""
    return Heartbeat(monkeypatch)
