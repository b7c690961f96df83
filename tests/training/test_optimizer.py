"""Parameter groups: DINOv2's layer decay, patch-embed factor, and what weight decay leaves out."""

from __future__ import annotations

import pytest
import torch

from sslprofiler_core.model.network import build_network
from sslprofiler_core.recipes import Recipe, TrainRecipe, load_recipe
from sslprofiler_core.training.loop import update_teacher
from sslprofiler_core.training.optimizer import apply_settings, build_optimizer, parameter_settings
from sslprofiler_core.training.schedules import step_settings


@pytest.mark.parametrize(
    ("name", "factor", "decays"),
    [
        ("backbone.vit.patch_embed.proj.weight", 0.9**13 * 0.2, True),
        ("backbone.vit.patch_embed.proj.bias", 0.9**13 * 0.2, False),
        ("backbone.vit.pos_embed", 0.9**13, True),
        ("backbone.vit.cls_token", 0.9**13, True),
        ("backbone.mask_token", 0.9**13, True),
        ("backbone.vit.reg_token", 0.9**13, True),
        ("backbone.vit.blocks.11.gamma_1", 0.9, False),
        ("backbone.vit.blocks.11.attn.q_bias", 0.9, False),
        ("backbone.vit.blocks.0.attn.qkv.weight", 0.9**12, True),
        ("backbone.vit.blocks.11.mlp.fc1.weight", 0.9, True),
        ("backbone.vit.blocks.11.norm1.weight", 0.9, False),
        ("backbone.vit.blocks.3.ls1.gamma", 0.9**9, False),
        ("backbone.vit.norm.weight", 1.0, False),
        ("dino_head.mlp.0.weight", 1.0, True),
        ("dino_head.mlp.0.bias", 1.0, False),
    ],
)
def test_settings_of_a_parameter(name: str, factor: float, decays: bool) -> None:
    found = parameter_settings(name, 12, TrainRecipe())
    assert found == (pytest.approx(factor), decays, False)


def test_the_prototypes_are_the_last_layer() -> None:
    assert parameter_settings("dino_head.prototypes", 12, TrainRecipe()) == (1.0, True, True)


def test_every_parameter_is_in_exactly_one_group() -> None:
    recipe = load_recipe("tiny")
    student, _ = build_network(recipe, 3)
    optimizer = build_optimizer(student, recipe.train)
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in student.parameters())
    undecayed = {id(p) for group in optimizer.param_groups if not group["decays"] for p in group["params"]}
    batch_norms = [m for m in student.modules() if isinstance(m, torch.nn.BatchNorm1d) and m.affine]
    assert batch_norms and all(id(m.weight) in undecayed for m in batch_norms)


def test_frozen_prototypes_do_not_move() -> None:
    recipe = Recipe.model_validate({"model": {"width": 12, "heads": 2, "depth": 1, "prototypes": 8}})
    student, _ = build_network(recipe, 1)
    optimizer = build_optimizer(student, recipe.train)
    apply_settings(optimizer, step_settings(recipe, 0, 1000))
    before = student.dino_head.prototypes.detach().clone()
    other = student.dino_head.mlp[0].weight.detach().clone()
    for parameter in student.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert torch.equal(student.dino_head.prototypes, before)
    assert not torch.equal(student.dino_head.mlp[0].weight, other)


def test_the_update_is_one_kernel_for_many_weights() -> None:
    """Fused AdamW, and a teacher that follows all its weights at once: t + w (s - t), and nothing for a bad step."""
    recipe = load_recipe("tiny")
    student, teacher = build_network(recipe, 3)
    assert build_optimizer(student, recipe.train).defaults["fused"] is True
    with torch.no_grad():
        for weight in student.parameters():
            weight.add_(torch.randn_like(weight))
    before = [weight.clone() for weight in teacher.parameters()]
    update_teacher(student, teacher, torch.tensor(0.0))
    assert all(one.equal(other) for one, other in zip(before, teacher.parameters(), strict=True))
    update_teacher(student, teacher, torch.tensor(0.25))
    for old, ours, theirs in zip(before, teacher.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(ours, 0.75 * old + 0.25 * theirs)
