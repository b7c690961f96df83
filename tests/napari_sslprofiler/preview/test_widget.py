"""The preview in a real window: sites, sliders, buttons, what goes wrong."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QSlider, QWidget

from napari_sslprofiler.preview.client import Renderer
from napari_sslprofiler.preview.crop_layer import NAME
from napari_sslprofiler.preview.model import crop_corners
from napari_sslprofiler.preview.widget import PreviewWidget
from napari_sslprofiler.site_display import display_of
from napari_sslprofiler.state import Screen, session_of
from sslprofiler_core.cli import build_parser
from sslprofiler_core.plates import open_plates
from sslprofiler_core.recipes import Recipe, load_recipe

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot

    from sslprofiler_core.plates import Plate

pytestmark = pytest.mark.window


@pytest.fixture
def screen(simulated: Path, plates: tuple[Plate, ...]) -> Screen:
    """The simulated plates, as the Plates widget opens them."""
    return Screen(plates, (simulated / "images",), {}, None, simulated / "metadata")


@pytest.fixture
def preview(viewer: Viewer, tiny: Recipe, renderer: Renderer) -> PreviewWidget:
    """The widget docked, nothing open yet, with the tests' recipe."""
    session_of(viewer).recipe = tiny
    widget = PreviewWidget(viewer, renderer=renderer)
    viewer.window.add_dock_widget(widget, name="Augmentation preview")
    return widget


Show = Callable[..., None]


@pytest.fixture
def show(viewer: Viewer, screen: Screen, preview: PreviewWidget, qtbot: QtBot) -> Show:
    """Show a site and wait for its views."""

    def show_site(place: int = 0, other: Screen | None = None) -> None:
        opened = other or screen
        session = session_of(viewer)
        session.screen = opened
        plate = opened.plates[0]
        display_of(viewer).show(plate, plate.sites[place])
        _settled(preview, qtbot)
        assert preview.answer is not None and preview.answer.wish.site == plate.sites[place]

    return show_site


def _settled(preview: PreviewWidget, qtbot: QtBot) -> None:
    """Nothing is asked any more, the recipe is passed on, and intensities are training's."""

    def quiet() -> bool:
        answer = preview.answer
        return not (preview._asked or preview._waiting or preview._passing.isActive()) and (
            answer is None or answer.exact
        )

    qtbot.wait(1)
    qtbot.waitUntil(quiet, timeout=30000)


