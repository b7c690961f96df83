"""The plot: finds round ticks, keeps extremes, draws in both themes and whatever it is given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent

from napari_sslprofiler.train.plot import LinePlot, Series, _ticks

pytestmark = pytest.mark.window


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_are_round_and_within(low: float, width: float, most: int) -> None:
    ticks = _ticks(low, low + width, most)
    assert 1 <= len(ticks) <= most + 1
    slack = 1e-6 * width + 8 * math.ulp(abs(low) + width)  # far from 0, neighbouring floats are that far apart
    assert ticks == [low] or all(low - slack <= tick <= low + width + slack for tick in ticks)


def pixels(plot: LinePlot) -> np.ndarray:
    image = plot.grab().toImage()
    return np.array([[image.pixel(x, y) & 0xFFFFFF for x in range(image.width())] for y in range(image.height())])


@pytest.fixture
def plot(qtbot: QtBot) -> LinePlot:
    made = LinePlot("step", "loss", "Nothing yet.")
    qtbot.addWidget(made)
    made.resize(360, 240)
    return made


def test_a_line_is_drawn_in_its_colour_and_a_spike_survives(plot: LinePlot) -> None:
    blank = pixels(plot)
    y = np.ones(5000)
    y[2500] = 2.0
    plot.set_series([Series("total", np.arange(5000.0), y, "#ff0000")], end=10_000)
    drawn = pixels(plot)
    assert not np.array_equal(blank, drawn)
    red = (drawn >> 16 & 255 > 200) & (drawn >> 8 & 255 < 90) & (drawn & 255 < 90)
    rows, columns = np.nonzero(red[40:])  # below the legend
    assert np.ptp(rows) > 100
    assert columns.max() < 0.62 * drawn.shape[1]


@pytest.mark.parametrize(
    "y",
    [
        np.full(3, np.nan),
        np.array([1.0]),
        np.zeros(3),
        np.array([np.nan, 1.0, np.inf, 2.0, -np.inf, np.nan, 3.0]),
        np.zeros(0),
        np.array([1e-30, 1e30]),
    ],
)
def test_odd_values_are_drawn_as_far_as_they_can(y: np.ndarray, plot: LinePlot) -> None:
    plot.set_series([Series("odd", np.arange(float(len(y))), y, "#ff0000", marks=True)])
    assert pixels(plot).size
    plot.resize(30, 30)
    assert pixels(plot).size


def test_values_show_under_the_pointer(plot: LinePlot) -> None:
    lines = [
        Series("total", np.arange(10.0), np.arange(10.0), "#ff0000"),
        Series("chance", np.array([0.0, 9.0]), np.ones(2), "#00ff00", dashed=True),
    ]
    plot.set_series(lines)
    before = pixels(plot)
    none, left = Qt.KeyboardModifier.NoModifier, Qt.MouseButton.NoButton
    at = QPointF(200.0, 120.0)
    plot.mouseMoveEvent(QMouseEvent(QEvent.Type.MouseMove, at, at, left, left, none))
    assert not np.array_equal(before, pixels(plot))
    plot.leaveEvent(None)
    assert np.array_equal(before, pixels(plot))
    assert plot.accessibleDescription() == "total 9; chance 1"
