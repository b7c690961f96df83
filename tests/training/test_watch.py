"""Following a run by its folder alone, whatever is done to that folder."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslprofiler_core.training import RunFolder, RunState, RunStatus, RunWatcher, event_reader
from sslprofiler_core.training.event_reader import EventReader
from sslprofiler_core.training.presence import Presence


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.facts_file.write_text(json.dumps({"group": "all", "steps": 100}))
    return folder


def write(run: RunFolder, *events: dict[str, Any]) -> None:
    with run.events_file.open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def steps(first: int, last: int, began: float = 1e9) -> list[dict[str, Any]]:
    """Step events, one every half second."""
    pace = {"pairs_per_s": 16.0, "utilisation": 0.3}
    return [
        {"event": "step", "step": n, "loss": 1.0 / n, "lr": 0.1, **pace, "time": began + 0.5 * n}
        for n in range(first, last + 1)
    ]


STARTED = {"event": "started", "step": 0, "steps": 100, "device": "cpu"}


def test_nothing_there_is_said(tmp_path: Path) -> None:
    state = RunWatcher(tmp_path / "nowhere").poll()
    assert state.status is RunStatus.ABSENT
    assert str(tmp_path / "nowhere") in state.message
    assert RunWatcher(tmp_path).poll().status is RunStatus.ABSENT


def test_a_finished_run(trained: Path) -> None:
    state = RunWatcher(trained).poll()
    assert (state.status, state.step, state.steps, state.group) == (RunStatus.FINISHED, 12, 12, "fluorescence")
    events = [event for event in RunFolder(trained).events() if event["event"] == "step"]
    assert state.steps_N.tolist() == [event["step"] for event in events]
    for name in ("loss", "dino_local", "koleo", "pairs_per_s"):
        assert state.curves[name].tolist() == [event[name] for event in events]
    assert state.knn.steps_N.tolist() == [0, 3, 6, 9, 12]
    assert 0.0 < state.knn.well_chance < 0.2 and np.isfinite(state.knn.compound_N).all()
    assert (state.eta_s, state.pairs_per_s, state.device, state.checkpoint) == (None, None, "cpu", 12)
    assert "Finished after 12 steps" in state.message


def test_a_life(run: RunFolder) -> None:
    """Started, running, told to pause, paused, resumed, stopped, failed, and killed."""
    watcher = RunWatcher(run.path)
    with Presence(run.path):
        assert watcher.poll().status is RunStatus.STARTING
        write(run, STARTED)
        assert watcher.poll().status is RunStatus.STARTING
        write(run, *steps(1, 20))
        state = watcher.poll()
        assert (state.status, state.step, state.pid) == (RunStatus.RUNNING, 20, os.getpid())
        assert state.eta_s == pytest.approx(40.0)
        assert (state.pairs_per_s, state.utilisation) == (16.0, 0.3)
        run.ask("pause")
        assert watcher.poll().status is RunStatus.PAUSING
        run.ask("stop")
        assert watcher.poll().status is RunStatus.STOPPING
        run.forget_control()
        write(run, {"event": "checkpoint", "step": 20}, {"event": "paused", "step": 20, "steps": 100})
    state = watcher.poll()
    assert (state.status, state.eta_s) == (RunStatus.PAUSED, None)
    assert "Paused after step 20 of 100. Resume goes on from step 20." in state.message
    with Presence(run.path):
        assert watcher.poll().status is RunStatus.STARTING
        write(run, {"event": "resumed", "step": 20, "steps": 100, "device": "cpu"}, *steps(21, 22, 2e9))
        state = watcher.poll()
        assert (state.status, state.eta_s) == (RunStatus.RUNNING, pytest.approx(39.0))
        write(run, {"event": "stopped", "step": 22, "steps": 100})
    assert watcher.poll().status is RunStatus.STOPPED
    write(run, {"event": "resumed", "step": 22}, {"event": "failed", "step": 25, "reason": "All wrong. Do right."})
    state = watcher.poll()
    assert (state.status, state.message) == (RunStatus.FAILED, "All wrong. Do right.")
    run.presence_file.write_text(json.dumps({"pid": 7, "host": os.uname().nodename, "since": 1e9, "beat": 3}))
    state = watcher.poll()
    assert state.status is RunStatus.LOST
    assert "Process 7 on " in state.message and "train.batch" in state.message and "step 20" in state.message


def test_half_a_line_waits_for_its_end(run: RunFolder) -> None:
    reader = EventReader(run.events_file)
    write(run, *steps(1, 2))
    with run.events_file.open("a") as file:
        file.write('{"event": "step", "step": 3, "lo')
        file.flush()
        assert reader.poll()
        assert reader.step == 2
        file.write('ss": 0.25}\n')
    assert reader.poll()
    assert reader.step == 3
    assert reader.curves()[1]["loss"].tolist() == [1.0, 0.5, 0.25]
    assert not reader.poll()


@pytest.mark.parametrize("by", ["replacing", "writing over"])
def test_going_on_from_a_checkpoint_takes_steps_back(by: str, run: RunFolder) -> None:
    reader = EventReader(run.events_file)
    write(run, STARTED, *steps(1, 30))
    reader.poll()
    text = "".join(json.dumps(event) + "\n" for event in (STARTED, *steps(1, 10), *steps(11, 50, 3e9)))
    if by == "replacing":
        run.events_file.unlink()
    run.events_file.write_text(text)
    reader.poll()
    assert reader.step == 50
    assert reader.curves()[0].tolist() == list(range(1, 51))


RUBBISH = [
    b"\x00\xff\xfe rubbish \n" * 50,
    b'{"event": "step", "step": "x"}\n{"event": "step", "step": true}\n{"event": "step", "step": -4}\n',
    b'[1, 2]\n5\nnull\n"event"\n{"event": 7, "step": 1}\n{"step": 3}\n{}\n\n',
    b"{" * 100_000 + b"\n",
    b"[" * 100_000 + b"\n",
    b'{"event": "step", "step": 9, "loss": "low", "lr": null, "time": "noon", "x": [1]}\n',
    b'{"event": "knn", "step": 9, "well": "half", "well_n": null}\n',
    b'{"event": "failed", "step": 9}\n{"event": "warning", "step": 9, "text": {"a": 1}}\n',
    b'{"event": "started", "step": 9, "steps": "many"}\n',
]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_is_passed_over(rubbish: bytes, run: RunFolder) -> None:
    watcher = RunWatcher(run.path)
    write(run, STARTED, *steps(1, 5))
    watcher.poll()
    with run.events_file.open("ab") as file:
        file.write(rubbish)
    watcher.poll()
    for path in (run.facts_file, run.presence_file, run.log_file, run.control_file, run.recipe_file):
        path.write_bytes(rubbish)
        watcher.poll()
    run.presence_file.unlink()
    write(run, *steps(10, 12))
    state = watcher.poll()
    assert state.step == 12
    assert state.curves["loss"][-1] == 1 / 12


def test_a_folder_that_goes_and_comes(run: RunFolder, tmp_path: Path) -> None:
    watcher = RunWatcher(run.path)
    write(run, STARTED, *steps(1, 5))
    assert watcher.poll().step == 5
    run.path.rename(tmp_path / "aside")
    state = watcher.poll()
    assert state.status is RunStatus.ABSENT
    assert "has gone" in state.message
    (tmp_path / "aside").rename(run.path)
    assert watcher.poll().step == 5
    shutil.rmtree(run.path)
    run.path.write_text("a file")
    assert watcher.poll().status is RunStatus.ABSENT
    run.path.unlink()
    for path in (run.events_file, run.facts_file, run.log_file, run.presence_file):
        path.mkdir(parents=True)
    state = watcher.poll()
    assert "cannot be read" in state.message


def test_what_may_not_be_read_is_said(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = RunWatcher(run.path)
    write(run, STARTED, *steps(1, 5))
    watcher.poll()
    real = Path.open

    def refuse(self: Path, *rest: Any, **options: Any) -> Any:
        if self == run.events_file:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *rest, **options)

    monkeypatch.setattr(Path, "open", refuse)
    state = watcher.poll()
    assert "events.jsonl cannot be read (Permission denied)" in state.message
    assert state.step == 5


Log = Callable[[str], RunState]


@pytest.fixture
def after_log(run: RunFolder) -> Log:
    """Watch a run after its last attempt has left a log."""

    def after_log(text: str) -> RunState:
        write(run, STARTED, *steps(1, 5), {"event": "stopped", "step": 5, "steps": 100})
        run.log_file.write_text(f"=== earlier attempt\nsslprofiler: of old\n=== 2026-01-01 sslprofiler train\n{text}")
        later = time.time() + 1
        os.utime(run.log_file, (later, later))
        return RunWatcher(run.path).poll()

    return after_log


def test_what_failed_before_the_run_could_say_so_is_in_the_log(after_log: Log) -> None:
    state = after_log("Warning: odd\nsslprofiler: There is no folder x. Give one.\n")
    assert (state.status, state.message) == (RunStatus.FAILED, "There is no folder x. Give one.")
    assert state.log == (
        "=== 2026-01-01 sslprofiler train",
        "Warning: odd",
        "sslprofiler: There is no folder x. Give one.",
    )


def test_a_crash_is_said(after_log: Log) -> None:
    state = after_log('Traceback (most recent call last):\n  File "x", line 1\nValueError: our mistake\n')
    assert state.status is RunStatus.FAILED
    assert state.message.startswith("Unexpected ValueError: our mistake. The log has the details")


def test_stopped_before_it_began(after_log: Log) -> None:
    assert after_log("sslprofiler: interrupted.\n").status is RunStatus.STOPPED


def test_started_and_silent_so_far(after_log: Log) -> None:
    assert after_log("").status is RunStatus.STARTING


def test_a_progress_bar_in_the_log_is_its_last_state(after_log: Log) -> None:
    state = after_log("a: 0%\ra: 50%\r\x1b[Aa: 100%\nsslprofiler: Wrong. Do right.\n")
    assert state.log[1:] == ("a: 100%", "sslprofiler: Wrong. Do right.")


def test_a_long_run_keeps_few_points_with_ends_and_shape(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_reader, "MOST_POINTS", 100)
    reader = EventReader(run.events_file)
    for first in range(1, 5001, 500):
        write(run, *steps(first, first + 499), {"event": "warning", "step": first, "text": f"w{first}"})
        reader.poll()
        taken, curves = reader.curves()
        assert len(taken) <= 101
        assert taken[-1] == first + 499
        np.testing.assert_allclose(curves["loss"], 1 / taken)
    gaps = np.diff(taken)[:-1]
    assert gaps.max() <= 2 * gaps.min()
    assert list(reader.warnings) == [f"w{first}" for first in range(1, 5001, 500)]


def test_a_hundred_megabytes_are_read_once(run: RunFolder) -> None:
    """Then only what is new: a poll takes milliseconds."""
    line = json.dumps({**steps(1, 1)[0], **{f"term{n}": 0.123456789 for n in range(12)}})
    prefix, _, rest = line.partition('"step": 1,')
    block = "".join(f'{prefix}"step": {n},{rest}\n' for n in range(1, 2001))
    with run.events_file.open("w") as file:
        for _ in range(100_000_000 // len(block)):
            file.write(block)
    watcher = RunWatcher(run.path)
    began = time.thread_time()
    watcher.poll()
    first = time.thread_time() - began
    times = []
    for number in range(2001, 2011):
        write(run, *steps(number, number))
        began = time.thread_time()
        state = watcher.poll()
        times.append(time.thread_time() - began)
    assert state.step == 2010
    assert first < 20.0
    assert sorted(times)[5] < 0.2  # generous: machines are shared
