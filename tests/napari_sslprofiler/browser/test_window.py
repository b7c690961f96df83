"""The browser in a real window: open, colour, hover, click to image, lasso, save and reopen, pictures, bad tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import platformdirs
import pytest
from PIL import Image
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent, QImage, QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_sslprofiler.browser import map_drawing
from napari_sslprofiler.browser.palette import rgb
from napari_sslprofiler.browser.widget import BrowserWidget
from napari_sslprofiler.site_display import display_of
from napari_sslprofiler.state import session_of
from sslprofiler_core.exploring.derived import AXES, derived_path, fingerprint
from sslprofiler_core.plates import load_metadata, open_plates
from sslprofiler_core.profiling.parquet import write_parquet
from sslprofiler_core.profiling.tables import write_wells

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

pytestmark = pytest.mark.window


@pytest.fixture(autouse=True)
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered is remembered in the test's folder."""
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda name: str(tmp_path / "config"))


@pytest.fixture
def table(simulated: Path, tmp_path: Path) -> Path:
    """The wells of the simulated plates with a map beside them, which says nothing of where the images are."""
    return write_table(simulated, tmp_path)


def write_table(simulated: Path, folder: Path, roots: bool = True) -> Path:
    plates = open_plates([simulated / "images"])
    metadata = load_metadata(simulated / "metadata", plates)
    rng = np.random.default_rng(0)
    metadata["Metadata_Score"] = rng.normal(size=len(metadata))
    vectors = rng.normal(size=(len(metadata), 8))
    info = {"plates": {plate.name: str(plate.root) for plate in plates}} if roots else {}
    path = write_wells(folder / "wells.parquet", metadata, vectors, info)
    write_map(path, rng.normal(size=(len(metadata), 2)))
    return path


def write_map(path: Path, places: np.ndarray) -> None:
    info = {"kind": "map", "version": 1, "centred": False, "seed": 0, "made_from": fingerprint(path), "note": "UMAP."}
    frame = pd.DataFrame(places.astype(np.float32), columns=list(AXES))
    write_parquet(derived_path(path, "map"), frame, {}, info)


@pytest.fixture
def browser(viewer: Viewer, qtbot: QtBot) -> Iterator[BrowserWidget]:
    widget = BrowserWidget(viewer)
    viewer.window.resize(1280, 800)
    viewer.window.add_dock_widget(widget, name="Browse", area="right")
    qtbot.waitUntil(lambda: widget.map.frames > 0, timeout=10000)
    yield widget
    widget.jobs.stop()
    qtbot.waitUntil(lambda: not (widget.map.busy or widget.images.busy or widget.jobs.busy), timeout=20000)


@pytest.fixture
def opened(browser: BrowserWidget, table: Path, qtbot: QtBot) -> BrowserWidget:
    return open_in(browser, table, qtbot)


def open_in(browser: BrowserWidget, path: Path, qtbot: QtBot) -> BrowserWidget:
    browser.open(path)
    qtbot.waitUntil(lambda: browser.state.positions is not None, timeout=10000)
    settle(browser, qtbot)
    return browser


def settle(browser: BrowserWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not (browser.map.busy or browser.images.busy), timeout=20000)
    qtbot.wait(60)


def pixel_of(browser: BrowserWidget, row: int) -> QPoint:
    positions = browser.state.positions
    assert positions is not None
    x, y = browser.map.view.to_pixels(positions[row : row + 1])[0]
    return QPoint(round(float(x)), round(float(y)))


def far_row(browser: BrowserWidget) -> int:
    """A row whose neighbours on the map are far, and that lies clear of the tools."""
    positions = browser.state.positions
    assert positions is not None
    distance = np.linalg.norm(positions[:, None] - positions, axis=2)
    np.fill_diagonal(distance, np.inf)
    pixels = browser.map.view.to_pixels(positions)
    clear = (pixels[:, 0] > 60) | (pixels[:, 1] > 260)
    return int(np.where(clear, distance.min(axis=1), -1).argmax())


