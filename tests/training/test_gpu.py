"""On a GPU: a step is the CPU's but for rounding, and a run trains, resumes and embeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sslprofiler_core.model import load_model
from sslprofiler_core.profiling import embed_plates, read_sites
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import RunFolder, train
from sslprofiler_core.training.checkpoint import checkpoints
from sslprofiler_core.training.trial import make_trial, random_batch

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")


def _terms(device: torch.device, *changes: str) -> Tensor:
    recipe = load_recipe("tiny", ["train.batch=8", "train.compile=off", *changes])
    trainer = make_trial(recipe, 3, device)
    batch = random_batch(3, (90, 100), 8)
    return torch.stack([trainer.train_step(batch)[0] for _ in range(3)]).cpu()


def _losses(run: RunFolder) -> list[float]:
    """By step; the last word counts."""
    found = {event["step"]: event["loss"] for event in run.events() if event["event"] == "step"}
    return [found[step] for step in sorted(found)]


@pytest.mark.parametrize(
    "changes",
    [
        [],
        ["train.accumulate=2", "train.activation_checkpointing=true"],
        ["augment.kind=dinov2", "augment.local_crops=2", "augment.local_size=32", "loss.centering=softmax"],
    ],
)
def test_steps_are_the_cpus(gpu: torch.device, changes: list[str]) -> None:
    torch.testing.assert_close(_terms(gpu, *changes), _terms(CPU, *changes), rtol=2e-3, atol=2e-3)


def test_bf16_is_near(gpu: torch.device) -> None:
    there = _terms(gpu, "train.precision=bf16")
    assert there.isfinite().all()
    torch.testing.assert_close(there[:, 0], _terms(CPU)[:, 0], rtol=0.05, atol=0.05)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_run_trains_resumes_and_embeds(
    gpu: torch.device, simulated: Path, small: list[str], precision: str, tmp_path: Path
) -> None:
    sets = [*small, f"train.precision={precision}", "train.checkpoint_steps=4"]
    run, images = RunFolder(tmp_path / "run"), [simulated / "images"]
    wanted = {"group": "fluorescence", "out": run.path, "recipe": "tiny", "overrides": sets, "device": str(gpu)}
    assert train(images, metadata=simulated / "metadata", **wanted).step == 12
    whole = _losses(run)
    checkpoints(run.checkpoints)[-1].unlink()  # as if it had been stopped after step 8
    assert train(images, resume=True, **wanted).step == 12
    np.testing.assert_allclose(_losses(run), whole, rtol=1e-2)  # a GPU adds up in no fixed order
    tables = [
        embed_plates(images, [load_model(run.path)], tmp_path / f"{device}.parquet", device=device)
        for device in (str(gpu), "cpu")
    ]
    there, here = (read_sites(table) for table in tables)
    assert there.metadata.equals(here.metadata)
    for name, features in here.features.items():
        near = np.abs(there.features[name] - features).max()
        assert near < (1e-2 if precision == "float32" else 0.2), name
