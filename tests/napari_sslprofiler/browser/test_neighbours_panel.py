"""The panel of neighbours in a real window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from sklearn.neighbors import NearestNeighbors

from napari_sslprofiler.browser import neighbours_panel
from napari_sslprofiler.browser.neighbours_panel import NeighboursPanel
from napari_sslprofiler.browser.state import BrowserState, open_table
from napari_sslprofiler.site_display import display_of
from sslprofiler_core.profiling import write_wells

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window


@pytest.fixture
def panel(screen_state: BrowserState, viewer: Viewer, shown: Any) -> NeighboursPanel:
    made = NeighboursPanel(screen_state, viewer)
    shown(made)
    return made


def test_features_are_read_when_it_is_asked(panel: NeighboursPanel, screen_state: BrowserState, shown: Any) -> None:
    table = screen_state.table
    assert table is not None and not table.features.loaded
    assert "Click a point" in panel.view.empty_words
    screen_state.current = 3
    shown(panel)
    assert table.features.loaded
    assert panel.answer is not None and panel.view.rows.tolist() == [3, *panel.answer.rows]
    assert screen_state.neighbours.tolist() == panel.answer.rows.tolist()
    assert panel.summary.text() == panel.answer.words()
    assert panel.control.text()


def test_filters_are_those_of_scikit_learn(panel: NeighboursPanel, screen_state: BrowserState, shown: Any) -> None:
    screen_state.current = 2
    panel.k.setValue(5)
    panel.not_same["plate"].setChecked(True)
    panel.not_same["compound"].setChecked(True)
    panel.distance.setCurrentIndex(panel.distance.findData("euclidean"))
    shown(panel)
    table = screen_state.table
    assert table is not None and panel.answer is not None
    frame = table.metadata
    other = (frame["Metadata_Plate"] != frame["Metadata_Plate"][2]) & (
        frame["Metadata_Compound"] != frame["Metadata_Compound"][2]
    )
    left = np.flatnonzero(other)
    k = min(5, len(left))
    peer = NearestNeighbors(n_neighbors=k, metric="euclidean").fit(table.features()[left])
    distances, places = peer.kneighbors(table.features()[2:3])
    assert panel.answer.rows.tolist() == left[places[0]].tolist()
    np.testing.assert_allclose(panel.answer.distances, distances[0], rtol=1e-5)


def test_plates_are_centred_where_that_is_asked_for(
    panel: NeighboursPanel, screen_state: BrowserState, shown: Any, tmp_path: Path
) -> None:
    screen_state.current = 2
    shown(panel)
    plain, control = panel.answer, panel.position
    QTest.mouseClick(panel.centred, Qt.MouseButton.LeftButton, pos=QPoint(8, panel.centred.height() // 2))
    shown(panel)
    table = screen_state.table
    assert table is not None and plain is not None and panel.answer is not None
    frame = pd.DataFrame(table.features().astype(np.float64))
    values = (frame - frame.groupby(table.metadata["Metadata_Plate"].to_numpy()).transform("mean")).to_numpy()
    own = (table.metadata["Metadata_Well"] == table.metadata["Metadata_Well"][2]) & (
        table.metadata["Metadata_Plate"] == table.metadata["Metadata_Plate"][2]
    )
    left = np.flatnonzero(~own)
    k = min(12, len(left))
    peer = NearestNeighbors(n_neighbors=k, metric="cosine").fit(values[left])
    assert panel.answer.rows.tolist() == left[peer.kneighbors(values[2:3])[1][0]].tolist()
    assert not np.array_equal(panel.answer.distances, plain.distances)
    assert panel.position is not control
    path = tmp_path / "t.csv"
    pd.DataFrame({"Metadata_Name": list("abc"), "x": [1.0, 2, 4]}).to_csv(path, index=False)
    screen_state.table = open_table(path)
    screen_state.current = 0
    shown(panel)
    assert panel.centred.isHidden() and panel.answer is not None and len(panel.answer.rows) == 2


def test_a_click_shows_it_beside_the_query(
    panel: NeighboursPanel, screen_state: BrowserState, viewer: Viewer, shown: Any, qtbot: QtBot
) -> None:
    screen_state.current = 0
    shown(panel)
    assert panel.answer is not None and screen_state.images is not None
    query = screen_state.images.sites(0)
    assert query is not None
    display = display_of(viewer)
    display.show(query[0], query[1][0])  # as the browser does for the current row
    qtbot.waitUntil(lambda: not display.busy and len(viewer.layers) > 0, timeout=10000)
    box = panel.view._layout.box(1)
    point = QPoint(box.x + 20, box.y + 20)
    QTest.mouseClick(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=point)
    neighbour = int(panel.answer.rows[0])
    assert screen_state.current == 0  # the query stays

    def beside() -> list[Any]:
        return [layer for layer in viewer.layers if layer.translate[-1] > 0]

    qtbot.waitUntil(lambda: len(beside()) >= 3, timeout=10000)
    assert {layer.metadata["well"] for layer in beside()} == {screen_state.metadata["Metadata_Well"].iloc[neighbour]}
    assert "distance" in viewer.canvas.overlays.text.text
    qtbot.wait(500)
    QTest.mouseDClick(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=point)
    assert screen_state.current == neighbour
    qtbot.waitUntil(lambda: not beside(), timeout=10000)
    shown(panel)
    assert panel.view.rows[0] == neighbour


def test_a_group_is_a_query(panel: NeighboursPanel, screen_state: BrowserState, shown: Any) -> None:
    panel.query_box.setCurrentIndex(1)
    assert "Select a group" in panel.view.empty_words
    screen_state.select([1, 2, 3])
    shown(panel)
    assert panel.answer is not None and not np.isin(panel.answer.rows, [1, 2, 3]).any()
    assert panel.summary.text().startswith("Near the mean of 3 wells")


def test_large_features_are_read_when_allowed(
    panel: NeighboursPanel, screen_state: BrowserState, shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours_panel, "ASK_BYTES", 10)
    screen_state.current = 1
    shown(panel)
    table = screen_state.table
    assert table is not None and not table.features.loaded and not panel.read_button.isHidden()
    panel.read_button.click()
    shown(panel)
    assert table.features.loaded and panel.answer is not None and panel.read_button.isHidden()


def test_an_aligned_table_is_warned_of(viewer: Viewer, own_folders: Path, shown: Any, pictures: Path) -> None:
    frame = pd.DataFrame(
        {
            "Metadata_Plate": np.repeat(["P1", "P2"], 8),
            "Metadata_Well": [f"A{i % 8 + 1:02d}" for i in range(16)],
            "Metadata_Compound": ["DMSO", "x"] * 8,
        }
    )
    values = np.random.default_rng(0).normal(size=(8, 6))[np.arange(16) % 8]
    info = {"alignment": {"mode": "transductive", "alpha": 0.5}}
    state = BrowserState()
    state.table = open_table(write_wells(own_folders / "w.parquet", frame, values, info))
    panel = NeighboursPanel(state, viewer)
    shown(panel)
    state.current = 1
    shown(panel)
    assert not panel.warning.isHidden() and "aligned with its own wells" in panel.warning.text()
    assert panel.position is not None and panel.position.strong
    assert "Position control 100 %" in panel.control.text()
    panel.grab().save(str(pictures / "neighbours_aligned.png"))


@pytest.mark.parametrize("rows", [1, 2])
def test_tiny_tables_without_images(
    rows: int, blank_state: Callable[..., BrowserState], viewer: Viewer, shown: Any
) -> None:
    state = blank_state(pd.DataFrame({"Metadata_Plate": ["P"] * rows, "Metadata_Well": ["A01", "A02"][:rows]}))
    panel = NeighboursPanel(state, viewer)
    shown(panel)
    state.current = 0
    shown(panel)
    assert panel.answer is not None and len(panel.answer.rows) == rows - 1
    assert panel.not_same["compound"].isHidden() and panel.same_line.isHidden()
    assert "No position control" in panel.control.text()
