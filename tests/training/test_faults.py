"""What goes wrong in the night, and what is still there in the morning: gradients, checkpoints, disks."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sslprofiler_core.errors import UserError
from sslprofiler_core.model import load_model
from sslprofiler_core.training import RunFolder, TrainingOutcome, train
from sslprofiler_core.training.checkpoint import checkpoints, load_last_checkpoint
from sslprofiler_core.training.loop import Trainer

from .test_loop import last_state, same, steps_of, tensors


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def start(simulated: Path, small: list[str], run: RunFolder, *more: str, **options: Any) -> TrainingOutcome:
    sets = [*small, "train.knn_checks=0", "train.checkpoint_steps=4", *more]
    return train([simulated / "images"], group="all", out=run.path, recipe="tiny", overrides=sets, **options)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("bad", [[6], [5, 6, 7]])
def test_a_bad_gradient_beside_a_good_loss(
    bad: list[int], value: float, simulated: Path, small: list[str], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reaches neither weights nor teacher; once it is counted, three times in a row it ends the run."""
    real = Trainer.train_step
    states: dict[int, list[torch.Tensor]] = {}

    def train_step(self: Trainer, batch: Any) -> Any:
        spoil = self.step + 1 in bad
        weight = self.student.dino_head.prototypes
        hook = weight.register_hook(lambda gradient: gradient * value) if spoil else None
        result = real(self, batch)
        if hook is not None:
            hook.remove()
        states[self.step] = tensors([self.student.state_dict(), self.teacher.state_dict()])
        return result

    monkeypatch.setattr(Trainer, "train_step", train_step)
    if len(bad) < 3:
        assert start(simulated, small, run).reason == "finished"
        assert same(states[5], states[6]) and not same(states[6], states[7])
    else:
        with pytest.raises(UserError, match=r"not finite 3 steps in a row, up to step 7 \(sites: .* site "):
            start(simulated, small, run)
        assert last_state(run)["step"] == 4 == load_model(run.path).step
    skipped = [event for event in run.events() if event.get("skipped")]
    assert [event["step"] for event in skipped] == bad
    assert all(event["loss"] is not None and event["gradient_norm"] is None for event in skipped)


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "payload", "bare payload"])
def test_a_spoiled_checkpoint_is_passed_over_and_the_run_ends_as_it_would_have(
    damage: str,
    simulated: Path,
    small: list[str],
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    start(simulated, small, run)
    alone = RunFolder(shutil.copytree(run.path, tmp_path / "alone"))
    newest, marker = checkpoints(run.checkpoints)[-1], tmp_path / "ran"
    content = newest.read_bytes()
    middle = len(content) // 2
    if damage == "truncated":
        newest.write_bytes(content[:middle])
    elif damage == "flipped":
        newest.write_bytes(
            content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64]) + content[middle + 64 :]
        )
    elif damage == "payload":
        torch.save({**last_state(run), "student": Payload(marker)}, newest)
    else:
        newest.write_bytes(pickle.dumps(Payload(marker)))
    assert start(simulated, small, run, resume=True).reason == "finished"
    assert newest.name in capfd.readouterr().err
    assert not marker.exists()
    assert steps_of(run) == steps_of(alone)
    assert same(last_state(run), last_state(alone))


# At the second checkpoint the disk is full: a file may not grow beyond a limit, and writes beyond it fail.
FULL_DISK = """
import resource, signal, sys
from sslprofiler_core.cli import main
from sslprofiler_core.training.loop import Trainer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
save = Trainer.save
def save_full(self, log):
    if self.step == 8:
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    save(self, log)
Trainer.save = save_full
sys.exit(main({command!r}))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX does")
@pytest.mark.parametrize("what", ["checkpoint", "model"])
def test_a_disk_that_fills_up_leaves_the_last_good_state(
    what: str, simulated: Path, small: list[str], run: RunFolder, trained: Path
) -> None:
    """Enough for the model and not for the checkpoint, or for neither."""
    sizes = [(trained / "model.safetensors").stat().st_size, checkpoints(trained / "checkpoints")[-1].stat().st_size]
    sets = [*small, "train.knn_checks=0", "train.checkpoint_steps=4"]
    options = [part for setting in sets for part in ("--set", setting)]
    command = [
        "train",
        str(simulated / "images"),
        "--channels",
        "all",
        "--out",
        str(run.path),
        "--recipe",
        "tiny",
        *options,
    ]
    limit = sum(sizes) // 2 if what == "checkpoint" else sizes[0] // 2
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sslprofiler_core.training.start", "sslprofiler_core.cli"])
    code = FULL_DISK.format(limit=limit, command=command)
    child = context.Process(target=exec, args=(code, {"__name__": "child"}))
    child.start()
    child.join(400)
    assert child.exitcode == 2
    failed = run.events()[-1]
    assert (
        failed["event"] == "failed"
        and f"Cannot write {'the model' if what == 'model' else 'checkpoint'}" in failed["reason"]
    )
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-00000004.pt"]
    assert load_last_checkpoint(run.checkpoints, torch.device("cpu"))[0] is not None
    assert load_model(run.path).step == (4 if what == "model" else 8)
    assert list(run.path.glob("*.partial")) == []
    assert start(simulated, small, run, resume=True) == TrainingOutcome("finished", 12, 12)


def test_collapse_is_said_in_words_once(
    simulated: Path,
    small: list[str],
    run: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A network whose embeddings are all alike: rank 1, seen in the log, the events and the terminal."""
    from sslprofiler_core.training import report

    monkeypatch.setattr(report, "effective_rank", lambda cls_BD: 1.2)
    start(simulated, small, run)
    (warning,) = [event for event in run.events() if event["event"] == "warning"]
    assert warning["text"].startswith("The embeddings of a batch span 1.2 dimensions") and "train.lr" in warning["text"]
    assert warning["step"] > 3
    assert warning["text"] in capfd.readouterr().err
