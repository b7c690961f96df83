"""Killed, stopped, interrupted, and resumed: the same losses step for step and bit-equal weights as one left alone.

Children are forked from a server that has imported torch once: a kill costs a fraction of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import open_plates
from sslprofiler_core.training import RunFolder, TrainingOutcome, train
from sslprofiler_core.training.checkpoint import checkpoints
from sslprofiler_core.training.objective import TERMS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and forked children are POSIX's")

STEPS = 60
_PATIENCE_S = 400  # many times what is needed: machines are shared, and nothing is measured here
KINDS = {
    "float32, sinkhorn": ["train.precision=float32"],
    "bf16, drop path, softmax": [
        "train.precision=bf16",
        "model.depth=3",
        "model.drop_path=0.3",
        "loss.centering=softmax",
        "train.steps=40",
    ],
}
# Kills itself after writing half of the checkpoint of step 8.
KILL_IN_CHECKPOINT = """
import os, signal, torch
save = torch.save
def half(state, file):
    save(state, file)
    if state["step"] == 8:
        file.truncate(file.tell() // 2)
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = half
"""
# Kills itself between the last model and its checkpoint, or between the checkpoint and its event.
KILL_BEFORE_CHECKPOINT = """
import os, signal
from sslprofiler_core.training import loop
save = loop.save_checkpoint
def or_kill(folder, step, *rest):
    if step == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    save(folder, step, *rest)
loop.save_checkpoint = or_kill
"""
KILL_AFTER_CHECKPOINT = """
import os, signal
from sslprofiler_core.training import loop
save = loop.save_checkpoint
def then_kill(folder, step, *rest):
    save(folder, step, *rest)
    if step == 12:
        os.kill(os.getpid(), signal.SIGKILL)
loop.save_checkpoint = then_kill
"""

Child = Callable[..., ForkServerProcess]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def command(simulated: Path, small: list[str]) -> Callable[..., list[str]]:
    """The command line of a training with a checkpoint every two steps."""

    def command(run: Path, *more: str) -> list[str]:
        sets = [*small, f"train.steps={STEPS}", "train.checkpoint_steps=2", *more]
        options = [part for setting in sets for part in ("--set", setting)]
        paths = [str(simulated / "images"), "--out", str(run)]
        return ["train", *paths, "--channels", "fluorescence", "--recipe", "tiny", "--resume", *options]

    return command


@pytest.fixture(scope="module")
def child(command: Callable[..., list[str]]) -> Child:
    """Start the command line in a process of its own, some code run first."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["sslprofiler_core.training.start", "sslprofiler_core.cli"])

    def start(run: Path, *more: str, first: str = "") -> ForkServerProcess:
        code = f"{first}\nimport sys\nfrom sslprofiler_core.cli import main\nsys.exit(main({command(run, *more)!r}))"
        process = server.Process(target=exec, args=(code, {"__name__": "child"}))
        process.start()
        return process

    return start


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> list[str]:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def alone(child: Child, kind: list[str], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was left alone."""
    run = RunFolder(tmp_path_factory.mktemp("alone") / "run")
    end(child(run.path, *kind), 0)
    return run


def end(process: ForkServerProcess, code: int) -> None:
    process.join(_PATIENCE_S)
    assert process.exitcode == code


def after_steps(run: RunFolder, process: ForkServerProcess, steps: int = 1) -> None:
    """Wait until a running process has written some more steps."""
    before, deadline = len(losses(run)), time.monotonic() + _PATIENCE_S
    while len(losses(run)) < before + steps:
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.002)


def losses(run: RunFolder) -> list[tuple[float, ...]]:
    names = ("step", *TERMS, "gradient_norm", "lr", "momentum")
    return [tuple(event[name] for name in names) for event in run.events() if event["event"] == "step"]


def assert_equal_runs(run: RunFolder, alone: RunFolder) -> None:
    steps = alone.facts().steps
    assert [row[0] for row in losses(run)] == list(range(1, steps + 1))
    assert losses(run) == losses(alone)
    ours, theirs = (torch.load(checkpoints(r.checkpoints)[-1], weights_only=True) for r in (run, alone))
    assert ours["step"] == theirs["step"] == steps
    found = list(different(ours, theirs))
    assert found == []
    assert list(different(model(run), model(alone))) == []
    assert run.events()[-1]["event"] == "finished"


def model(run: RunFolder) -> dict[str, Any]:
    with safe_open(run.model_file, framework="pt") as file:
        return {"weights": {name: file.get_tensor(name) for name in file.keys()}, "header": file.metadata()}  # noqa: SIM118  # not a dict


def different(ours: Any, theirs: Any, where: str = "") -> Iterator[str]:
    """Name the parts of two checkpoints that are not equal bit for bit."""
    if isinstance(ours, torch.Tensor):
        if ours.dtype != theirs.dtype or not ours.equal(theirs):
            yield where
    elif isinstance(ours, dict):
        assert sorted(map(str, ours)) == sorted(map(str, theirs))
        for key in ours:
            yield from different(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from different(one, other, f"{where}.{number}")
    elif ours != theirs:
        yield where


def kill_at_random(child: Child, run: RunFolder, more: list[str], kills: int, seed: int) -> None:
    """Kill a run at random moments: some steps after it went on, and wherever it then is.

    Steps are counted and not seconds, so that it gets as far on a busy machine as on an idle one; there is a checkpoint
    every other step, so that many kills meet one that is being written.
    """
    draw = random.Random(seed)
    for _ in range(kills):
        process = child(run.path, *more)
        after_steps(run, process, draw.randint(1, 12))
        time.sleep(draw.uniform(0.0, 0.03))
        os.kill(process.pid or 0, signal.SIGKILL)
        end(process, -signal.SIGKILL)


def test_killed_at_three_random_moments(child: Child, kind: list[str], alone: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    kill_at_random(child, run, kind, kills=3, seed=1)
    end(child(run.path, *kind), 0)
    assert_equal_runs(run, alone)


def test_killed_while_a_checkpoint_is_written(child: Child, kind: list[str], alone: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    end(child(run.path, *kind, first=KILL_IN_CHECKPOINT), -signal.SIGKILL)
    assert [path.name for path in run.checkpoints.glob("*.partial")] == ["step-00000008.partial"]
    assert checkpoints(run.checkpoints)[-1].name == "step-00000006.pt"
    end(child(run.path, *kind), 0)
    assert list(run.checkpoints.glob("*.partial")) == []
    assert_equal_runs(run, alone)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_by_a_signal(
    number: signal.Signals, child: Child, kind: list[str], alone: RunFolder, tmp_path: Path
) -> None:
    """The step at hand is finished and kept, and the exit status is the shell's for that signal."""
    run = RunFolder(tmp_path / "run")
    seldom = [*kind, "train.checkpoint_steps=20"]
    process = child(run.path, *seldom)
    while len(run.events()) < 2:  # the check before the first step; the first checkpoint by steps is far
        time.sleep(0.002)
    time.sleep(0.02)
    os.kill(process.pid or 0, number)
    end(process, 128 + number)
    stopped = run.events()[-1]
    assert stopped["event"] == "stopped"
    assert 0 < stopped["step"] < alone.facts().steps
    assert checkpoints(run.checkpoints)[-1].name == f"step-{stopped['step']:08d}.pt"
    assert losses(run)[-1][0] == stopped["step"]
    end(child(run.path, *seldom), 0)
    assert losses(run) == losses(alone)
    assert list(different(model(run)["weights"], model(alone)["weights"])) == []


@pytest.mark.parametrize("code", [KILL_BEFORE_CHECKPOINT, KILL_AFTER_CHECKPOINT])
def test_killed_between_the_last_model_and_the_end(code: str, child: Child, tmp_path: Path) -> None:
    """Whichever of model and checkpoint was written last, the resumed run's model is the final one."""
    run, whole = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole")
    end(child(whole.path, "train.steps=12", "train.checkpoint_steps=6"), 0)
    end(child(run.path, "train.steps=12", "train.checkpoint_steps=6", first=code), -signal.SIGKILL)
    end(child(run.path, "train.steps=12", "train.checkpoint_steps=6"), 0)
    assert_equal_runs(run, whole)


def test_killed_before_the_run_began(child: Child, tmp_path: Path) -> None:
    """A folder that was claimed and no more is no run yet, and no obstacle."""
    run = RunFolder(tmp_path / "run")
    code = (
        "import os, signal\nfrom sslprofiler_core.training import RunFolder\n"
        "RunFolder.create = lambda *rest: os.kill(os.getpid(), signal.SIGKILL)"
    )
    end(child(run.path, first=code), -signal.SIGKILL)
    assert run.path.is_dir() and not run.exists()
    end(child(run.path, "train.steps=2"), 0)


@pytest.mark.soak
def test_killed_twenty_times(child: Child, kind: list[str], tmp_path: Path) -> None:
    more = [*kind, "train.steps=400"]
    run, whole = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole")
    end(child(whole.path, *more), 0)
    kill_at_random(child, run, more, kills=20, seed=2)
    end(child(run.path, *more), 0)
    assert_equal_runs(run, whole)


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> RunFolder:
    """A finished run to resume."""
    return RunFolder(shutil.copytree(trained, tmp_path / "run"))


Resume = Callable[..., TrainingOutcome]


@pytest.fixture
def resume(copied: RunFolder, simulated: Path, small: list[str]) -> Resume:
    def resume(*more: str, images: Path | None = None, **options: Any) -> TrainingOutcome:
        settings: dict[str, Any] = {"group": "fluorescence", "out": copied.path, "recipe": "tiny", "resume": True}
        return train([images or simulated / "images"], **{**settings, "overrides": [*small, *more], **options})

    return resume


def test_a_finished_run_ends_at_once(copied: RunFolder, resume: Resume) -> None:
    before = copied.model_file.stat().st_mtime_ns, [path.stat().st_mtime_ns for path in copied.checkpoints.iterdir()]
    steps = losses(copied)
    assert resume() == TrainingOutcome("finished", 12, 12)
    after = copied.model_file.stat().st_mtime_ns, [path.stat().st_mtime_ns for path in copied.checkpoints.iterdir()]
    assert after == before
    assert losses(copied) == steps


def test_a_finished_runs_model_can_be_made_again(copied: RunFolder, resume: Resume) -> None:
    before = model(copied)
    copied.model_file.unlink()
    resume()
    assert list(different(model(copied), before)) == []


def test_resuming_needs_no_recipe(copied: RunFolder, simulated: Path) -> None:
    outcome = train([simulated / "images"], group="fluorescence", out=copied.path, resume=True)
    assert outcome == TrainingOutcome("finished", 12, 12)


def test_what_a_run_costs_may_change(copied: RunFolder, resume: Resume) -> None:
    assert resume("train.checkpoint_minutes=3", "plates.memory_gb=0.5").reason == "finished"


@pytest.mark.parametrize(
    ("more", "options", "message"),
    [
        (["train.lr=0.5"], {}, r"train\.lr was [\d.]+, now 0\.5"),
        (["train.steps=99"], {}, r"train\.steps was 12, now 99"),
        ([], {"group": "brightfield"}, r"--channels was fluorescence, now brightfield"),
        (["augment.flip=0", "augment.jitter=0", "loss.koleo=0", "train.lr=1", "train.seed=5"], {}, "and 1 more"),
        ([], {"resume": False}, r"already holds a run. Add --resume"),
    ],
)
def test_other_settings_are_refused(
    more: list[str], options: dict[str, Any], message: str, copied: RunFolder, resume: Resume
) -> None:
    before = copied.events_file.read_bytes()
    with pytest.raises(UserError, match=message) as error:
        resume(*more, **options)
    assert len(str(error.value)) < 500
    assert copied.events_file.read_bytes() == before


def test_other_plates_are_refused(copied: RunFolder, resume: Resume, simulated: Path) -> None:
    plate = open_plates([simulated / "images"])[1]
    with pytest.raises(UserError, match=rf"started on plates .*{plate.name}; given now: {plate.name}\."):
        resume(images=plate.root)


def test_other_channels_are_refused(copied: RunFolder, resume: Resume, tmp_path: Path) -> None:
    names = tmp_path / "names.toml"
    names.write_text('[1]\nname = "Nuclei"\n')
    with pytest.raises(UserError, match=r"(?s)not the run's.*the run +plate SIM00001\n.* Nuclei"):
        resume(channels_file=names)


def test_a_site_that_went_since_is_said(
    copied: RunFolder, resume: Resume, simulated: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The pairs after it are others than they would have been."""
    images = Path(shutil.copytree(simulated / "images", tmp_path / "images"))
    plate = open_plates([images])[0]
    plate.sites[0].paths[0].unlink()
    resume(images=images)
    warning = f"Plate {plate.name} has 23 complete sites, and had 24 when the run was started"
    assert warning in capfd.readouterr().err
    assert warning in copied.events_file.read_text()


def test_an_edited_recipe_is_a_clear_error(copied: RunFolder, resume: Resume) -> None:
    text = copied.recipe_file.read_text().replace("width = 16", "width = 32")
    copied.recipe_file.write_text(text)
    with pytest.raises(UserError, match="does not fit"):
        resume("model.width=32")
