"""The whole objective of paper 3.2.1 against a float64 computation from the networks' own outputs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from sslprofiler_core.augment.masks import draw_masks
from sslprofiler_core.model.network import Network, build_network
from sslprofiler_core.recipes import Recipe
from sslprofiler_core.training.objective import TERMS, Centres, Views, objective

from .test_losses import sinkhorn_reference

BATCH = 6


def small_recipe(**loss: object) -> Recipe:
    return Recipe.model_validate(
        {
            "model": {"width": 16, "depth": 2, "heads": 2, "patch": 4, "prototypes": 12, "head_hidden": 16}
            | {"head_bottleneck": 8, "drop_path": 0.0, "init": "fan_in", "layer_scale": 0.5},
            "augment": {"size": 16},
            "loss": {"koleo": 0.3, "ibot": 0.7, "dino_local": 1.2, **loss},
        }
    )


def views(seed: int = 0) -> Views:
    generator = torch.Generator().manual_seed(seed)
    masks = draw_masks(seed, BATCH, (4, 4))
    flat = np.flatnonzero(masks)
    return Views(
        torch.randn(BATCH, 3, 16, 16, generator=generator, dtype=torch.float64),
        torch.randn(BATCH, 3, 16, 16, generator=generator, dtype=torch.float64),
        torch.from_numpy(masks),
        torch.from_numpy(flat),
        torch.from_numpy(flat // 16),
        torch.arange(BATCH) // 2,
    )


def networks(recipe: Recipe) -> tuple[Network, Network]:
    student, teacher = build_network(recipe, 3)
    student, teacher = student.double(), teacher.double()
    with torch.no_grad():  # student and teacher differ, as after some steps
        for parameter in student.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).double())
    return student, teacher


def cross_entropy(target: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return -(target * log_softmax(logits / 0.1, axis=1)).sum(1)


def test_terms_and_total_equal_the_formula() -> None:
    recipe, seen = small_recipe(), views()
    student, teacher = networks(recipe)
    centres = Centres.zeros(12, torch.device("cpu"))
    loss, terms, *_ = objective(student, teacher, seen, recipe.loss, 0.05, centres, torch.float32)

    with torch.no_grad():
        t_cls, t_patches = teacher.backbone(seen.v1_BCHW)
        s_cls, s_patches = student.backbone(seen.v1_BCHW, seen.masks_BN)
        l_cls, _ = student.backbone(seen.v2_BCHW)
        target = sinkhorn_reference(teacher.dino_head(t_cls).numpy(), 0.05, 3)
        masks = seen.masks_BN
        patch_target = sinkhorn_reference(teacher.dino_head(t_patches[masks]).numpy(), 0.05, 3)
        masked = cross_entropy(target, student.dino_head(s_cls).numpy()).mean()
        local = cross_entropy(target, student.dino_head(l_cls).numpy()).mean()
        patch = cross_entropy(patch_target, student.dino_head(s_patches[masks]).numpy())
    images = np.nonzero(masks.numpy())[0]
    ibot = sum(patch[images == image].mean() for image in set(images.tolist())) / BATCH

    def koleo(cls: torch.Tensor) -> float:
        unit = cls.numpy() / np.linalg.norm(cls.numpy(), axis=1, keepdims=True)
        distances = np.linalg.norm(unit[:, None] - unit[None], axis=-1)
        distances[(np.arange(BATCH)[:, None] // 2) == (np.arange(BATCH)[None] // 2)] = np.inf
        return float(-np.log(distances.min(1)).mean())

    spread = koleo(s_cls) + koleo(l_cls)
    found = dict(zip(TERMS, terms.tolist(), strict=True))
    assert found["dino_masked"] == pytest.approx(masked, rel=1e-8)
    assert found["dino_local"] == pytest.approx(local, rel=1e-8)
    assert found["ibot"] == pytest.approx(ibot, rel=1e-8)
    assert found["koleo"] == pytest.approx(spread, rel=1e-6)
    assert loss.item() == pytest.approx(masked + 1.2 * local + 0.7 * ibot + 0.3 * spread, rel=1e-7)


@pytest.mark.parametrize("centering", ["sinkhorn", "softmax"])
def test_local_crops_meet_both_views_and_each_pair_of_views_counts_alike(centering: str) -> None:
    """DINOv2: each local crop against the teacher of each global view, all pairs of equal weight."""
    recipe, seen = small_recipe(centering=centering, dino_masked=1.0, dino_local=1.0), views()
    crops = torch.randn(3, BATCH, 3, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    seen = dataclasses.replace(seen, crops_LBCHW=crops)
    student, teacher = networks(recipe)
    centres = Centres(torch.zeros(12).double(), torch.zeros(12).double())
    loss, terms, *_ = objective(student, teacher, seen, recipe.loss, 0.05, centres, torch.float32)
    found = dict(zip(TERMS, terms.tolist(), strict=True))

    with torch.no_grad():
        targets = []
        for view in (seen.v1_BCHW, seen.v2_BCHW):
            logits = teacher.dino_head(teacher.backbone(view)[0])
            balanced = sinkhorn_reference(logits.numpy(), 0.05, 3)
            targets.append(balanced if centering == "sinkhorn" else softmax(logits.numpy() / 0.05, axis=1))
        outputs = [student.dino_head(student.backbone(crop)[0]).numpy() for crop in crops]
    pairs = [cross_entropy(target, output).mean() for target in targets for output in outputs]
    assert found["dino_crops"] == pytest.approx(np.mean(pairs), rel=1e-8)
    dino = 2 * np.mean([found["dino_masked"], found["dino_local"], *pairs])
    assert loss.item() == pytest.approx(dino + 0.7 * found["ibot"] + 0.3 * found["koleo"], rel=1e-7)
    loss.backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_no_local_crops_leave_the_papers_objective() -> None:
    recipe, seen = small_recipe(), views()
    student, teacher = networks(recipe)
    centres = Centres.zeros(12, torch.device("cpu"))
    plain, terms, *_ = objective(student, teacher, seen, recipe.loss, 0.05, centres, torch.float32)
    none = dataclasses.replace(seen, crops_LBCHW=seen.v1_BCHW.new_empty((0, BATCH, 3, 8, 8)))
    assert objective(student, teacher, none, recipe.loss, 0.05, centres, torch.float32)[0] == plain
    assert terms[TERMS.index("dino_crops")] == 0


def test_gradients_reach_the_student_whole_and_the_teacher_never() -> None:
    recipe = small_recipe()
    student, teacher = networks(recipe)
    loss, *_ = objective(
        student, teacher, views(), recipe.loss, 0.05, Centres.zeros(12, torch.device("cpu")), torch.float32
    )
    loss.backward()
    assert [name for name, p in student.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(p.grad is None for p in teacher.parameters())


def test_a_separate_ibot_head_sees_patches() -> None:
    recipe = small_recipe()
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"separate_ibot_head": True})})
    student, teacher = networks(recipe)
    loss, *_ = objective(
        student, teacher, views(), recipe.loss, 0.05, Centres.zeros(12, torch.device("cpu")), torch.float32
    )
    loss.backward()
    assert student.ibot_head is not None
    assert student.ibot_head.prototypes.grad.abs().sum() > 0


def test_softmax_centres_follow_the_teachers_mean_at_the_end_of_a_step() -> None:
    recipe = small_recipe(centering="softmax")
    student, teacher = networks(recipe)
    centres, seen = Centres(torch.zeros(12).double(), torch.zeros(12).double()), views()
    found = objective(student, teacher, seen, recipe.loss, 0.05, centres, torch.float32)
    assert found.seen_2K1 is not None
    assert not centres.cls_K.any()
    centres.follow(found.seen_2K1, 0.9, torch.tensor(False))
    assert not centres.cls_K.any()
    centres.follow(found.seen_2K1, 0.9, torch.tensor(True))
    with torch.no_grad():
        cls, patches = teacher.backbone(seen.v1_BCHW)
        torch.testing.assert_close(centres.cls_K, 0.1 * teacher.dino_head(cls).mean(0))
        torch.testing.assert_close(centres.patch_K, 0.1 * teacher.dino_head(patches[seen.masks_BN]).mean(0))


def test_the_mask_hides_pixels_from_the_student() -> None:
    """Changing what lies under the mask changes the teacher's target but not the masked student's tokens."""
    recipe, seen = small_recipe(), views()
    student, _ = networks(recipe)
    image = int(seen.masks_BN.any(1).nonzero()[0])
    patch = int(seen.masks_BN[image].nonzero()[0])
    y, x = 4 * (patch // 4), 4 * (patch % 4)
    changed = seen.v1_BCHW.clone()
    changed[image, :, y : y + 4, x : x + 4] += 5.0
    with torch.no_grad():
        torch.testing.assert_close(
            student.backbone(changed, seen.masks_BN)[0], student.backbone(seen.v1_BCHW, seen.masks_BN)[0]
        )
        assert not torch.allclose(student.backbone(changed)[0], student.backbone(seen.v1_BCHW)[0])
