"""A run that starts from pretrained weights: taken once, kept in its recipe, and never asked for again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import timm
import torch
from safetensors.torch import save_file

from sslprofiler_core.errors import UserError
from sslprofiler_core.model import load_model
from sslprofiler_core.profiling import embed_plates
from sslprofiler_core.training import RunFolder, train

NAME = "vit_small_patch14_dinov2.lvd142m"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of that model with two of its twelve blocks, which is what timm makes here."""
    monkeypatch.setattr(timm, "create_model", partial(timm.create_model, depth=2))
    source = timm.create_model(NAME.partition(".")[0], pretrained=False, num_classes=0)
    path = tmp_path / "weights.safetensors"
    save_file(source.state_dict(), path)
    return path


def test_it_trains_resumes_and_embeds_without_the_weights_file(
    simulated: Path, small: list[str], weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    more = [f"model.pretrained={NAME}", "augment.size=28", "train.batch=4", "train.steps=2", "train.knn_checks=0"]
    sets = [*small, *more, f"model.pretrained_file={weights}"]
    options: dict[str, Any] = {"group": "fluorescence", "out": run.path}
    with pytest.raises(UserError, match="No pretrained weights"):
        train([simulated / "images"], recipe="tiny", overrides=[*sets, "model.pretrained_file=none"], **options)
    assert not run.exists()
    assert train([simulated / "images"], recipe="tiny", overrides=sets, **options).reason == "finished"
    recipe = run.recipe()
    assert (recipe.model.pretrained, recipe.model.width, recipe.model.depth, recipe.model.patch) == (NAME, 384, 12, 14)
    before = load_model(run.path).backbone.vit.blocks[0].mlp.fc1.weight
    start = timm.models.load_state_dict(str(weights))["blocks.0.mlp.fc1.weight"]
    assert 0.0 < float((before - start).norm() / start.norm()) < 0.1

    weights.unlink()
    monkeypatch.setattr("sslprofiler_core.model.pretrained._source", lambda recipe: pytest.fail("asked again"))
    assert train([simulated / "images"], resume=True, **options).reason == "finished"
    out = embed_plates([simulated / "images"], [load_model(run.path)], tmp_path / "sites.parquet")
    assert pq.read_table(out).column("fluorescence_cls").type.list_size == 384
