"""When blocks are compiled, and that a run whose blocks are compiled learns what one whose blocks are not does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sslprofiler_core.errors import UserError
from sslprofiler_core.model import build_network
from sslprofiler_core.model.backbone import run_block
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import RunFolder, speed, train
from sslprofiler_core.training.speed import COMPILE_STEPS, compiles, set_up

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.compiler.reset()
    yield
    torch.compiler.reset()
    torch.set_num_threads(before)


def test_auto_compiles_long_runs_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(speed.shutil, "which", lambda name: "/usr/bin/cc" if name == "cc" else None)
    recipe = load_recipe("paper-vits14")
    assert compiles(recipe, GPU, COMPILE_STEPS)
    assert not compiles(recipe, GPU, COMPILE_STEPS - 1)
    assert not compiles(recipe, CPU, 10**6)
    assert compiles(load_recipe("tiny", ["train.compile=on"]), CPU, 1)
    assert not compiles(load_recipe("tiny", ["train.compile=off"]), GPU, 10**6)
    monkeypatch.setattr(speed.shutil, "which", lambda name: None)
    assert not compiles(recipe, GPU, COMPILE_STEPS)  # no compiler there
    with pytest.raises(UserError, match=r"train\.compile = on needs a C\+\+ compiler\. Install it"):
        compiles(load_recipe("tiny", ["train.compile=on"]), CPU, 1)
    assert not compiles(load_recipe("tiny", ["train.compile=off"]), CPU, 1)


def test_both_networks_are_compiled_and_the_student_alone_recomputes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With static shapes; the compiler itself, which takes seconds to import, is at work in the tests marked soak."""
    asked: list[object] = []

    def compile_(work: object, *, dynamic: bool) -> object:
        asked.append((work, dynamic))
        return lambda *rest: run_block(*rest)

    monkeypatch.setattr(torch, "compile", compile_)
    recipe = load_recipe("tiny", ["train.compile=on", "train.activation_checkpointing=true"])
    student, teacher = build_network(recipe, 2)
    set_up(student, teacher, recipe, CPU, 10)
    assert (student.backbone.recompute, teacher.backbone.recompute) == (True, False)
    assert asked == [(run_block, False)] * 2
    assert all(network.backbone._run is not run_block for network in (student, teacher))
    with teacher.backbone.uncompiled():
        assert teacher.backbone._run is run_block
    assert teacher.backbone._run is not run_block
    assert torch.get_float32_matmul_precision() == "highest"  # TF32 would reach the sampling grids


def losses(run: Path) -> list[float]:
    return [event["loss"] for event in RunFolder(run).events() if event["event"] == "step"]


@pytest.mark.soak
@pytest.mark.usefixtures("threads")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own, tracing
@pytest.mark.parametrize("more", [[], ["model.drop_path=0.3", "model.depth=3", "train.activation_checkpointing=true"]])
def test_a_compiled_run_learns_what_an_eager_one_does(
    more: list[str], simulated: Path, small: list[str], tmp_path: Path
) -> None:
    """Checks and resuming included; in float32, to rounding."""
    runs = {}
    for word in ("off", "on"):
        sets = [*small, *more, "train.knn_checks=2", f"train.compile={word}"]
        runs[word] = tmp_path / word
        train([simulated / "images"], group="all", out=runs[word], recipe="tiny", overrides=sets)
    assert len(losses(runs["on"])) == 12
    assert losses(runs["on"]) == pytest.approx(losses(runs["off"]), rel=1e-3)


def test_checkpointed_activations_change_nothing(simulated: Path, small: list[str], tmp_path: Path) -> None:
    """Bit for bit, stochastic depth included."""
    before = torch.get_num_threads()
    for word in ("false", "true"):
        sets = [*small, "model.drop_path=0.3", "model.depth=2", "train.steps=6", "train.knn_checks=0"]
        sets.append(f"train.activation_checkpointing={word}")
        train([simulated / "images"], group="all", out=tmp_path / word, recipe="tiny", overrides=sets)
    torch.set_num_threads(before)
    assert losses(tmp_path / "true") == losses(tmp_path / "false")


def test_bf16_on_an_apple_gpu_takes_a_pytorch_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = build_network(load_recipe("tiny"), 2)
    mps = torch.device("mps")
    set_up(student, teacher, load_recipe("tiny", ["train.precision=float32"]), mps, 10)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind != "mps")
    with pytest.raises(UserError, match=r"no bfloat16 on mps.*train\.precision=float32"):
        set_up(student, teacher, load_recipe("tiny", ["train.precision=bf16"]), mps, 10)
    set_up(student, teacher, load_recipe("tiny", ["train.precision=bf16"]), CPU, 10)
