"""The preview opens, starts its renderer and follows a slider on real sites while the window lives."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtWidgets import QSlider

from napari_sslprofiler.preview.widget import PreviewWidget
from napari_sslprofiler.site_display import display_of
from napari_sslprofiler.state import Screen, session_of
from sslprofiler_core.plates import open_plates

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window


def test_while_the_preview_starts_and_follows_a_slider(
    viewer: Viewer, cpjump1: Path, heartbeat: Any, qtbot: QtBot, capsys: pytest.CaptureFixture[str]
) -> None:
    plates = tuple(open_plates([cpjump1 / "images" / "BR00117012"]))
    session = session_of(viewer)
    session.screen = Screen(plates, (cpjump1 / "images" / "BR00117012",))
    display_of(viewer).show(plates[0], plates[0].sites[0])
    qtbot.waitUntil(lambda: len(viewer.layers) == 8, timeout=30_000)
    qtbot.wait(300)
    since = time.perf_counter()
    with heartbeat:
        _, made = viewer.window.add_plugin_dock_widget("napari-sslprofiler", "Augmentation preview")
        assert isinstance(made, PreviewWidget)
        qtbot.waitUntil(lambda: made.answer is not None and made.answer.exact, timeout=60_000)
        qtbot.wait(200)
    with capsys.disabled():
        print(f"\nfirst preview after {time.perf_counter() - since:.1f} s, torch's import in its process included")
        heartbeat.check("opening the preview")
    made.bar.group_box.setCurrentIndex(made.bar.group_box.findData("all"))
    qtbot.waitUntil(lambda: made.answer is not None and len(made.answer.settled.request.names) == 8, timeout=30_000)
    qtbot.wait(1000)
    slider = made.form.control("augment.brightness").findChild(QSlider)
    assert slider is not None
    answers, times = [], []
    with heartbeat:
        for place in range(0, 1001, 25):
            slider.setValue(place)
            qtbot.wait(20)
            answers.append(made.answer)
        qtbot.waitUntil(lambda: not made._asked and not made._waiting, timeout=10_000)
    seen = len({id(answer) for answer in answers})
    for _ in range(7):
        since = time.perf_counter()
        made.bar.another_button.click()
        before = made.answer
        qtbot.waitUntil(lambda before=before: made.answer is not before, timeout=10_000)
        times.append(1000 * (time.perf_counter() - since))
    with capsys.disabled():
        print(
            f"\npreview at 256 px of 8 x 1080 x 1080 px sites: median {np.median(times):.0f} ms, worst "
            f"{max(times):.0f} ms; {seen} pictures in 41 moves of a slider 20 ms apart"
        )
        heartbeat.check("following a slider")
    assert seen > 2  # at all while it moves; how many is the machine's business