def test_points_are_drawn_in_their_colours(opened: BrowserWidget, qtbot: QtBot) -> None:
    state = opened.state
    state.colour_by("Metadata_Plate")
    settle(opened, qtbot)
    assert [entry.text for entry in opened.legend.entries()] == ["SIM00001", "SIM00002"]
    row = far_row(opened)
    image = opened.map.grab_map()
    scale = image.shape[1] / opened.map.width()
    at = pixel_of(opened, row)
    seen = image[round(at.y() * scale), round(at.x() * scale), :3].astype(int)
    np.testing.assert_allclose(seen, rgb(state.colouring.colour(row)), atol=40)
    # Hiding the plate takes the point away.
    state.toggle_entry(next(e for e in state.colouring.entries if e.code == state.colouring.codes[row]))
    settle(opened, qtbot)
    gone = opened.map.grab_map()[round(at.y() * scale), round(at.x() * scale), :3].astype(int)
    assert np.abs(gone - seen).sum() > 60
    assert "hidden" in opened.legend.filtered.text() and opened.legend.show_all.isVisible()
    opened.legend.show_all.click()
    assert state.filter.all() and not opened.legend.show_all.isVisible()


def test_map_and_legend_fit_side_by_side_into_the_smallest_window(browser: BrowserWidget, qtbot: QtBot) -> None:
    browser.setFixedWidth(browser.minimumWidth())
    qtbot.waitUntil(lambda: browser.split.width() < browser.minimumWidth())
    places = [part.mapTo(browser, QPoint(0, 0)).x() for part in (browser.map, browser.legend)]
    assert places[0] + browser.map.width() <= places[1]
    assert places[1] + browser.legend.width() <= browser.width()


def test_the_density_is_drawn_and_its_button_turns(opened: BrowserWidget, qtbot: QtBot) -> None:
    assert not opened.map.dense
    opened.tools.buttons["density"].click()
    settle(opened, qtbot)
    assert opened.map.dense and opened.map.mode == "density"
    assert len(np.unique(opened.map.grab_map().reshape(-1, 3), axis=0)) > 5
    opened.tools.buttons["density"].click()
    settle(opened, qtbot)
    assert not opened.map.dense and opened.map.mode == "auto"


