"""What forms read off the recipe's types."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from napari_sslprofiler.forms.form import sections_of
from napari_sslprofiler.forms.settings import Setting, default_of, nice, settings_of
from sslprofiler_core.recipes import AugmentRecipe, LossRecipe, Recipe, TrainRecipe, load_recipe
from sslprofiler_core.recipes.schema import Section


def _of(section: type[Section]) -> dict[str, Setting]:
    return {setting.key: setting for setting in settings_of(section)}


def test_kinds_and_bounds_come_from_the_types() -> None:
    found = _of(AugmentRecipe)
    assert list(found) == list(AugmentRecipe.model_fields)
    flip = found["flip"]
    assert (flip.kind, flip.low, flip.high, flip.reach) == ("number", 0.0, 1.0, (0.0, 1.0))
    assert (found["kind"].kind, found["kind"].choices) == ("choice", ("paper", "dinov2"))
    assert found["standardise"].kind == "switch"
    assert (found["size"].kind, found["size"].low, found["size"].high) == ("integer", 1, None)
    alpha = found["elastic_alpha"]
    assert (alpha.high, alpha.reach, alpha.decimals) == (None, (0.0, 3000.0), 0)
    assert found["elastic_sigma"].above and not found["elastic_alpha"].above
    assert _of(TrainRecipe)["lr"].kind == "small number"


@pytest.mark.parametrize("name", ["crop", "aspect", "blur_sigma", "local_crop"])
def test_what_the_recipe_wants_to_ascend_is_a_range(name: str) -> None:
    assert _of(AugmentRecipe)[name].kind == "range"


def test_two_numbers_that_need_not_ascend_are_a_pair_with_names() -> None:
    assert (_of(AugmentRecipe)["blur"].kind, _of(AugmentRecipe)["blur"].parts) == ("pair", ("v1", "v2"))
    momentum = _of(TrainRecipe)["momentum"]
    assert (momentum.kind, momentum.parts, momentum.high) == ("pair", ("first", "last"), 1.0)
    assert momentum.decimals == 3  # 0.992 is shown whole


def test_a_range_without_bounds_ends_where_its_unit_does() -> None:
    assert _of(AugmentRecipe)["crop"].reach == (0.0, 1.0)
    assert _of(LossRecipe)["mask_ratio"].reach == (0.0, 1.0)
    assert _of(AugmentRecipe)["aspect"].reach == (0.0, 4.0)


def test_every_key_of_the_recipe_gets_a_control_with_a_sentence() -> None:
    for name, section in sections_of(Recipe).items():
        for setting in settings_of(section, f"{name}."):
            assert setting.kind != "text" or setting.key.endswith("_file"), setting.key
            assert setting.label and setting.key in setting.tooltip
            assert section.model_fields[setting.key.partition(".")[2]].description in setting.tooltip


def test_a_new_key_of_any_type_is_described() -> None:
    class Grown(AugmentRecipe):
        shear: Annotated[float, Field(ge=0.0, le=45.0)] = Field(10.0, description="Largest shear in degrees")
        order: Literal["first", "second"] = "first"
        names: tuple[str, ...] = ("a", "b")
        steps: int | None = None

    found = _of(Grown)
    assert (found["shear"].kind, found["shear"].reach, found["shear"].label) == ("number", (0.0, 45.0), "Shear")
    assert found["order"].kind == "choice"
    assert found["names"].kind == "text" and found["steps"].kind == "text"


def test_defaults_follow_a_choice_that_has_its_own() -> None:
    assert default_of(AugmentRecipe, {"kind": "dinov2"}).local_crops == 8
    assert default_of(AugmentRecipe, {"kind": "paper"}).local_crops == 0
    assert default_of(AugmentRecipe, {"kind": "nobody's"}) == AugmentRecipe()


def test_the_marked_defaults_are_the_papers_recipe() -> None:
    assert load_recipe("paper-vits14") == Recipe()


def test_nice_numbers_are_not_below_what_they_round() -> None:
    assert [nice(value) for value in (0.9, 1.0, 1.1, 2.6, 7.0, 9.0, 0.011)] == pytest.approx(
        [1.0, 1.0, 1.25, 3.0, 8.0, 10.0, 0.0125]
    )
