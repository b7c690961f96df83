"""Too little memory is met at the first step, and answered with what fits."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import RunFolder, RunStatus, RunWatcher, memory, train, trial
from sslprofiler_core.training import objective as objectives
from sslprofiler_core.training.memory import advice, largest_batch, largest_by_arithmetic, needed_bytes, ran_out

CPU_WORDS = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 14, 30, 63, 64, 100, 127])
def test_the_largest_batch_is_found_by_trying(limit: int) -> None:
    tried: list[int] = []

    def works(size: int) -> bool:
        tried.append(size)
        return size <= limit

    found = largest_batch(works, 128)
    assert found % 2 == 0
    assert found <= limit
    assert found == 0 if limit < 2 else found > limit * 0.75 - 2
    assert len(tried) <= 10
    assert not {size for size in tried if size % 2 or size < 2}


@pytest.mark.parametrize(
    ("words", "memory_is_out"),
    [
        (CPU_WORDS, True),
        ("CUDA out of memory. Tried to allocate 2.00 GiB.", True),
        ("MPS backend out of memory (MPS allocated: 9.07 GB)", True),
        ("could not create a primitive", True),  # oneDNN's, under a limit
        ("could not create a primitive descriptor for a matmul primitive", False),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_a_want_of_memory_is_known_by_torchs_words(words: str, memory_is_out: bool) -> None:
    assert ran_out(RuntimeError(words)) == memory_is_out
    assert ran_out(MemoryError())


def test_arithmetic_asks_for_what_is_free() -> None:
    recipe = load_recipe("paper-vits14")
    sizes = [largest_by_arithmetic(recipe, 5, free) for free in (0, 10**9, 24 * 10**9, 140 * 10**9)]
    assert sizes == sorted(sizes)
    assert sizes[0] == sizes[1] == 0 < sizes[2] < 64 < sizes[3]
    text = advice(recipe, 5, sizes[2], torch.device("cuda"))
    assert f"--set train.batch={sizes[2]}." in text and "augment.size" in text and "bf16" not in text
    assert "local" not in text
    assert "no smaller batch" in advice(recipe, 5, 0, torch.device("cuda"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def start(simulated: Path, small: list[str], run: RunFolder, *more: str, **options: Any) -> Any:
    return train([simulated / "images"], group="all", out=run.path, recipe="tiny", overrides=[*small, *more], **options)


@pytest.mark.parametrize(
    "error", [RuntimeError(CPU_WORDS), MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")]
)
def test_at_the_first_step_it_is_a_sentence_and_the_folder_is_free_for_less(
    error: Exception, simulated: Path, small: list[str], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = objectives.objective

    def objective(student: Any, teacher: Any, views: Any, *rest: Any) -> Any:
        if len(views.v1_BCHW) > 4:
            raise error
        return real(student, teacher, views, *rest)

    monkeypatch.setattr(objectives, "objective", objective)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 3_000_000)  # the arithmetic that starts a run sees more
    with pytest.raises(UserError, match=r"train\.batch = 8 does not fit .*--set train\.batch=\d\.") as told:
        start(simulated, small, run)
    state = RunWatcher(run.path).poll()
    assert (state.status, state.message) == (RunStatus.FAILED, str(told.value))
    assert start(simulated, small, run, "train.batch=4").reason == "finished"


def test_later_the_run_and_its_checkpoint_stay(
    simulated: Path, small: list[str], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = objectives.objective
    steps: list[int] = []

    def objective(*rest: Any) -> Any:
        steps.append(1)
        if len(steps) == 8:
            raise RuntimeError(CPU_WORDS)
        return real(*rest)

    with monkeypatch.context() as patch:
        patch.setattr(objectives, "objective", objective)
        with pytest.raises(UserError, match="does not fit"):
            start(simulated, small, run, "train.checkpoint_steps=5")
    assert run.exists()
    assert start(simulated, small, run, "train.checkpoint_steps=5", resume=True).reason == "finished"


def test_other_errors_are_not_taken_for_it(
    simulated: Path, small: list[str], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def objective(*rest: Any) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(objectives, "objective", objective)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        start(simulated, small, run)
    state = RunWatcher(run.path).poll()
    assert state.status is RunStatus.FAILED
    assert "Unexpected RuntimeError: shapes do not match. Please report it." in state.message


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory as Linux does")
def test_a_real_want_of_memory_is_that_sentence(simulated: Path, small: list[str], run: RunFolder) -> None:
    """A process with a limit on its memory, and a head that does not fit into it."""
    sets = [part for setting in [*small, "model.prototypes=400000"] for part in ("--set", setting)]
    options = ["--channels", "all", "--out", str(run.path), "--recipe", "tiny", *sets]
    code = (
        "import resource, sys, torch, timm, psutil\n"
        "import sslprofiler_core.training.start\n"
        "from sslprofiler_core.cli import main\n"
        "used = psutil.Process().memory_info().vms\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 400_000_000, used + 400_000_000))\n"
        f"sys.exit(main(['train', {str(simulated / 'images')!r}, *{options!r}]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "sslprofiler: A step with train.batch = 8 does not fit into the memory of cpu" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_would_help_is_said_with_how_much() -> None:
    """Checkpointing, accumulation, fewer crops, a smaller view: each less than what is needed now."""
    recipe = load_recipe("paper-vits14", ["augment.local_crops=8", "augment.local_size=98"])
    needed = needed_bytes(recipe, 5)
    text = advice(recipe, 5, 40, torch.device("cuda"))
    for switch in ("activation_checkpointing=true", "accumulate=2"):
        words = f"train.{switch} ("
        assert words in text
        assert float(text.split(words)[1].split(" GB")[0]) < needed / 1e9
    assert "augment.local_crops, now 8" in text and "augment.size, now 518" in text
    with_all = ["train.activation_checkpointing=true", "train.accumulate=4"]
    less = load_recipe("paper-vits14", with_all)
    assert needed_bytes(less, 5) < 0.4 * needed_bytes(load_recipe("paper-vits14"), 5)
    text = advice(less, 5, 46, torch.device("cuda"))
    assert "--set train.batch=40." in text  # parts of whole pairs
    assert "activation_checkpointing" not in text and "accumulate" not in text


@pytest.mark.parametrize("limit", [1, 5, 12, 30])
def test_a_device_is_tried_before_anything_is_written(
    limit: int, simulated: Path, small: list[str], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that holds so many pairs, played by the CPU: real steps, two of each size while there are no moments."""
    real = objectives.objective
    tried: list[int] = []

    def objective(student: Any, teacher: Any, views: Any, *rest: Any) -> Any:
        tried.append(len(views.v1_BCHW))
        if tried[-1] > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(student, teacher, views, *rest)

    monkeypatch.setattr(objectives, "objective", objective)
    monkeypatch.setattr(trial, "tries", lambda device: True)
    words = "no smaller batch does either" if limit < 2 else rf"--set train\.batch={limit - limit % 2}\."
    if limit < 24:
        with pytest.raises(UserError, match=words):
            start(simulated, small, run, "train.batch=24", "train.steps=2")
        assert tried[0] == 24
        assert not run.exists()
        assert (
            start(simulated, small, run, "train.batch=2", "train.steps=2").reason == "finished" if limit > 1 else True
        )
    else:
        assert start(simulated, small, run, "train.batch=24", "train.steps=2").reason == "finished"
        assert tried == [24] * 4  # two beforehand


def test_a_cpu_is_asked_by_arithmetic(
    simulated: Path, small: list[str], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "free_bytes", lambda device: 500_000)
    with pytest.raises(UserError, match=r"train\.batch = 8 does not fit"):
        start(simulated, small, run)
    assert not run.exists()
