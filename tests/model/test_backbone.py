"""The backbone's forward: stochastic depth that saves its compute, activation checkpointing, compiled blocks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sslprofiler_core.model import Backbone
from sslprofiler_core.model.backbone import run_block
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.recipes.schema import ModelRecipe

BATCH = 10


def recipe_of(**more: object) -> ModelRecipe:
    tree = {"width": 32, "depth": 3, "heads": 2, "patch": 8, "init": "fan_in", "layer_scale": 0.5, "drop_path": 0.3}
    return ModelRecipe.model_validate({**tree, **more})


def backbone_of(drops: bool = True, **more: object) -> Backbone:
    torch.manual_seed(0)
    return Backbone(recipe_of(**more), 2, 32, drops)


@pytest.fixture
def images() -> Tensor:
    return torch.randn(BATCH, 2, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def masks() -> Tensor:
    return torch.rand(BATCH, 16, generator=torch.Generator().manual_seed(2)) < 0.3


def gradients(backbone: Backbone, images: Tensor, masks: Tensor) -> list[Tensor]:
    """Outputs and gradients of a forward and backward pass, its random rows seeded."""
    backbone.zero_grad()
    torch.manual_seed(3)
    cls_BD, patches_BND = backbone(images, masks)
    (cls_BD.square().sum() + patches_BND.sin().sum()).backward()
    return [cls_BD.detach(), *(p.grad for p in backbone.parameters() if p.grad is not None)]


def test_without_dropped_rows_a_block_is_timms() -> None:
    backbone, tokens = backbone_of(), torch.randn(4, 17, 32)
    torch.testing.assert_close(run_block(backbone.blocks[0], tokens, None, None), backbone.blocks[0](tokens))


@pytest.mark.parametrize("recompute", [False, True])
def test_wanted_tokens_are_those_of_all(images: Tensor, masks: Tensor, recompute: bool) -> None:
    places_M = masks.flatten().nonzero()[:, 0]
    found: list[list[Tensor]] = []
    for wanted in (None, places_M, places_M[:0]):
        backbone = backbone_of()
        backbone.recompute = recompute
        cls_BD, patches = backbone(images, masks, wanted)
        patches_MD = patches.flatten(0, 1)[places_M] if wanted is None else patches
        (cls_BD.square().sum() + patches_MD.sin().sum()).backward()
        gradients = [p.grad for p in backbone.parameters() if p.grad is not None]
        found.append([cls_BD.detach(), patches_MD.detach(), *gradients])
    every, some, none = found
    assert len(places_M) and none[1].shape == (0, 32)
    assert torch.equal(some[0], every[0]) and torch.equal(some[1], every[1]) and torch.equal(none[0], every[0])
    for one, other in zip(some[2:], every[2:], strict=True):
        torch.testing.assert_close(one, other)


def test_a_branch_sees_only_the_kept_rows_which_count_for_all() -> None:
    """DINOv2: the kept rows' changes are scaled by batch / kept; the others pass as they are."""
    block, tokens = backbone_of().blocks[0], torch.randn(4, 17, 32)
    rows = torch.tensor([[2, 0], [3, 1]])
    seen: list[tuple[int, ...]] = []
    for part in (block.attn, block.mlp):
        part.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape)))
    found = run_block(block, tokens, rows, None)
    assert seen == [(2, 17, 32), (2, 17, 32)]
    attended = tokens.clone()
    attended[[2, 0]] += 2 * block.ls1(block.attn(block.norm1(tokens[[2, 0]])))
    fed = attended.clone()
    fed[[3, 1]] += 2 * block.ls2(block.mlp(block.norm2(attended[[3, 1]])))
    torch.testing.assert_close(found, fed)


def test_stochastic_depth_saves_its_compute(images: Tensor) -> None:
    """Seven of ten rows are computed, in every block: DINOv2's rate is the same for all."""
    operations = {}
    for drops in (False, True):
        backbone = backbone_of(drops)
        with FlopCounterMode(display=False) as counter:
            patches = backbone.vit.patch_embed(images)
        embedding = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            backbone(images)
        operations[drops] = counter.get_total_flops() - embedding
        assert patches.shape == (BATCH, 4, 4, 32)
    assert operations[True] / operations[False] == pytest.approx(0.7, abs=1e-6)


def test_stochastic_depth_keeps_the_mean_and_depends_on_the_generator(images: Tensor) -> None:
    """Each row is kept as often as any other; a network in evaluation mode, and a teacher, keep all."""
    backbone = backbone_of(depth=1)
    kept = torch.stack([backbone._draw_kept(BATCH, torch.device("cpu")) for _ in range(3000)])
    assert kept.shape[1:] == (1, 2, 7)
    counts = torch.bincount(kept[:, 0, 0].flatten(), minlength=BATCH) / 3000
    assert counts == pytest.approx([0.7] * BATCH, abs=0.04)
    torch.manual_seed(5)
    first = backbone(images)[0]
    torch.manual_seed(5)
    assert first.equal(backbone(images)[0])
    assert not first.equal(backbone(images)[0])
    whole = backbone.eval()(images)[0]
    assert whole.equal(backbone_of(drops=False, depth=1).train()(images)[0])


@pytest.mark.parametrize("drop_path", [0.0, 0.3])
def test_checkpointed_activations_give_equal_gradients(images: Tensor, masks: Tensor, drop_path: float) -> None:
    backbone = backbone_of(drop_path=drop_path)
    plain = gradients(backbone, images, masks)
    backbone.recompute = True
    again = gradients(backbone, images, masks)
    assert len(plain) == len(again) > 30
    assert all(one.equal(other) for one, other in zip(plain, again, strict=True))


@pytest.fixture
def compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own, tracing
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_blocks_equal_plain_ones_and_are_compiled_once(images: Tensor, masks: Tensor, recompute: bool) -> None:
    """One program for all blocks: a second is made for another shape, and checks run without any."""
    backbone = backbone_of(depth=12)
    plain = gradients(backbone, images, masks)
    backbone.compile_blocks()
    backbone.recompute = recompute
    torch._dynamo.utils.counters.clear()
    compiled = gradients(backbone, images, masks)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    for one, other in zip(plain, compiled, strict=True):
        assert float((one - other).norm() / one.norm()) < 1e-5
    gradients(backbone, images, masks)
    with backbone.uncompiled():
        gradients(backbone, images[:6], masks[:6])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_attention_is_torchs_fused_one() -> None:
    backbone = Backbone(load_recipe("tiny").model, 2, 64)
    assert all(block.attn.fused_attn for block in backbone.blocks)
