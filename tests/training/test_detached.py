"""A training in a process of its own: it outlives its parent, and its folder says how it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.training import RunFolder, RunState, RunStatus, RunWatcher, start_training

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")


@pytest.fixture
def arguments(simulated: Path, small: list[str], tmp_path: Path) -> list[str]:
    sets = [part for setting in [*small, "train.steps=4000"] for part in ("--set", setting)]
    options = ["--channels", "fluorescence", "--out", str(tmp_path / "run"), "--recipe", "tiny", "--resume", *sets]
    return [str(simulated / "images"), *options]


Wait = Callable[[Callable[[RunState], bool]], RunState]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Wait]:
    """Wait for a state of the run; whatever is at work there at the end is killed."""
    watcher = RunWatcher(tmp_path / "run")

    def wait(what: Callable[[RunState], bool]) -> RunState:
        until = time.monotonic() + 90.0
        while not what(state := watcher.poll()):
            assert time.monotonic() < until, state
            time.sleep(0.02)
        return state

    yield wait
    state = watcher.poll()
    if state.status.alive and state.pid is not None:
        os.kill(state.pid, signal.SIGKILL)


def is_(status: RunStatus) -> Callable[[RunState], bool]:
    return lambda state: state.status is status


def test_started_paused_resumed_killed(arguments: list[str], tmp_path: Path, watch: Wait) -> None:
    run = RunFolder(tmp_path / "run")
    child = start_training(arguments, run.path, threads=1)
    assert watch(lambda state: True).status is RunStatus.STARTING
    state = watch(lambda state: state.step > 20)
    assert (state.status, state.pid, state.steps) == (RunStatus.RUNNING, child.pid, 4000)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)
    assert psutil.Process(child.pid).nice() >= 10
    with pytest.raises(UserError, match=rf"process {child.pid} on"):
        with_run(arguments)
    run.ask("pause")
    state = watch(is_(RunStatus.PAUSED))
    assert child.wait(30) == 0
    assert not run.presence_file.exists()
    child = start_training(arguments, run.path, threads=1)
    going = watch(lambda now: now.status is RunStatus.RUNNING and now.step > state.step + 20)
    os.kill(child.pid, signal.SIGKILL)
    before = time.monotonic()
    state = watch(is_(RunStatus.LOST))  # not waited for: a zombie is dead
    assert time.monotonic() - before < 3.0
    assert f"rocess {child.pid} on" in state.message and "Resume goes on from step" in state.message
    assert state.step >= going.step
    assert child.wait(30) == -signal.SIGKILL
    text = run.log_file.read_text()
    assert text.count("=== ") == 2 and "sslprofiler train" in text


def with_run(arguments: list[str]) -> None:
    """Train in this process, as `sslprofiler train` would."""
    from sslprofiler_core.training import train

    train([arguments[0]], group="fluorescence", out=arguments[4], recipe="tiny", resume=True, overrides=arguments[9::2])


def test_it_outlives_its_parent(arguments: list[str], tmp_path: Path, watch: Wait) -> None:
    code = (
        "import sys\nfrom sslprofiler_core.training import start_training\n"
        f"print(start_training({arguments!r}, {str(tmp_path / 'run')!r}).pid)\n"
    )
    parent = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    state = watch(is_(RunStatus.RUNNING))
    assert state.pid == int(parent.stdout)
    os.kill(state.pid, signal.SIGTERM)
    watch(is_(RunStatus.STOPPED))


def test_what_is_wrong_is_in_the_log(arguments: list[str], tmp_path: Path, watch: Wait) -> None:
    child = start_training([*arguments, "--set", "train.batch=7"], tmp_path / "run")
    state = watch(is_(RunStatus.FAILED))
    assert state.message == "train.batch = 7 is odd: a batch takes two sites a well. Use an even number."
    assert child.wait(30) == 2


def test_a_folder_that_cannot_be_made(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="Cannot start a training"):
        start_training(arguments, tmp_path / "file" / "run")
