"""Networks: shapes, initialisation, and the file that holds a teacher."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from sslprofiler_core.errors import UserError
from sslprofiler_core.model import Backbone, LoadedModel, build_backbone, build_network, load_model, save_model
from sslprofiler_core.recipes import Recipe, load_recipe

SMALL = ["model.width=128", "model.patch=8", "augment.size=64", "model.prototypes=64"]
TINY = load_recipe("tiny", SMALL)


def loaded(recipe: Recipe = TINY) -> LoadedModel:
    scale = {"P1": {"DNA": (100.0, 5000.0), "ER": (90.5, 4000.0)}}
    return LoadedModel(build_backbone(recipe, 2), recipe, "fluorescence", ("DNA", "ER"), 0.6, scale, 7)


def test_vit_small_has_the_papers_shape() -> None:
    recipe = load_recipe("paper-vits14")
    backbone = Backbone(recipe.model, 5, recipe.augment.size)
    assert backbone.blocks[0].mlp.fc1.out_features == 2 * 1024  # gate and value of width 1,024
    assert backbone.blocks[0].mlp.fc2.in_features == 1024
    assert backbone.vit.patch_embed.grid_size == (37, 37)
    assert backbone.vit.pos_embed.shape == (1, 37 * 37 + 1, 384)
    assert float(backbone.blocks[0].ls1.gamma[0].detach()) == pytest.approx(1e-5)
    weights = backbone.blocks[0].mlp.fc1.weight.detach()
    for half in weights.chunk(2):  # timm alone sets one half to 1e-6
        assert float(half.std()) == pytest.approx(0.02 * 0.88, rel=0.05)  # truncated at two deviations


def test_swiglu_is_silu_of_the_first_half_times_the_second() -> None:
    mlp = build_backbone(TINY, 2).blocks[0].mlp
    x = torch.randn(3, TINY.model.width)
    gate, value = mlp.fc1(x).chunk(2, dim=-1)
    torch.testing.assert_close(mlp(x), mlp.fc2(torch.nn.functional.silu(gate) * value))


def test_tokens_come_out_in_their_shapes_also_at_another_size() -> None:
    backbone = build_backbone(TINY, 2)
    with torch.inference_mode():
        for side in (64, 96):
            cls_BD, patches_BND = backbone(torch.zeros(3, 2, side, side))
            assert cls_BD.shape == (3, 128) and patches_BND.shape == (3, (side // 8) ** 2, 128)


def test_a_masked_patch_is_the_mask_token_plus_its_position() -> None:
    backbone = build_backbone(TINY, 2)
    with torch.no_grad():
        backbone.mask_token.fill_(0.3)
        masks = torch.zeros(1, 64, dtype=torch.bool)
        masks[0, 10] = True
        seen = []
        backbone.blocks[0].norm1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
        backbone(torch.randn(1, 2, 64, 64), masks)
    expected = 0.3 + backbone.vit.pos_embed[0, 11].detach()
    torch.testing.assert_close(seen[0][0, 11], expected)


def test_weights_depend_on_the_recipes_seed_and_leave_the_callers_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, teacher = build_network(TINY, 2)
    torch.testing.assert_close(torch.rand(3), expected)
    again, _ = build_network(TINY, 2)
    other, _ = build_network(load_recipe("tiny", [*SMALL, "train.seed=1"]), 2)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        assert torch.equal(tensor, teacher.state_dict()[name])
    assert not torch.equal(first.backbone.vit.pos_embed, other.backbone.vit.pos_embed)


def test_head_gives_cosines_to_unit_prototypes() -> None:
    student, _ = build_network(TINY, 2)
    logits = student.dino_head(torch.randn(20, 128) * 50)
    assert logits.shape == (20, 64)
    assert float(logits.detach().abs().max()) <= 1 + 1e-5


def test_a_saved_model_comes_back_whole(tmp_path: Path) -> None:
    model = loaded()
    save_model(tmp_path / "model.safetensors", model)
    back = load_model(tmp_path)
    assert (back.recipe, back.group, back.channels, back.pixel_size_um, back.scale, back.step) == (
        model.recipe,
        "fluorescence",
        ("DNA", "ER"),
        0.6,
        model.scale,
        7,
    )
    images = torch.randn(2, 2, 64, 64)
    with torch.inference_mode():
        assert torch.equal(back.backbone(images)[0], model.backbone(images)[0])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_a_saved_model_can_be_read_by_whoever_may_read_the_folder(tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", loaded())
    (tmp_path / "other").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = loaded()
    with torch.no_grad():
        next(model.backbone.blocks[0].parameters())[0] = torch.nan
    save_model(tmp_path / "model.safetensors", model)
    with pytest.raises(UserError, match=r"model\.safetensors has weights that are not finite \(vit\.blocks\.0"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04cos\nsystem\n"])
def test_rubbish_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a model written by SSLProfiler"):
        load_model(path)


def test_a_missing_model_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No trained model"):
        load_model(tmp_path)
