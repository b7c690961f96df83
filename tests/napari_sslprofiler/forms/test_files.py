from __future__ import annotations

from pathlib import Path

import pytest

from napari_sslprofiler.forms.files import read_recipe, recipe_overrides, save_recipe
from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe, available_recipes, load_recipe


def test_a_saved_recipe_reads_back(tmp_path: Path) -> None:
    tiny = load_recipe("tiny")
    assert read_recipe(save_recipe(tiny, tmp_path / "mine")) == tiny
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


def test_where_it_cannot_be_written_a_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot write the recipe .*mine\.toml"):
        save_recipe(Recipe(), tmp_path / "missing" / "mine.toml")
    (tmp_path / "taken.toml").mkdir()
    with pytest.raises(UserError, match="Cannot write the recipe"):
        save_recipe(Recipe(), tmp_path / "taken.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.toml"]


@pytest.mark.parametrize("name", available_recipes())
def test_overrides_lead_from_one_recipe_to_another(name: str) -> None:
    wanted = load_recipe(name)
    assert load_recipe("paper-vits14", recipe_overrides(wanted, Recipe())) == wanted
    assert recipe_overrides(wanted, wanted) == []


def test_overrides_read_as_they_are_typed() -> None:
    recipe = load_recipe("paper-vits14", ["augment.crop=[0.5, 1.0]", "augment.kind=dinov2", "train.lr=1e-4"])
    assert recipe_overrides(recipe, Recipe())[:2] == ['augment.kind="dinov2"', "augment.crop=[0.5, 1.0]"]
