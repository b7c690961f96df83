"""A step's views are what ``pair_views`` makes of the batch, local crops included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sslprofiler_core.augment import pair_views
from sslprofiler_core.model.network import build_network
from sslprofiler_core.recipes import Recipe
from sslprofiler_core.training import train
from sslprofiler_core.training.loader import PairBatch
from sslprofiler_core.training.objective import Centres, objective
from sslprofiler_core.training.run_folder import RunFolder
from sslprofiler_core.training.views import step_views


def _batch() -> PairBatch:
    rng = np.random.default_rng(0)
    return PairBatch(
        sites=[torch.from_numpy(rng.integers(0, 60000, (2, 40, 40), np.uint16)) for _ in range(4)],
        scales_BC2=torch.tensor([0.0, 60000.0]).expand(4, 2, 2).contiguous(),
        partner_B=np.arange(4) ^ 1,
        well_B=torch.arange(4) // 2,
        names=list("abcd"),
        problems=[],
    )


def _recipe(**augment: object) -> Recipe:
    settings = {"size": 24, "local_size": 8, "noise": 0.0, **augment}
    train = {"batch": 4, "precision": "float32"}
    return Recipe.model_validate({"model": {"patch": 4}, "augment": settings, "train": train})


def test_views_come_from_each_site_and_its_partner() -> None:
    batch, recipe = _batch(), _recipe()
    views = step_views(batch, recipe, 3, torch.device("cpu"))
    partners = [batch.sites[other] for other in batch.partner_B]
    made = pair_views(batch.sites, partners, batch.scales_BC2, batch.scales_BC2, recipe, 3)
    assert torch.equal(views.v1_BCHW, made.v1_BCSS) and torch.equal(views.v2_BCHW, made.v2_BCSS)
    assert np.array_equal(views.masks_BN.numpy(), made.drawn.masks_BN)
    assert torch.equal(views.masks_BN.flatten().nonzero()[:, 0], views.masked_M)
    assert torch.equal(views.masks_BN.nonzero()[:, 0], views.image_M)
    assert views.crops_LBCHW is None
    crops = step_views(batch, _recipe(local_crops=2), 3, torch.device("cpu")).crops_LBCHW
    assert crops is not None and crops.shape == (2, 4, 2, 8, 8)


def test_bf16_views_leave_the_loss_of_bf16_training_as_it_is() -> None:
    recipe = Recipe.model_validate(
        {
            "model": {"patch": 4, "width": 16, "depth": 1, "heads": 2, "prototypes": 12, "head_hidden": 16}
            | {"head_bottleneck": 8, "drop_path": 0.0, "init": "fan_in"},
            "augment": {"size": 24, "local_size": 8, "local_crops": 2},
            "train": {"batch": 4, "precision": "bf16"},
        }
    )
    views = step_views(_batch(), recipe, 3, torch.device("cpu"))
    assert views.v1_BCHW.dtype == views.v2_BCHW.dtype == torch.bfloat16
    assert views.crops_LBCHW is not None and views.crops_LBCHW.dtype == torch.bfloat16
    plain = recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": "float32"})})
    exact = step_views(_batch(), plain, 3, torch.device("cpu"))
    assert exact.v1_BCHW.dtype == torch.float32
    losses = []
    for seen in (views, exact):
        student, teacher = build_network(recipe, 2)
        centres = Centres.zeros(12, torch.device("cpu"))
        losses.append(objective(student, teacher, seen, recipe.loss, 0.05, centres, torch.bfloat16)[1])
    assert torch.equal(*losses)


def test_dinov2s_views_train(simulated: Path, small: list[str], tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    settings = ["augment.kind=dinov2", "augment.local_size=16", "augment.local_crops=2", "train.steps=2"]
    train([simulated / "images"], group="brightfield", out=tmp_path / "run", recipe="tiny", overrides=small + settings)
    torch.set_num_threads(threads)
    steps = [event for event in RunFolder(tmp_path / "run").events() if event["event"] == "step"]
    assert len(steps) == 2 and all(0 < step["dino_crops"] < 10 for step in steps)
    assert not RunFolder(tmp_path / "run").recipe().augment.local_aggregation
