"""Recipes: the paper's figures, strict keys, round trips."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import available_recipes, dump_recipe, load_recipe


def test_the_papers_figures_are_in_its_recipes() -> None:
    small, base = load_recipe("paper-vits14"), load_recipe("paper-vitb14")
    assert (small.model.width, small.model.depth, small.model.heads, small.model.patch) == (384, 12, 6, 14)
    assert (base.model.width, base.model.depth, base.model.heads, base.model.patch) == (768, 12, 12, 14)
    for recipe in (small, base):
        assert (recipe.augment.size, recipe.train.batch, recipe.train.epochs, recipe.train.lr) == (518, 128, 100, 2e-5)
        assert recipe.train.warmup * recipe.train.epochs == 10
        augment = recipe.augment
        assert (augment.noise_shot, augment.noise_dark, augment.noise_read) == (0.1, 0.05, 0.01)
        assert (augment.elastic_alpha, augment.elastic_sigma, augment.elastic) == (1200, 40, 0.5)
        assert not augment.standardise and augment.local_aggregation
    changed = base.model_dump()
    changed["model"] |= {"width": 384, "heads": 6}
    assert changed == small.model_dump()  # the rows of Table 1 differ in the backbone alone


@pytest.mark.parametrize("name", available_recipes())
def test_every_shipped_recipe_loads_and_survives_a_round_trip(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = tmp_path / "recipe.toml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


def test_settings_can_be_changed_one_by_one() -> None:
    recipe = load_recipe("tiny", ["train.lr=1e-4", "loss.centering=softmax", "augment.crop=[0.2, 0.9]"])
    assert (recipe.train.lr, recipe.loss.centering, recipe.augment.crop) == (1e-4, "softmax", (0.2, 0.9))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.bach=3", "unknown key 'train.bach'. Did you mean 'train.batch'"),
        ("trains.batch=3", "unknown key 'trains'. Did you mean 'train'"),
        ("train.batch", "is not section.key=value"),
        ("train.batch=two", r"train\.batch.*'two'"),
        ("train.batch=1", "greater than or equal to 2"),
        ("train.lr=nan", r"train\.lr"),
        ("augment.size=65", "not a multiple of model.patch"),
        ("model.heads=5", "not a multiple of heads"),
        ("augment.crop=[0.9, 0.2]", "crop must ascend"),
        ("augment.noise_shot=1e-9", r"augment\.noise_shot"),
        ("train.seed=99999999999999999999", r"below 2\^63"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe("tiny", [override])


def test_an_objective_without_terms_is_refused() -> None:
    nothing = ["loss.dino_masked=0", "loss.dino_local=0", "loss.ibot=0"]
    with pytest.raises(UserError, match="nothing would be learned"):
        load_recipe("tiny", nothing)
    crops = ["augment.kind=dinov2", "augment.local_size=32"]
    assert load_recipe("tiny", nothing + crops).loss.dino_crops == 1.0
    with pytest.raises(UserError, match="nothing would be learned"):
        load_recipe("tiny", [*nothing, *crops, "loss.dino_crops=0"])


def test_a_missing_or_broken_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No recipe 'tinny'. Shipped recipes: .*tiny"):
        load_recipe("tinny")
    with pytest.raises(UserError, match="Cannot read recipe"):
        load_recipe(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[train\n", encoding="utf-8")
    with pytest.raises(UserError, match="not valid TOML"):
        load_recipe(broken)


def test_a_recipe_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("\ufeff[train]\nsteps = 3\n", encoding="utf-8")
    assert load_recipe(tmp_path / "own.toml").train.steps == 3
