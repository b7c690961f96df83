"""Several processes train as one does: the same samples, losses and weights, whatever their number."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sslprofiler_core import ranks
from sslprofiler_core.errors import UserError
from sslprofiler_core.training import RunFolder, train
from sslprofiler_core.training.checkpoint import checkpoints
from sslprofiler_core.training.pairs import PairOrder, check_split

from .test_pairs import order

# In float64 what is left of a difference is the order of sums.
EXACT = ["train.precision=float64", "model.drop_path=0", "train.steps=20", "train.checkpoint_steps=10"]
STEPS = 20


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def command_line(images: Path, run: Path, overrides: Sequence[str]) -> list[str]:
    settings = [word for override in overrides for word in ("--set", override)]
    return ["train", str(images), "--channels", "fluorescence", "--out", str(run), "--recipe", "tiny", *settings]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def start_ranks(
    count: int, images: Path, run: Path, overrides: Sequence[str], *more: str, code: str = ""
) -> list[subprocess.Popen[str]]:
    """Start ranks as ``torchrun`` does; with ``code``, run that before the command line."""
    command = [*command_line(images, run, overrides), *more]
    body = f"import sys\nfrom sslprofiler_core.cli import main\n{code}\nsys.exit(main({command!r}))"
    shared = {"WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            [sys.executable, "-c", body],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]


def ended(processes: Sequence[subprocess.Popen[str]], limit_s: float = 120) -> list[tuple[int, str]]:
    """Wait for all; exit status and output of each."""
    try:
        outputs = [process.communicate(timeout=limit_s)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]


# Imports once for all ranks, which takes longer than their training.
FORKED = """
import os, sys, traceback
import sslprofiler_core.training.start
from sslprofiler_core.cli import main
pids = []
for rank in range({count}):
    if (pid := os.fork()) == 0:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        status = 1
        try:
            status = main({command})
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(status)
    pids.append(pid)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids))
"""


def in_ranks(count: int, images: Path, run: Path, overrides: Sequence[str], *more: str) -> None:
    """Train with some ranks."""
    if sys.platform != "linux":
        results = ended(start_ranks(count, images, run, overrides, *more))
        assert [status for status, _ in results] == [0] * count, results
        return
    body = FORKED.format(count=count, command=[*command_line(images, run, overrides), *more])
    environment = os.environ | {"WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    done = subprocess.run([sys.executable, "-c", body], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr


def tensors(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, Any] = torch.load(path, weights_only=True)
    parts = {name: state[name] for name in ("student", "teacher", "centres")}
    return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}


def assert_same_runs(one: Path, other: Path, *but: str, tolerance: float = 1e-6) -> None:
    """Weights, teacher and centres after the last step, and all that is said of all steps, ``but`` some."""
    ours, theirs = (tensors(checkpoints(RunFolder(path).checkpoints)[-1]) for path in (one, other))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=tolerance, msg=lambda text, n=name: f"{n}: {text}")
    first, second = ([e for e in RunFolder(path).events() if e["event"] == "step"] for path in (one, other))
    assert [event["step"] for event in first] == [event["step"] for event in second] == list(range(1, STEPS + 1))
    left_out = {"event", "time", "pairs_per_s", "utilisation", *but}
    for a, b in zip(first, second, strict=True):
        assert {k: v for k, v in a.items() if k not in left_out} == pytest.approx(
            {k: v for k, v in b.items() if k not in left_out}, rel=tolerance, abs=tolerance
        )


@pytest.fixture(scope="module")
def exact(small: list[str]) -> list[str]:
    return [*small, *EXACT]


@pytest.fixture(scope="module")
def alone(simulated: Path, exact: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rank's run."""
    run = tmp_path_factory.mktemp("alone") / "run"
    train([simulated / "images"], group="fluorescence", out=run, recipe="tiny", overrides=exact)
    return run


