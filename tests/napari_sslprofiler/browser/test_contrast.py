"""Contrast is measured once a plate, one plate after the other, for whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from napari_sslprofiler.browser import contrast
from napari_sslprofiler.browser.contrast import ContrastMeter
from napari_sslprofiler.state import Screen, Session
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Plate, open_plates


def test_each_plate_is_measured_once_and_the_screen_learns_it(
    simulated: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    plates = open_plates([simulated / "images"])
    session = Session()
    session.screen = Screen(tuple(plates), (simulated / "images",))
    asked: list[str] = []

    def measure(plate: Plate, report: object) -> dict[str, tuple[float, float]]:
        asked.append(plate.name)
        if len(asked) == 1:
            raise UserError("a file is gone")
        return {"DNA": (1.0, 2.0)}

    monkeypatch.setattr(contrast, "measure_contrast", measure)
    meter = ContrastMeter(session)
    heard: list[str] = []
    meter.measured.connect(lambda name, limits: heard.append(name))
    for plate in (plates[0], plates[1], plates[0], plates[1]):
        meter.want(plate)
    qtbot.waitUntil(lambda: not meter.busy, timeout=5000)
    assert asked == [plates[0].name, plates[1].name]  # one that fails holds nobody up
    assert heard == [plates[1].name]
    assert session.screen is not None and session.screen.scale == {plates[1].name: {"DNA": (1.0, 2.0)}}
    other = ContrastMeter(session)
    other.want(plates[1])
    assert not other.busy
