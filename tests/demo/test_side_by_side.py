from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslprofiler_core.demo import side_by_side
from sslprofiler_core.demo.side_by_side import Job, finished, train_jobs, train_side_by_side
from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training.run_folder import RunFacts, RunFolder

# A training of no time at all: it writes what `train` writes, and does what its group is called.
TRAINER = """
import json, os, signal, sys, time
settings = json.loads(sys.argv[1])
group, out = settings["group"], settings["out"]
def log(event, step, **values):
    with open(os.path.join(out, "events.jsonl"), "a") as file:
        file.write(json.dumps({"event": event, "step": step, **values}) + "\\n")
def stop(number, frame):
    log("stopped", 1)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
settings["seen"] = [os.environ.get("SEEN"), os.environ.get("CUDA_VISIBLE_DEVICES")]
with open(os.path.join(out, "settings.json"), "w") as file:
    json.dump(settings, file)
log("step", 1, loss=2.0)
if group == "fails":
    print("The disk is full. Free some space.", file=sys.stderr)
    sys.exit(2)
if group == "endless":
    log("ready", 1)
    time.sleep(30)
open(os.path.join(out, "model.safetensors"), "w").close()
log("finished", 1)
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    (tmp_path / "fake_trainer.py").write_text(TRAINER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(side_by_side, "CHILD", "fake_trainer")
    monkeypatch.setattr(side_by_side, "_POLL_S", 0.02)
    found = {}
    for group in ("one", "two", "fails", "endless"):
        facts = RunFacts(group, ("DNA",), None, {}, {}, steps=1)
        run = RunFolder(tmp_path / group)
        run.claim()
        run.create(load_recipe("tiny"), facts)
        found[group] = run.path
    return found


def events(run: Path) -> list[str]:
    return [event["event"] for event in RunFolder(run).events()]


def wait_for(run: Path, event: str) -> None:
    until = time.monotonic() + 20
    while event not in events(run):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_both_are_trained_with_a_share_of_the_cores(runs: dict[str, Path], tmp_path: Path) -> None:
    own = {name: runs[name] for name in ("one", "two")}
    train_side_by_side(tmp_path / "images", tmp_path / "metadata", own, "tiny", ["train.seed=3"])
    threads = max(1, side_by_side.cores() // 2)
    for group, run in own.items():
        assert finished(run)
        settings = json.loads((run / "settings.json").read_text())
        assert settings["group"] == group and settings["resume"] is True
        assert settings["overrides"] == ["train.seed=3", f"train.threads={threads}"]


def test_finished_runs_are_kept_and_the_rest_keeps_its_share(runs: dict[str, Path], tmp_path: Path) -> None:
    own = {name: runs[name] for name in ("one", "two")}
    train_side_by_side(tmp_path, tmp_path, {"one": own["one"]}, "tiny")
    before = events(own["one"])
    train_side_by_side(tmp_path, tmp_path, own, "tiny")
    assert events(own["one"]) == before and finished(own["two"])
    share = json.loads((own["two"] / "settings.json").read_text())["overrides"]
    assert share == [f"train.threads={max(1, side_by_side.cores() // 2)}"]


def test_a_failure_ends_with_its_own_words_and_stops_the_other(runs: dict[str, Path], tmp_path: Path) -> None:
    own = {name: runs[name] for name in ("endless", "fails")}
    with pytest.raises(UserError, match=r"fails failed: The disk is full. Free some space. Its log is .*fails\.log"):
        train_side_by_side(tmp_path, tmp_path, own, "tiny")
    assert not finished(own["endless"]) and "finished" not in events(own["endless"])


def test_jobs_wait_for_a_place_and_give_it_back(runs: dict[str, Path], tmp_path: Path) -> None:
    jobs = [
        Job(name, (tmp_path,), None, name, runs[name], "tiny", environment={"SEEN": name}) for name in ("one", "two")
    ]
    train_jobs(jobs, 1, [{"CUDA_VISIBLE_DEVICES": "0"}])
    for job in jobs:
        assert finished(job.run)
        settings = json.loads((job.run / "settings.json").read_text())
        assert settings["seen"] == [job.name, "0"] and settings["metadata"] is None
    first, second = ((runs[name] / "settings.json").stat().st_mtime_ns for name in ("one", "two"))
    assert first < second


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """As in a terminal: a job that a shell started in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_stop_the_trainings_first(
    runs: dict[str, Path], tmp_path: Path, number: str, ctrl_c_interrupts: None
) -> None:
    def send() -> None:
        wait_for(runs["endless"], "ready")
        os.kill(os.getpid(), getattr(signal, number))

    before = signal.getsignal(signal.SIGTERM)
    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        train_side_by_side(tmp_path, tmp_path, {"endless": runs["endless"]}, "tiny")
    sender.join()
    assert events(runs["endless"])[-1] == "stopped"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_without_its_model_is_not_finished(runs: dict[str, Path]) -> None:
    with RunFolder(runs["one"]).events_file.open("a") as file:
        file.write(json.dumps({"event": "finished", "step": 1}) + "\n")
    assert not finished(runs["one"])
    RunFolder(runs["one"]).model_file.touch()
    assert finished(runs["one"])


def test_a_long_log_is_read_from_its_end(runs: dict[str, Path]) -> None:
    with RunFolder(runs["one"]).events_file.open("a") as file:
        for step in range(1, 2001):
            file.write(json.dumps({"event": "step", "step": step, "loss": 1.0 / step}) + "\n")
        file.write('{"event": "step", "st')
    assert side_by_side._last_step(runs["one"]) == (2000, 1.0 / 2000)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_child_stops_when_its_parent_is_gone(tmp_path: Path) -> None:
    code = """
import signal, sys, time, types
def train(**settings):
    def stop(number, frame):
        open(settings["out"], "w").write("stopped")
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    print("training", flush=True)
    time.sleep(30)
sys.modules["sslprofiler_core.training"] = types.SimpleNamespace(train=train)
from sslprofiler_core.demo.training_child import main
sys.exit(main())
"""
    command = [sys.executable, "-c", code, json.dumps({"out": str(tmp_path / "out")})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdin
        assert child.stdout.readline() == b"training\n"
        child.stdin.close()  # as when the parent dies
        assert child.wait(timeout=20) == 143
    assert (tmp_path / "out").read_text() == "stopped"