def _point_at(widget: QWidget, place: QPointF) -> None:
    none = Qt.MouseButton.NoButton
    event = QMouseEvent(
        QEvent.Type.MouseMove, place, widget.mapToGlobal(place), none, none, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(widget, event)


def test_without_a_site_a_sentence_says_what_to_do(preview: PreviewWidget) -> None:
    assert "No site is on show" in preview.canvas._message
    assert not preview.bar.isEnabled() and preview.form.isEnabled()


def test_a_site_is_previewed_with_its_partner_masks_and_crop(
    viewer: Viewer, preview: PreviewWidget, show: Show, qtbot: QtBot
) -> None:
    show()
    panels = preview.canvas.panels
    assert [panel.title.partition(",")[0] for panel in panels] == ["v1", "masked v1", "v2"]
    assert all(panel.rgb_SS3.std() > 5 for panel in panels)
    assert preview.answer is not None
    request = preview.answer.settled.request
    assert request.second.well == request.first.well and request.second.site != request.first.site
    assert f"site {request.second.site} (training's)" == preview.bar.partner_box.currentText()
    qtbot.waitUntil(lambda: NAME in viewer.layers, timeout=5000)
    layer = viewer.layers[NAME]
    np.testing.assert_allclose(layer.data[:4, 0], crop_corners(preview.answer.preview.v1) - 0.5)
    preview.crop_check.setChecked(False)
    assert not layer.visible
    assert "°" in preview.drawn.text() or "no" in preview.drawn.text()
    for sample in range(1, 8):  # half of the samples are masked
        preview.bar.sample_box.setValue(sample)
        _settled(preview, qtbot)
        if preview.answer.preview.mask.any():
            break
    assert preview.answer.preview.mask.any()
    first, twin, _ = preview.canvas.panels
    assert (first.rgb_SS3 != twin.rgb_SS3).any() and "% masked" in twin.caption


def test_a_slider_is_followed_and_training_hears_of_it(
    viewer: Viewer, preview: PreviewWidget, show: Show, qtbot: QtBot
) -> None:
    show()
    seen: list[float] = []
    paint = preview.canvas.show_panels

    def noted(panels: object) -> None:
        assert preview.answer is not None
        seen.append(preview.answer.settled.request.recipe.augment.brightness)
        paint(panels)

    preview.canvas.show_panels = noted
    slider = preview.form.control("augment.brightness").findChild(QSlider)
    assert slider is not None
    for step in range(300, 1001, 20):
        slider.setValue(step)
        qtbot.wait(15)
    _settled(preview, qtbot)
    assert preview.form.value.augment.brightness == 1.0
    assert session_of(viewer).recipe == preview.form.value
    assert seen[-1] == 1.0 and len(seen) > 2 and seen == sorted(seen)  # live, and never an older one after a newer


def test_draws_seeds_and_training_itself(viewer: Viewer, preview: PreviewWidget, show: Show, qtbot: QtBot) -> None:
    show()
    assert preview.answer is not None
    before = preview.answer.preview.v1_CSS
    qtbot.mouseClick(preview.bar.another_button, Qt.MouseButton.LeftButton)
    _settled(preview, qtbot)
    assert preview.bar.step_box.value() == 1 and preview.answer is not None
    assert (preview.answer.preview.v1_CSS != before).any()
    preview.bar.seed_box.setValue(11)
    _settled(preview, qtbot)
    assert session_of(viewer).recipe.train.seed == 11 == preview.answer.settled.request.recipe.train.seed
    preview.bar.size_box.setCurrentIndex(preview.bar.size_box.count() - 1)
    later = preview.answer.settled.later
    assert later is not None
    qtbot.mouseClick(preview.bar.training_button, Qt.MouseButton.LeftButton)
    _settled(preview, qtbot)
    assert (preview.bar.step_box.value(), preview.bar.sample_box.value()) == later
    assert "sees exactly this in step" in preview.message.text()


def test_weaker_stronger_and_back_to_the_paper(preview: PreviewWidget, show: Show, qtbot: QtBot) -> None:
    show()
    before = preview.form.value
    qtbot.mouseClick(preview.recipe_bar.stronger_button, Qt.MouseButton.LeftButton)
    assert preview.form.value.augment.brightness > before.augment.brightness
    qtbot.mouseClick(preview.recipe_bar.weaker_button, Qt.MouseButton.LeftButton)
    assert preview.form.value.augment.brightness == pytest.approx(before.augment.brightness, rel=1e-3)
    qtbot.mouseClick(preview.recipe_bar.reset_button, Qt.MouseButton.LeftButton)
    assert preview.form.value.augment.crop == (0.32, 1.0) and preview.form.value.loss == before.loss
    assert preview.form.changed_keys == ("augment.size",)  # 518 px does not suit this network's patches
    _settled(preview, qtbot)


def test_recipes_are_saved_loaded_and_copied_as_a_command(
    preview: PreviewWidget, show: Show, tmp_path: Path, qtbot: QtBot
) -> None:
    show()
    preview.form.set("augment.flip", 0.125)
    preview.recipe_bar.save(tmp_path / "mine.toml")
    assert load_recipe(tmp_path / "mine.toml") == preview.form.value
    preview.form.set("augment.noise", 0.0)
    qtbot.mouseClick(preview.recipe_bar.copy_button, Qt.MouseButton.LeftButton)
    told = shlex.split(QApplication.clipboard().text())
    assert told[:2] == ["sslprofiler", "train"]
    parsed = build_parser().parse_args(told[1:])
    assert load_recipe(parsed.recipe, parsed.set) == preview.form.value
    assert parsed.set == ["augment.noise=0.0"] and parsed.channels == "fluorescence"
    preview.recipe_bar.load("paper-vits14")
    assert preview.form.value == Recipe() and preview.form.changed_keys == ()
    _settled(preview, qtbot)
    (tmp_path / "bad.toml").write_text("[augment]\nflop = 1\n")
    preview.recipe_bar.load(tmp_path / "bad.toml")
    assert "unknown key 'augment.flop'" in preview.message.text() and preview.form.value == Recipe()
    preview.recipe_bar.save(tmp_path / "nowhere" / "mine.toml")
    assert "Cannot write the recipe" in preview.message.text()


def test_channels_and_views_by_keyboard_and_pointer(preview: PreviewWidget, show: Show, qtbot: QtBot) -> None:
    show()
    assert preview.answer is not None
    bar = preview.bar
    assert bar.channel_box.itemText(0) == "Composite"
    bar.channel_box.setCurrentIndex(1)
    grey = preview.canvas.panels[0].rgb_SS3
    assert (grey[..., 0] == grey[..., 1]).all()
    rect = preview.canvas.picture_rects()[2]
    _point_at(preview.canvas, rect.topLeft() + QPointF(3, 3))
    assert preview.pixel.text().startswith("v2 at ")
    assert all(name in preview.pixel.text() for name in preview.answer.settled.request.names)
    qtbot.keyClick(preview.canvas, "2")
    assert list(preview.canvas.picture_rects()) == [1]
    qtbot.keyClick(preview.canvas, Qt.Key.Key_Escape)
    assert list(preview.canvas.picture_rects()) == [0, 1, 2]
    bar.group_box.setCurrentIndex(bar.group_box.findData("all"))
    _settled(preview, qtbot)
    assert len(preview.answer.preview.v1_CSS) == len(preview.answer.settled.request.names) == 8


def test_a_lone_site_is_its_own_partner_and_both_crops_lie_on_it(
    viewer: Viewer, preview: PreviewWidget, show: Show, screen: Screen
) -> None:
    lone = replace(screen.plates[0], sites=tuple(site for site in screen.plates[0].sites if site.site == 1))
    show(0, replace(screen, plates=(lone,)))
    assert "has one site" in preview.message.text()
    assert preview.bar.partner_box.currentText() == "the same site" and not preview.bar.partner_box.isEnabled()
    assert len(np.unique(viewer.layers[NAME].edge_color, axis=0)) == 2


def test_the_site_of_v2_is_shown_beside_with_its_crop(
    viewer: Viewer, preview: PreviewWidget, show: Show, qtbot: QtBot
) -> None:
    show()
    preview.crop_check.setChecked(True)
    qtbot.waitUntil(lambda: NAME in viewer.layers, timeout=5000)
    assert len(np.unique(viewer.layers[NAME].edge_color, axis=0)) == 1
    display = display_of(viewer)
    preview.second_check.setChecked(True)
    assert preview.answer is not None
    assert display.shown_in(1) == preview.answer.settled.request.second
    qtbot.waitUntil(lambda: not display.busy, timeout=10_000)
    beside = [layer for layer in viewer.layers if layer.name.endswith("(2)")]
    assert len(beside) == 8
    pixel = beside[0].scale[1]
    of_v2 = viewer.layers[NAME].data[len(viewer.layers[NAME].data) // 2 :][:4, 0]
    expected = crop_corners(preview.answer.preview.v2) - 0.5 + np.array([0, beside[0].translate[1] / pixel])
    np.testing.assert_allclose(of_v2, expected, atol=1e-3)
    preview.second_check.setChecked(False)
    assert display.shown_in(1) is None
    assert not any(layer.name.endswith("(2)") for layer in viewer.layers)
    assert len(np.unique(viewer.layers[NAME].edge_color, axis=0)) == 1


def test_pieces_of_sites_can_be_looked_at(
    viewer: Viewer, preview: PreviewWidget, show: Show, tiny: Recipe, qtbot: QtBot
) -> None:
    show()
    assert not preview.bar.tile_box.isVisible()
    cut = tiny.model_copy(update={"plates": tiny.plates.model_copy(update={"tile": 2})})
    session_of(viewer).recipe = cut
    _settled(preview, qtbot)
    assert preview.bar.tile_box.isVisible() and preview.bar.tile_box.maximum() == 4
    preview.bar.tile_box.setValue(4)
    _settled(preview, qtbot)
    assert preview.answer is not None
    assert preview.answer.settled.request.first.tile == (1, 1, 2)
    assert preview.answer.preview.shapes[0] == (32, 32)
    assert viewer.layers[NAME].data[:4, 0].mean(0).min() > 31.0  # in the last piece of the site on show


def test_a_broken_file_is_a_sentence_and_the_next_site_goes_on(
    preview: PreviewWidget, show: Show, simulated: Path, tmp_path: Path, qtbot: QtBot, viewer: Viewer
) -> None:
    shutil.copytree(simulated / "images", tmp_path / "images")
    plates = tuple(open_plates([tmp_path / "images"]))
    broken = plates[0].sites[0].paths[0]
    screen = Screen(plates, (tmp_path / "images",))
    show(5, screen)
    broken.write_bytes(b"II*\0 rubbish")
    session_of(viewer).shown = plates[0].sites[0]
    qtbot.waitUntil(lambda: broken.name in preview.canvas._message, timeout=10000)
    assert preview.answer is None
    show(5, screen)
    assert preview.canvas._message == ""


def test_a_killed_renderer_is_a_sentence_and_the_next_change_goes_on(
    preview: PreviewWidget, show: Show, qtbot: QtBot
) -> None:
    show()
    assert preview._renderer._process is not None
    preview._renderer._process.kill()
    preview.bar.step_box.setValue(7)
    qtbot.waitUntil(lambda: "was killed" in preview.canvas._message, timeout=10000)
    preview.bar.step_box.setValue(8)
    qtbot.waitUntil(lambda: preview.answer is not None, timeout=30000)


def test_views_become_layers(viewer: Viewer, preview: PreviewWidget, show: Show, qtbot: QtBot) -> None:
    show()
    qtbot.mouseClick(preview.recipe_bar.layers_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(preview.recipe_bar.layers_button, Qt.MouseButton.LeftButton)
    names = [layer.name for layer in viewer.layers if layer.name.startswith("Preview")]
    assert len(names) == 3 and viewer.layers[names[0]].rgb


def test_nothing_outlives_the_widget(viewer: Viewer, screen: Screen, tiny: Recipe, qtbot: QtBot) -> None:
    session_of(viewer).recipe = tiny
    widget = PreviewWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Augmentation preview")
    session_of(viewer).screen = screen
    display_of(viewer).show(screen.plates[0], screen.plates[0].sites[0])
    qtbot.waitUntil(lambda: NAME in viewer.layers, timeout=30000)
    process = widget._renderer._process
    assert process is not None and process.poll() is None
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    qtbot.waitUntil(lambda: process.poll() is not None, timeout=10000)
    assert NAME not in viewer.layers
    session_of(viewer).recipe = load_recipe("tiny")  # nobody is there to mind
