"""Starting from timm's DINOv2 and DINOv3 weights; here random ones stand in for the downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
import timm
import torch
from safetensors.torch import save_file

from sslprofiler_core.errors import UserError
from sslprofiler_core.model import ProjectionHead, build_backbone, build_network, start_networks
from sslprofiler_core.recipes import Recipe, load_recipe
from sslprofiler_core.recipes.pretrained import Pretrained, pretrained_shape
from sslprofiler_core.training.count import count_network

SECOND, THIRD = "vit_small_patch14_dinov2.lvd142m", "vit_small_patch16_dinov3.lvd1689m"
NAMES = get_args(Pretrained)[1:]
CREATE = timm.create_model


@pytest.fixture(scope="module", autouse=True)
def shallow() -> Iterator[None]:
    """Models here have two of their twelve blocks or more, so that tests are quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", partial(CREATE, depth=2))
        yield


def recipe_of(name: str, *more: str) -> Recipe:
    size = 4 * pretrained_shape(name).patch
    heads = ["model.prototypes=32", "model.head_hidden=32", "model.head_bottleneck=16"]
    return load_recipe("paper-vits14", [f"model.pretrained={name}", f"augment.size={size}", *heads, *more])


def source_of(name: str) -> Any:
    """A model as timm's ``create_model`` gives it, its weights random and none of them zero."""
    torch.manual_seed(3)
    source = timm.create_model(name.partition(".")[0], pretrained=False, num_classes=0, global_pool="token")
    for weight in source.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    return source.eval()


@pytest.fixture(scope="module", params=[SECOND, THIRD])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def file(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in source_of(name).state_dict().items()}, path)
    return path


@pytest.mark.parametrize("known", NAMES)
def test_shapes_are_those_of_timms_models(known: str) -> None:
    if not timm.is_model(known.partition(".")[0]):
        pytest.skip(f"timm {timm.__version__} does not have {known}")
    shape = pretrained_shape(known)
    with torch.device("meta"):
        model = CREATE(known.partition(".")[0], num_classes=0, img_size=4 * shape.patch)
    block = model.blocks[0]
    assert (model.embed_dim, len(model.blocks), block.attn.num_heads) == (shape.width, shape.depth, shape.heads)
    assert model.patch_embed.patch_size == (shape.patch, shape.patch)
    assert block.mlp.fc2.in_features == shape.hidden
    assert model.num_prefix_tokens == 1 + shape.registers
    assert (model.pos_embed is not None) == shape.positions
    recipe = recipe_of(known)
    assert (recipe.model.width, recipe.model.heads, recipe.model.shape) == (shape.width, shape.heads, shape)
    head = sum(weight.numel() for weight in ProjectionHead(recipe.model).parameters())
    counted = count_network(recipe, 3).parameters - head
    assert counted == pytest.approx(sum(weight.numel() for weight in model.parameters()), rel=0.005)


def test_channels_that_are_all_alike_give_what_the_model_gives_for_that_grey_picture(name: str, file: Path) -> None:
    """At the size that the model was trained at, five equal channels in [0, 1] are its standardised grey image."""
    source = source_of(name)
    side = source.patch_embed.img_size[0]
    recipe = recipe_of(name, f"augment.size={side}", f"model.pretrained_file={file}")
    backbone = build_backbone(recipe, 5)
    grey = torch.rand(1, 1, side, side)
    mean, deviation = (torch.tensor(source.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        expected = source.forward_features((grey.expand(-1, 3, -1, -1) - mean) / deviation)
        cls_BD, patches_BND = backbone(grey.expand(-1, 5, -1, -1))
    torch.testing.assert_close(cls_BD, expected[:, 0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(patches_BND, expected[:, source.num_prefix_tokens :], rtol=1e-3, atol=1e-4)


def test_student_and_teacher_start_from_them_masked_and_with_stochastic_depth(name: str, file: Path) -> None:
    recipe = recipe_of(name, f"model.pretrained_file={file}")
    student, teacher = build_network(recipe, 2)
    fresh = student.backbone.vit.blocks[0].attn.proj.weight.clone()
    start_networks(student, teacher, recipe)
    assert not student.backbone.vit.blocks[0].attn.proj.weight.equal(fresh)
    for one, other in zip(student.state_dict().values(), teacher.state_dict().values(), strict=True):
        assert one.equal(other)
    images, masks = torch.rand(4, 2, recipe.augment.size, recipe.augment.size), torch.zeros(4, 16, dtype=torch.bool)
    masks[:, 3] = True
    cls_BD, patches_BND = student.backbone(images, masks)
    assert (cls_BD.shape, patches_BND.shape) == ((4, 384), (4, 16, 384))
    (cls_BD.sum() + patches_BND.square().sum()).backward()
    without = [key for key, weight in student.backbone.named_parameters() if weight.grad is None]
    assert without == []


def test_weights_that_cannot_be_had_are_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def offline(*rest: Any, **more: Any) -> Any:
        raise ConnectionError("Max retries exceeded\nand more lines")

    student, teacher = build_network(recipe_of(SECOND), 2)
    with monkeypatch.context() as patch:
        patch.setattr("sslprofiler_core.model.pretrained.timm.create_model", offline)
        with pytest.raises(
            UserError, match=r"cannot be downloaded \(ConnectionError: Max.*pretrained_file=FILE"
        ) as told:
            start_networks(student, teacher, recipe_of(SECOND))
    assert "\n" not in str(told.value)
    with pytest.raises(UserError, match="No pretrained weights at"):
        start_networks(student, teacher, recipe_of(SECOND, f"model.pretrained_file={tmp_path / 'none'}"))
    rubbish = tmp_path / "rubbish.safetensors"
    save_file({"weight": torch.zeros(3)}, rubbish)
    with pytest.raises(UserError, match=rf"does not hold the weights of {SECOND}"):
        start_networks(student, teacher, recipe_of(SECOND, f"model.pretrained_file={rubbish}"))
    with pytest.raises(UserError, match="pretrained"):
        load_recipe("paper-vits14", ["model.pretrained=resnet50"])
    with pytest.raises(UserError, match=r"not a multiple of model\.patch = 16"):
        load_recipe("paper-vits14", [f"model.pretrained={THIRD}"])
