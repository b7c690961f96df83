"""Forms: a value in, a value out, and what people do in between."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QCheckBox, QComboBox, QDoubleSpinBox, QLineEdit, QSlider, QWidget

from napari_sslprofiler.forms.form import RecipeForm
from sslprofiler_core.recipes import AugmentRecipe, LossRecipe, Recipe, TrainRecipe, load_recipe

pytestmark = pytest.mark.window


def _form(qtbot: QtBot, *arguments: Any, **more: Any) -> tuple[RecipeForm, list[Any]]:
    form = RecipeForm(*arguments, **more)
    qtbot.addWidget(form)
    form.resize(480, 700)
    form.show()
    heard: list[Any] = []
    form.changed.connect(heard.append)
    return form, heard


def _part(form: RecipeForm, key: str, kind: type[QWidget]) -> Any:
    found = form.control(key).findChild(kind)
    assert found is not None
    return found


def test_a_new_key_shows_up_by_itself_with_its_bounds(qtbot: QtBot) -> None:
    class Grown(AugmentRecipe):
        shear: Annotated[float, Field(ge=0.0, le=45.0)] = Field(10.0, description="Largest shear in degrees")

    form, heard = _form(qtbot, Grown)
    assert form.control("shear").value == 10.0
    box = _part(form, "shear", QDoubleSpinBox)
    assert (box.minimum(), box.maximum()) == (0.0, 45.0)
    _part(form, "shear", QSlider).setValue(1000)
    assert form.value == Grown(shear=45.0) and heard == [form.value]


def test_untouched_values_are_given_back_exactly(qtbot: QtBot) -> None:
    form, _ = _form(qtbot, Recipe)
    odd = load_recipe("tiny", ["augment.aspect=[0.7512345, 1.3333333333333]", "augment.noise_dark=0.0123456789"])
    form.value = odd
    assert form.value == odd
    for name in ("plates", "model", "loss", "train", "embed"):
        form.control(f"{name}.{next(iter(getattr(Recipe(), name).model_dump()))}")  # opens it
    form.set("augment.flip", 0.125)
    assert form.value == odd.model_copy(update={"augment": odd.augment.model_copy(update={"flip": 0.125})})


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.booleans(), st.integers(1, 2000))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_good_section_goes_in_and_comes_out(
    qtbot: QtBot, flip: float, noise: float, standardise: bool, size: int
) -> None:
    form, _ = _form(qtbot, AugmentRecipe, scrolls=False)
    section = AugmentRecipe(flip=flip, noise=noise, standardise=standardise, size=size)
    form.value = section
    assert form.value == section and form.problem == ""
    form.deleteLater()


def test_each_kind_of_control_edits(qtbot: QtBot) -> None:
    form, heard = _form(qtbot, TrainRecipe)
    _part(form, "plate_batches", QCheckBox).setChecked(True)
    assert heard[-1].plate_batches
    precision = _part(form, "precision", QComboBox)
    precision.setCurrentText("float32")
    assert heard[-1].precision == "float32"
    text = _part(form, "lr", QLineEdit)
    text.setText("3e-4")
    qtbot.keyClick(text, Qt.Key.Key_Return)
    assert heard[-1].lr == 3e-4
    first, last = form.control("momentum").findChildren(QDoubleSpinBox)
    first.setValue(0.9)
    assert heard[-1].momentum == (0.9, 1.0)
    last.setValue(0.95)
    assert heard[-1].momentum == (0.9, 0.95)
    assert set(form.changed_keys) == {"plate_batches", "precision", "lr", "momentum"}


def test_a_handle_of_a_range_moves_alone(qtbot: QtBot) -> None:
    form, heard = _form(qtbot, AugmentRecipe)
    form.value = AugmentRecipe(crop=(0.321, 0.98765))
    bar = form.control("crop").bar
    at = QPoint(round(8 + bar.parts[0] * (bar.width() - 16)), bar.height() // 2)
    qtbot.mousePress(bar, Qt.MouseButton.LeftButton, pos=at)
    qtbot.mouseMove(bar, at + QPoint(10, 0))
    qtbot.mouseRelease(bar, Qt.MouseButton.LeftButton, pos=at + QPoint(10, 0))
    low, high = heard[-1].crop
    assert low > 0.33 and high == 0.98765
    qtbot.mousePress(bar, Qt.MouseButton.LeftButton, pos=QPoint(round(8 + low * (bar.width() - 16)), 5))
    qtbot.mouseMove(bar, QPoint(bar.width() - 1, 5))
    # No further than the other handle.
    qtbot.waitUntil(lambda: heard[-1].crop == (0.98765, 0.98765), timeout=2000)


def test_what_the_recipe_refuses_is_said_beside_the_control(qtbot: QtBot) -> None:
    form, heard = _form(qtbot, Recipe, show={"augment": None, "model": None})
    said: list[str] = []
    form.problem_changed.connect(said.append)
    form.set("augment.aspect", (1.5, 1.2))
    row = form.row("augment.aspect")
    assert row.message == form.problem == "Aspect must ascend and be positive."
    assert form.value == Recipe() and heard == []
    form.set("augment.flip", 0.25)  # still refused, for the same reason
    assert heard == [] and form.problem
    form.set("augment.aspect", (0.5, 1.2))
    assert form.problem == "" and row.message == ""
    assert heard[-1].augment.aspect == (0.5, 1.2) and heard[-1].augment.flip == 0.25
    form.set("augment.size", 100)  # against a key of another section
    assert "not a multiple of model.patch = 14" in form.row("augment.size").message
    form.set("augment.size", "many")
    assert form.row("augment.size").message.startswith("Input should be a valid integer")
    form.value = Recipe()
    assert form.problem == "" and said[-1] == ""


def test_a_change_is_marked_and_a_click_takes_it_back(qtbot: QtBot) -> None:
    form, heard = _form(qtbot, Recipe, show={"loss": None, "augment": None})
    button = form.row("augment.brightness").button
    assert button.text() == "0.4" and not button.isEnabled()
    _part(form, "augment.brightness", QDoubleSpinBox).setValue(0.7)
    assert button.text() == "↺ 0.4" and "●" in form.row("augment.brightness").label.text()
    assert form.changed_keys == ("augment.brightness",)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert heard[-1] == Recipe() and not button.isEnabled() and form.changed_keys == ()
    form.value = load_recipe("tiny")
    assert form.changed_keys
    form.reset()
    assert form.changed_keys == ()


def test_a_choice_brings_its_own_defaults_but_leaves_what_was_set(qtbot: QtBot) -> None:
    form, heard = _form(qtbot, AugmentRecipe)
    form.set("local_crops", 3)
    form.set("kind", "dinov2")
    assert (heard[-1].local_crops, heard[-1].local_aggregation) == (3, False)
    form.set("local_crops", 0)
    assert form.row("local_crops").button.text() == "↺ 8"
    form.set("kind", "paper")
    assert heard[-1] == AugmentRecipe()


def test_some_keys_alone_and_the_rest_stays(qtbot: QtBot) -> None:
    form, heard = _form(qtbot, Recipe, show={"loss": ["mask_images", "mask_ratio"]})
    assert [setting.key for setting in form.settings] == ["loss.mask_images", "loss.mask_ratio"]
    tiny = load_recipe("tiny")
    form.value = tiny
    form.set("loss.mask_images", 1.0)
    assert heard[-1].augment == tiny.augment and heard[-1].loss.mask_images == 1.0
    form.show_only(["loss.mask_images"])
    assert not form.control("loss.mask_ratio").isVisible() and form.control("loss.mask_images").isVisible()


def test_sections_open_by_keyboard_and_build_only_then(qtbot: QtBot) -> None:
    form, _ = _form(qtbot, Recipe, expanded=())
    assert len(form.findChildren(QDoubleSpinBox)) == 0
    heading = form.heading("loss")
    heading.setFocus()
    qtbot.keyClick(heading, Qt.Key.Key_Space)
    assert form.findChildren(QDoubleSpinBox)
    form.set("loss.koleo", 0.2)
    assert heading.text().endswith("1 changed")


def test_the_wheel_scrolls_the_form_and_changes_nothing(qtbot: QtBot) -> None:
    form, heard = _form(qtbot, LossRecipe)
    box = _part(form, "koleo", QDoubleSpinBox)
    centre = QPointF(box.rect().center())
    event = QWheelEvent(
        centre,
        QPointF(box.mapToGlobal(box.rect().center())),
        QPoint(),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(box, event)
    assert heard == []


def test_another_model_is_refused(qtbot: QtBot) -> None:
    form, _ = _form(qtbot, AugmentRecipe)
    with pytest.raises(TypeError, match="AugmentRecipe takes no LossRecipe"):
        form.value = LossRecipe()