@pytest.fixture(scope="module")
def together(simulated: Path, exact: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ranks' run."""
    run = tmp_path_factory.mktemp("together") / "run"
    in_ranks(2, simulated / "images", run, exact)
    return run


def test_two_ranks_equal_one(alone: Path, together: Path) -> None:
    """Sinkhorn, KoLeo, batch normalisation in the head, iBOT's means: all over both ranks."""
    assert_same_runs(alone, together)
    assert RunFolder(together).events()[0] == {
        "event": "started",
        "step": 0,
        "steps": STEPS,
        "device": "cpu",
        "ranks": 2,
    }
    assert {path.name for path in together.iterdir()} == {path.name for path in alone.iterdir()}


def without_last_checkpoint(run: Path, copy: Path) -> Path:
    shutil.copytree(run, copy)
    checkpoints(RunFolder(copy).checkpoints)[-1].unlink()
    assert [path.name for path in checkpoints(RunFolder(copy).checkpoints)] == ["step-00000010.pt"]
    return copy


def test_one_rank_goes_on_where_two_stopped(
    alone: Path, together: Path, simulated: Path, exact: list[str], tmp_path: Path
) -> None:
    run = without_last_checkpoint(together, tmp_path / "run")
    train([simulated / "images"], group="fluorescence", out=run, resume=True)
    assert_same_runs(alone, run)


@pytest.mark.soak
@pytest.mark.parametrize("count", [2, 4])
def test_ranks_go_on_where_one_stopped(
    count: int, alone: Path, simulated: Path, exact: list[str], tmp_path: Path
) -> None:
    run = without_last_checkpoint(alone, tmp_path / "run")
    in_ranks(count, simulated / "images", run, exact, "--resume")
    assert_same_runs(alone, run)


# What an accumulated step promises.
EVEN = ["loss.centering=softmax", "loss.koleo=0", "model.head_norm=false"]
CROPS = ["augment.local_crops=2", "augment.local_size=16"]


@pytest.fixture(scope="module")
def whole(simulated: Path, exact: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rank's run whose batch is computed at once."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train([simulated / "images"], group="fluorescence", out=run, recipe="tiny", overrides=[*exact, *EVEN, *CROPS])
    return run


@pytest.mark.parametrize("parts", [2, 4])
def test_an_accumulated_step_equals_the_whole_batch_with_softmax_centering_without_koleo(
    parts: int, whole: Path, simulated: Path, exact: list[str], tmp_path: Path
) -> None:
    overrides = [*exact, *EVEN, *CROPS, f"train.accumulate={parts}"]
    train([simulated / "images"], group="fluorescence", out=tmp_path / "run", recipe="tiny", overrides=overrides)
    assert_same_runs(whole, tmp_path / "run", "koleo")  # of each part's rows; its weight is 0


def test_an_accumulated_step_differs_with_sinkhorn(
    alone: Path, simulated: Path, exact: list[str], tmp_path: Path
) -> None:
    """That is why it is not promised: each part is balanced alone."""
    overrides = [*exact, "train.accumulate=2", "train.steps=1"]
    train([simulated / "images"], group="fluorescence", out=tmp_path / "run", recipe="tiny", overrides=overrides)
    (step,) = [event for event in RunFolder(tmp_path / "run").events() if event["event"] == "step"]
    first = next(event for event in RunFolder(alone).events() if event["event"] == "step")
    assert step["ibot"] == pytest.approx(first["ibot"], rel=0.3)
    assert abs(step["ibot"] - first["ibot"]) > 1e-6


@pytest.mark.soak
def test_two_ranks_of_accumulated_steps_equal_one_whole_batch(
    whole: Path, simulated: Path, exact: list[str], tmp_path: Path
) -> None:
    in_ranks(2, simulated / "images", tmp_path / "run", [*exact, *EVEN, *CROPS, "train.accumulate=2"])
    assert_same_runs(whole, tmp_path / "run", "koleo")  # of each part's rows; its weight is 0


@pytest.mark.soak
def test_torchrun_starts_the_command_line(simulated: Path, exact: list[str], alone: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "-m", "sslprofiler_core.cli", *command_line(simulated / "images", tmp_path / "run", exact)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Trained 20 steps") == 1
    assert_same_runs(alone, tmp_path / "run")


@pytest.mark.parametrize("step", [0, 7])
def test_the_ranks_shares_in_order_are_the_steps_couples(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: PairOrder = order(4, 4, 4, 4, 4, 4, batch=12)
    for count in (1, 2, 3, 6):
        indices, samples = [], []
        for rank in range(count):
            monkeypatch.setattr(ranks, "count", lambda count=count: count)
            monkeypatch.setattr(ranks, "index", lambda rank=rank: rank)
            mine, places = pairs.share(step)
            assert len(mine) == 12 // count
            indices += mine
            samples += places.tolist()
        assert indices == pairs.step(step).ravel().tolist()
        assert samples == list(range(12))


@pytest.mark.parametrize(("batch", "count", "accumulate"), [(48, 4, 1), (48, 2, 4), (2, 1, 1), (6, 3, 1)])
def test_batches_that_can_be_shared(batch: int, count: int, accumulate: int) -> None:
    check_split(batch, count, accumulate)


@pytest.mark.parametrize(
    ("batch", "count", "accumulate", "words"),
    [
        (48, 5, 1, "train.batch = 48 cannot be shared evenly by 5 processes.*multiple of 10.*train.batch=40"),
        (6, 4, 1, "multiple of 8.*train.batch=8"),
        (48, 2, 5, "2 processes of 5 parts each.*multiple of 20.*train.batch=40"),
    ],
)
def test_batches_that_cannot_are_answered_with_one_that_can(
    batch: int, count: int, accumulate: int, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        check_split(batch, count, accumulate)


def wait_for(found: Callable[[], bool], processes: Sequence[subprocess.Popen[str]], limit_s: float = 60) -> None:
    until = time.monotonic() + limit_s
    while not found():
        assert time.monotonic() < until, ended(processes, 1)
        time.sleep(0.05)


LONG = ["train.steps=100000", "train.knn_checks=0", "train.checkpoint_steps=5"]


@pytest.mark.soak
def test_a_word_in_the_control_file_pauses_all_ranks(simulated: Path, exact: list[str], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    processes = start_ranks(2, simulated / "images", run.path, [*exact, *LONG])
    wait_for(lambda: len(checkpoints(run.checkpoints)) > 0, processes)
    run.ask("pause")
    (first, second) = ended(processes)
    assert first[0] == second[0] == 0, (first, second)
    assert "Stopped (paused) after step" in first[1] and "Stopped" not in second[1]
    assert run.events()[-1]["event"] == "paused"
    assert not run.presence_file.exists() and not run.control_file.exists()


@pytest.mark.soak
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_rank_stops_all_with_a_checkpoint(
    rank: int, simulated: Path, exact: list[str], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    processes = start_ranks(2, simulated / "images", run.path, [*exact, *LONG])
    wait_for(lambda: len(checkpoints(run.checkpoints)) > 0, processes)
    processes[rank].terminate()
    results = ended(processes)
    assert [status for status, _ in results] == [143, 143], results
    last = run.events()[-1]
    assert last["event"] == "stopped"
    assert checkpoints(run.checkpoints)[-1].name == f"step-{last['step']:08d}.pt"


@pytest.mark.soak
def test_a_killed_rank_ends_the_others_with_a_sentence(simulated: Path, exact: list[str], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    processes = start_ranks(2, simulated / "images", run.path, [*exact, *LONG])
    wait_for(lambda: len(checkpoints(run.checkpoints)) > 0, processes)
    processes[1].kill()
    (status, output), _ = ended(processes)
    assert status == 2 and "Another process of this training ended" in output
    assert "Traceback" not in output
    assert run.events()[-1]["event"] == "failed"


@pytest.mark.soak
def test_what_the_first_rank_refuses_ends_all_and_is_said_once(
    simulated: Path, exact: list[str], tmp_path: Path
) -> None:
    processes = start_ranks(2, simulated / "images", tmp_path / "run", [*exact, "train.batch=6"])
    first, second = ended(processes)
    assert first[0] == second[0] == 2
    assert "train.batch = 6 cannot be shared evenly by 2 processes" in first[1] and second[1] == ""
    assert not (tmp_path / "run").exists()


BAD_ON_RANK_1 = """
import os
from sslprofiler_core.errors import UserError
from sslprofiler_core.training import loader
if os.environ["RANK"] == "1":
    real = loader.PairLoader.batch
    def batch(self, step, last):
        if step == 7:
            raise UserError("Neither site of a pair can be read. So it is.")
        found = real(self, step, last)
        return found if step != 3 else loader.PairBatch(**{**vars(found), "problems": ["site 9 left out: a test"]})
    loader.PairLoader.batch = batch
"""


@pytest.mark.soak
def test_what_one_rank_cannot_read_is_told_by_the_first_and_leaves_a_checkpoint(
    simulated: Path, exact: list[str], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    first, second = ended(start_ranks(2, simulated / "images", run.path, exact, code=BAD_ON_RANK_1))
    assert first[0] == second[0] == 2, (first, second)
    assert "Neither site of a pair can be read. So it is." in first[1]
    assert "Neither" not in second[1]
    assert [e["text"] for e in run.events() if e["event"] == "bad_site"] == ["site 9 left out: a test"]
    assert run.events()[-1]["event"] == "failed"
    assert checkpoints(run.checkpoints)[-1].name == "step-00000007.pt"


NAN_ON_RANK_1 = """
import math, os
from sslprofiler_core.training import loop
if os.environ["RANK"] == "1":
    real = loop.step_views
    def spoiled(batch, recipe, step, device):
        views = real(batch, recipe, step, device)
        if step == 12:
            views.v1_BCHW[0, 0, 0, 0] = math.nan
        return views
    loop.step_views = spoiled
"""


@pytest.mark.soak
def test_a_step_that_is_not_finite_on_one_rank_touches_nothing_on_any(
    simulated: Path, exact: list[str], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    overrides = [*exact, "train.checkpoint_steps=1", "train.steps=13"]
    results = ended(start_ranks(2, simulated / "images", run.path, overrides, code=NAN_ON_RANK_1))
    assert [status for status, _ in results] == [0, 0], results
    assert [event["step"] for event in run.events() if event.get("skipped")] == [13]
    before, after = (tensors(path) for path in checkpoints(run.checkpoints))
    assert all(value.equal(after[name]) for name, value in before.items())
    assert all(bool(np.isfinite(value.numpy()).all()) for value in after.values())