def test_of_very_many_rows_those_in_view_are_drawn_and_many_are_painted(
    opened: BrowserWidget, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = opened.state
    state.colour_by("Metadata_Plate")
    row = far_row(opened)
    settle(opened, qtbot)

    def colour_at_row() -> np.ndarray:
        settle(opened, qtbot)
        image, at = opened.map.grab_map(), pixel_of(opened, row)
        scale = image.shape[1] / opened.map.width()
        return image[round(at.y() * scale), round(at.x() * scale), :3].astype(int)

    wanted = rgb(state.colouring.colour(row))
    monkeypatch.setattr(map_drawing, "MANY", 5)
    state.select([row, (row + 1) % len(state)])  # the two stand out
    np.testing.assert_allclose(colour_at_row(), wanted, atol=40)
    assert not opened.map._canvas.pictured
    monkeypatch.setattr(map_drawing, "DENSE", 5)
    opened.map.mode = "points"
    np.testing.assert_allclose(colour_at_row(), wanted, atol=40)
    assert opened.map._canvas.pictured and not opened.map.dense
    # Nearer, few are in view: they are points again, and stay where they belong when dragged.
    opened.map.view = opened.map.view.zoomed(30.0, pixel_of(opened, row).x(), pixel_of(opened, row).y())
    np.testing.assert_allclose(colour_at_row(), wanted, atol=40)
    assert not opened.map._canvas.pictured
    opened.map.view = opened.map.view.moved(15, 10)
    np.testing.assert_allclose(colour_at_row(), wanted, atol=40)


def test_a_change_is_drawn_in_one_frame(opened: BrowserWidget, qtbot: QtBot) -> None:
    settle(opened, qtbot)
    for act in (
        lambda: opened.state.colour_by("Metadata_Plate"),
        lambda: opened.state.toggle_entry(opened.state.colouring.entries[0]),
        lambda: opened.state.select([1, 2, 3]),
        opened.state.show_all,
    ):
        before = opened.map.frames
        act()
        settle(opened, qtbot)
        assert opened.map.frames == before + 1


def test_hovering_tells_and_shows_a_card_with_a_thumbnail(opened: BrowserWidget, qtbot: QtBot) -> None:
    row = far_row(opened)
    picture = QImage(40, 40, QImage.Format.Format_RGB32)
    picture.fill(Qt.GlobalColor.red)
    calls: list[int] = []

    def thumbnail(asked: int) -> QImage | None:
        calls.append(asked)  # it is there when asked for the third time
        return picture if asked == row and len(calls) > 2 else None

    opened.state.thumbnail_for = thumbnail
    # Sent to the widget: the display's one pointer tells only the topmost window of its moves.
    at, none = pixel_of(opened, row) + QPoint(1, 1), Qt.MouseButton.NoButton
    assert opened.map.overlay.hasMouseTracking()
    places = (QPointF(at), QPointF(opened.map.overlay.mapToGlobal(at)))
    move = QMouseEvent(QEvent.Type.MouseMove, *places, none, none, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(opened.map.overlay, move)
    qtbot.waitUntil(lambda: opened.state.hovered == row, timeout=10_000)
    assert opened.map.card.isVisible() and opened.map.card.row == row
    assert opened.state.table is not None
    name = opened.state.table.row_name(row)
    words = opened.map.card.findChildren(type(opened.status).__mro__[1])
    assert any(name in label.text() for label in words)
    qtbot.waitUntil(lambda: any(label.isVisible() and not label.pixmap().isNull() for label in words), timeout=10_000)
    opened.map.leave()
    assert opened.state.hovered is None and not opened.map.card.isVisible()


def test_a_click_leads_to_the_image(opened: BrowserWidget, viewer: Viewer, qtbot: QtBot) -> None:
    row = far_row(opened)
    QTest.mouseClick(opened.map.overlay, Qt.MouseButton.LeftButton, pos=pixel_of(opened, row))
    assert opened.state.current == row and opened.state.selected_rows().tolist() == [row]
    qtbot.waitUntil(lambda: len(viewer.layers) > 0 and not display_of(viewer).busy, timeout=20000)
    shown = session_of(viewer).shown
    assert shown is not None and opened.state.table is not None
    own = opened.state.table.metadata.iloc[row]
    assert (shown.plate, shown.well) == (own["Metadata_Plate"], own["Metadata_Well"])
    screen = session_of(viewer).screen
    assert screen is not None
    # And back: a site that another widget shows makes its row the current one.
    other = next(site for site in screen.plates[0].sites if site.well != shown.well)
    display_of(viewer).show(screen.plates[0], other)
    own = opened.state.table.metadata.iloc[opened.state.current]
    assert (own["Metadata_Plate"], own["Metadata_Well"]) == (other.plate, other.well)
    qtbot.waitUntil(lambda: not opened.images.busy, timeout=20000)
    qtbot.wait(200)


def test_lasso_and_rectangle_add_remove_and_invert(opened: BrowserWidget, qtbot: QtBot) -> None:
    state, overlay = opened.state, opened.map.overlay
    opened.tools.buttons["rectangle"].click()
    left = opened.map.width() // 2

    def drag(a: QPoint, b: QPoint, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        QTest.mousePress(overlay, Qt.MouseButton.LeftButton, keys, a)
        for step in (0.3, 0.6, 1.0):
            QTest.mouseMove(overlay, a + (b - a) * step)
        QTest.mouseRelease(overlay, Qt.MouseButton.LeftButton, keys, b)

    drag(QPoint(1, 1), QPoint(left, opened.map.height() - 1))
    assert state.positions is not None
    on_left = opened.map.view.to_pixels(state.positions)[:, 0] <= left
    np.testing.assert_array_equal(state.selection, on_left)
    drag(QPoint(left, 1), QPoint(opened.map.width() - 1, opened.map.height() - 1), Qt.KeyboardModifier.ControlModifier)
    assert state.selection.all()
    drag(QPoint(1, 1), QPoint(left, opened.map.height() - 1), Qt.KeyboardModifier.ShiftModifier)
    np.testing.assert_array_equal(state.selection, ~on_left)
    QTest.keyClick(opened.map, Qt.Key.Key_I)
    np.testing.assert_array_equal(state.selection, on_left)
    opened.map.tool = "lasso"
    opened.map.select_within([(0, 0), (left, 0), (left, 2000), (0, 2000)], False, "replace")
    np.testing.assert_array_equal(state.selection, on_left)
    QTest.keyClick(opened.map, Qt.Key.Key_Escape)
    assert not state.selection.any()


def test_wheel_and_drag_move_the_map_and_home_brings_it_back(opened: BrowserWidget, qtbot: QtBot) -> None:
    before = opened.map.view
    opened.map.view = before.zoomed(3.0, 100, 100)
    QTest.mousePress(opened.map.overlay, Qt.MouseButton.LeftButton, pos=QPoint(200, 150))
    QTest.mouseMove(opened.map.overlay, QPoint(240, 150))
    QTest.mouseRelease(opened.map.overlay, Qt.MouseButton.LeftButton, pos=QPoint(240, 150))
    assert opened.map.view.scale == pytest.approx(before.scale / 3) and opened.map.view.x != before.x
    QTest.keyClick(opened.map, Qt.Key.Key_H)
    assert opened.map.view == before
    opened.state.current = 3
    QTest.keyClick(opened.map, Qt.Key.Key_C)
    assert opened.state.positions is not None
    assert (opened.map.view.x, opened.map.view.y) == pytest.approx(opened.state.positions[3], abs=1e-5)


def test_the_state_is_saved_and_opened_again(opened: BrowserWidget, tmp_path: Path, qtbot: QtBot) -> None:
    state = opened.state
    state.select([2, 3, 4])
    state.current = 3
    opened.compute("Metadata_QueryDistance")
    qtbot.waitUntil(lambda: state.colouring.column == "Metadata_QueryDistance", timeout=10000)
    distances = state.values("Metadata_QueryDistance").copy()
    state.set_range("Metadata_Score", (-1.0, 1.0))
    opened.map.view = opened.map.view.zoomed(2.0, 50, 50)
    view = opened.map.view
    opened.save(tmp_path / "mine")
    assert (tmp_path / "mine.sslbrowser.json").is_file()
    shown = state.filter.copy()
    state.show_all()
    state.clear_selection()
    open_in(opened, tmp_path / "mine.sslbrowser.json", qtbot)
    qtbot.waitUntil(lambda: state.colouring.column == "Metadata_QueryDistance", timeout=10000)
    assert state.selection.nonzero()[0].tolist() == [2, 3, 4] and state.current == 3
    np.testing.assert_array_equal(state.filter, shown)
    np.testing.assert_allclose(state.values("Metadata_QueryDistance"), distances)
    assert (opened.map.view.x, opened.map.view.scale) == pytest.approx((view.x, view.scale))


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("column", ["Metadata_Compound", "Metadata_Score"])
def test_a_picture_of_the_map_is_white_with_points_and_words(
    opened: BrowserWidget, tmp_path: Path, ending: str, column: str, qtbot: QtBot
) -> None:
    opened.state.colour_by(column)
    settle(opened, qtbot)
    path = tmp_path / f"map.{ending}"
    opened.save_picture(path)
    assert opened.status.text().startswith("saved")
    if ending == "svg":
        text = path.read_text()
        assert text.count("<circle") + text.count("<ellipse") + text.count("<path") >= len(opened.state)
        assert "wells.parquet" in text
        return
    image = np.asarray(Image.open(path).convert("RGB"))
    assert image.shape == (1800, 3200, 3) and (image[:20] == 255).all()
    assert len(np.unique(image[::9, ::9].reshape(-1, 3), axis=0)) > 20


def test_pictures_that_cannot_be_are_said(opened: BrowserWidget, tmp_path: Path) -> None:
    opened.save_picture(tmp_path / "map.gif")
    assert "neither .png nor .svg" in opened.banner.words.text()
    for ending in ("png", "svg"):
        opened.save_picture(tmp_path / "gone" / f"map.{ending}")
        assert "Cannot write" in opened.banner.words.text()


def test_the_words_of_a_wait_go_with_it(
    browser: BrowserWidget, simulated: Path, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_table(simulated, tmp_path, roots=False)
    derived_path(path, "map").unlink()
    monkeypatch.setattr(browser.jobs, "make_map", lambda centred: QTest.qWait(300))  # as napari's progress bar does
    browser.open(path)
    qtbot.waitUntil(lambda: browser.state.table is not None and not browser.jobs.busy, timeout=10000)
    assert browser.status.words == "no images at hand"

    browser.status.setFixedWidth(60)
    browser.open(tmp_path / "a table of a long name that is nowhere.parquet")
    browser._slow.timeout.emit()
    assert browser.status.words.startswith("opening a table")
    qtbot.waitUntil(lambda: browser.status.words == "", timeout=10000)


def test_a_table_that_was_written_anew_is_read_anew(
    opened: BrowserWidget, viewer: Viewer, table: Path, qtbot: QtBot
) -> None:
    before = opened.state.table
    assert before is not None
    metadata = before.metadata.iloc[:7]
    write_map(write_wells(table, metadata, np.zeros((7, 8)), {}), np.zeros((7, 2)))
    session_of(viewer).table = Path(table)
    qtbot.waitUntil(lambda: len(opened.state) == 7, timeout=10000)
    again = opened.state.table
    qtbot.wait(300)
    assert opened.state.table is again and again is not before and again is not None
    assert again.features().shape == (7, 8)


def test_search_hides_and_colours(opened: BrowserWidget, qtbot: QtBot) -> None:
    opened.top.search.setText("SIM00002")
    opened.top.only.setChecked(True)
    qtbot.waitUntil(lambda: opened.state.filtered, timeout=2000)
    assert opened.state.table is not None
    plates = opened.state.table.metadata["Metadata_Plate"]
    np.testing.assert_array_equal(opened.state.filter, plates == "SIM00002")
    opened.top.search.clear()
    qtbot.waitUntil(lambda: not opened.state.filtered, timeout=2000)


def test_colours_are_computed_when_asked_for(opened: BrowserWidget, qtbot: QtBot) -> None:
    for name in ("Metadata_ControlDistance", "Metadata_NearestDistance", "Metadata_Cluster"):
        opened.compute(name)
        qtbot.waitUntil(lambda name=name: opened.state.colouring.column == name, timeout=30000)
    assert opened.top.colour.currentText() == "Clusters (k-means)"


def test_where_the_images_are_is_asked_once_and_remembered(
    browser: BrowserWidget, simulated: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    path = write_table(simulated, tmp_path / "far", roots=False)
    open_in(browser, path, qtbot)
    assert browser.status.text() == "no images at hand"
    browser.state.current = 1
    assert browser.banner.isVisible() and "Where are the images" in browser.banner.words.text()
    browser.images.look_in(tmp_path / "far")
    qtbot.waitUntil(lambda: "Where" not in browser.banner.words.text(), timeout=5000)
    browser.images.look_in(simulated / "images")
    qtbot.waitUntil(lambda: browser.status.text().startswith("images of 2 of 2"), timeout=10000)
    settle(browser, qtbot)
    session_of(browser._viewer).screen = None
    open_in(browser, path, qtbot)
    qtbot.waitUntil(lambda: browser.status.text().startswith("images of 2 of 2"), timeout=10000)
    settle(browser, qtbot)


def test_none_at_hand_ends_the_question(browser: BrowserWidget, simulated: Path, tmp_path: Path, qtbot: QtBot) -> None:
    path = write_table(simulated, tmp_path / "far", roots=False)
    open_in(browser, path, qtbot)
    browser.state.current = 1
    browser.banner.second.click()
    open_in(browser, path, qtbot)
    browser.state.current = 2
    assert not browser.banner.isVisible()


def test_a_dropped_table_opens_and_lays_itself_out(browser: BrowserWidget, tmp_path: Path, qtbot: QtBot) -> None:
    # Fewer than five wells are laid out on their principal axes, without the ten seconds that numba compiles UMAP for.
    four = pd.DataFrame({"Metadata_Plate": ["P1"] * 4, "Metadata_Well": ["A01", "A02", "B01", "B02"]})
    path = write_wells(tmp_path / "new.parquet", four, np.random.default_rng(0).normal(size=(4, 5)), {})
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    browser.dropEvent(
        QDropEvent(
            QPointF(5, 5),
            Qt.DropAction.CopyAction,
            data,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )
    qtbot.waitUntil(lambda: browser.progress.isVisible(), timeout=10000)
    assert "Laying out" in browser.map.overlay.message
    qtbot.waitUntil(lambda: browser.state.positions is not None, timeout=60000)
    assert derived_path(path, "map").is_file() and browser.map.overlay.message == ""
    settle(browser, qtbot)


def bad_table(kind: str, folder: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"Metadata_Plate": ["P1"] * 3, "Metadata_Well": ["A01", "A01", "zz"]})
    values = rng.normal(size=(3, 4))
    path = folder / "t.parquet"
    if kind == "rubbish":
        path.write_bytes(b"no table")
    elif kind == "one row":
        write_wells(path, frame.iloc[:1], values[:1], {})
        write_map(path, np.zeros((1, 2)))
    elif kind == "empty rows":
        values[1] = np.nan
        write_wells(path, frame, values, {})
        write_map(path, np.where(np.isnan(values[:, :2]), np.nan, values[:, :2]))
    elif kind == "missing files":
        info = {"plates": {"P1": str(folder / "gone")}}
        (folder / "gone").mkdir()
        write_wells(path, frame.iloc[[0, 2]], values[[0, 2]], info)
        write_map(path, np.eye(2))
    elif kind == "duplicate wells":
        write_wells(path, frame, values, {})
        write_map(path, values[:, :2])
    elif kind == "200 categories":
        many = pd.DataFrame(
            {
                "Metadata_Plate": ["P1"] * 400,
                "Metadata_Well": ["A01"] * 400,
                "Metadata_Compound": [f"c{i % 200}" for i in range(400)],
            }
        )
        write_wells(path, many, rng.normal(size=(400, 4)), {})
        write_map(path, rng.normal(size=(400, 2)))
    else:
        pd.DataFrame({"strange": ["a", "b"], "Metadata_Odd": [None, None]}).to_parquet(path)
    return path


ODD = ["rubbish", "one row", "empty rows", "missing files", "duplicate wells", "200 categories", "no features"]


@pytest.mark.parametrize("kind", ODD)
def test_odd_tables_work_or_say_why(browser: BrowserWidget, tmp_path: Path, qtbot: QtBot, kind: str) -> None:
    path = bad_table(kind, tmp_path)
    browser.open(path)
    if kind == "rubbish":
        qtbot.waitUntil(lambda: browser.banner.isVisible(), timeout=10000)
        assert "is not a Parquet table" in browser.banner.words.text()
        return
    qtbot.waitUntil(lambda: browser.state.table is not None, timeout=10000)
    settle(browser, qtbot)
    if kind == "no features":
        qtbot.waitUntil(lambda: "no numeric feature" in browser.banner.words.text(), timeout=10000)
    if kind == "duplicate wells":
        qtbot.waitUntil(lambda: "1 rows repeat wells" in browser.banner.words.text(), timeout=10000)
    browser.state.current = 0
    browser.state.hovered = len(browser.state) - 1
    browser.state.select_all()
    if kind == "200 categories":
        browser.state.colour_by("Metadata_Compound")
        browser.state.set_search("c19")
        settle(browser, qtbot)
        assert any("others" in entry.text for entry in browser.legend.entries())
        assert "c199" in {entry.text for entry in browser.legend.entries()}
    settle(browser, qtbot)
    if kind == "missing files":
        assert browser.status.text().startswith(("no images", "images of 0"))
    rows = len(browser.state)
    browser.state.set_search("")
    panels: dict[str, Any] = {title: browser.panel(title) for title in ("Plates", "Gallery", "Table")}
    gallery, table, plates = panels["Gallery"], panels["Table"], panels["Plates"]
    browser.panel("Gallery")
    qtbot.waitUntil(lambda: len(gallery.view.rows) == rows, timeout=20000)
    browser.panel("Table")
    qtbot.waitUntil(lambda: len(table.model.rows) == rows, timeout=20000)
    assert plates is not None and "cannot be shown" not in getattr(plates, "text", str)()
    if kind != "no features":
        neighbours: Any = browser.panel("Neighbours")
        qtbot.waitUntil(lambda: not neighbours.busy, timeout=20000)
        qtbot.waitUntil(lambda: neighbours.summary.text() not in ("", "Reading features …"), timeout=20000)
    if browser.state.positions is not None:
        browser.save_picture(tmp_path / "p.png")
        assert (tmp_path / "p.png").is_file()


def test_features_are_read_only_when_neighbours_are_asked_for(opened: BrowserWidget, qtbot: QtBot) -> None:
    state = opened.state
    assert state.table is not None
    for title in ("Gallery", "Plates", "Table"):
        opened.panel(title)
        state.colour_by("Metadata_Score")
        state.select([0, 1, 2])
        state.current = 2
        settle(opened, qtbot)
    assert not state.table.features.loaded
    opened.panel("Neighbours")
    qtbot.waitUntil(lambda: state.table is not None and state.table.features.loaded, timeout=20000)


def test_screenshots_are_not_blank(opened: BrowserWidget, viewer: Viewer, pictures: Path, qtbot: QtBot) -> None:
    opened.state.current = far_row(opened)
    settle(opened, qtbot)
    viewer.screenshot(str(pictures / "browser.png"), canvas_only=False, flash=False)
    image = np.asarray(Image.open(pictures / "browser.png").convert("RGB"))
    assert len(np.unique(image[::9, ::9].reshape(-1, 3), axis=0)) > 50
