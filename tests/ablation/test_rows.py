"""The ladder: each row differs from the row before in exactly what it changes."""

from __future__ import annotations

from typing import Any

import pytest

from sslprofiler_core.ablation import BEYOND, LADDER, choose_rows, recipe_of
from sslprofiler_core.ablation.rows import ALL, BOTH, Row
from sslprofiler_core.ablation.scale import Scale, sites_of
from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe, load_recipe

# Row -> what it changes against the row before: keys of the recipe, and settings of the row itself.
CHANGES = {
    "patch": {"features"},
    "separate": {"groups"},
    "res518": {"augment.size"},
    "augmentations": {"augment.kind"},
    "local-aggregation": {"augment.local_aggregation", "augment.local_crops"},
    "vitb14": {"model.width", "model.heads"},
}


def keys_of(recipe: Recipe) -> dict[str, Any]:
    return {f"{section}.{key}": value for section, own in recipe.model_dump().items() for key, value in own.items()}


def differences(one: Row, other: Row, scale: Scale) -> set[str]:
    first, second = keys_of(recipe_of(one, scale)), keys_of(recipe_of(other, scale))
    own = {name for name in ("features", "groups", "sites", "alpha") if getattr(one, name) != getattr(other, name)}
    return {key for key in first if first[key] != second[key]} | own


@pytest.mark.parametrize("scale", ["paper", "tiny"])
def test_each_row_changes_what_it_says(scale: Scale) -> None:
    rows = {row.name: row for row in LADDER}
    assert [row.name for row in LADDER] == ["dinov2-8ch", *CHANGES]
    for row in LADDER[1:]:
        assert row.against is not None
        assert differences(rows[row.against], row, scale) == CHANGES[row.name], row.name


def test_the_ladder_begins_at_dinov2_and_ends_at_the_papers_recipes() -> None:
    first = LADDER[0]
    recipe = recipe_of(first, "paper")
    assert first.groups == ALL and first.features == "cls"
    assert recipe.augment.kind == "dinov2" and recipe.augment.size == 224 and recipe.augment.local_crops == 8
    assert not recipe.augment.local_aggregation
    assert recipe_of(LADDER[-2], "paper") == load_recipe("paper-vits14")
    assert recipe_of(LADDER[-1], "paper") == load_recipe("paper-vitb14")
    assert LADDER[-1].groups == BOTH and LADDER[-1].features == "cls+patch"
    # Table 1, "Local"
    assert [row.paper for row in LADDER] == [20.3, 20.9, 24.9, 34.2, 35.4, 38.6, 40.0]


def test_the_tiny_scale_keeps_proportions() -> None:
    small, large = recipe_of(LADDER[0], "tiny"), recipe_of(LADDER[3], "tiny")
    assert large.augment.size / small.augment.size == pytest.approx(518 / 224, rel=0.02)
    assert recipe_of(LADDER[-2], "tiny") == load_recipe("tiny", ["augment.local_size=12"])
    assert sites_of(LADDER[0], "paper") == "concat" and sites_of(LADDER[0], "tiny") == "mean"
    assert recipe_of(LADDER[0], "tiny", 3).train.seed == 3


@pytest.mark.parametrize("row", BEYOND, ids=[row.name for row in BEYOND])
def test_rows_beyond_the_ladder_change_one_thing(row: Row) -> None:
    base = next(each for each in LADDER if each.name == row.against)
    assert len(differences(base, row, "paper")) == 1


def test_rows_are_chosen_by_name_in_the_tables_order() -> None:
    assert choose_rows() == LADDER
    assert [row.name for row in choose_rows(["no-noise", "patch"])] == ["patch", "no-noise"]
    assert choose_rows(["all"]) == (*LADDER, *BEYOND)
    with pytest.raises(UserError, match=r"No row 'vitl'\. Rows: dinov2-8ch, patch"):
        choose_rows(["vitl"])
