"""Who is in a run folder: seen, kept apart, gone with the process, and never left to delete by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.training import presence
from sslprofiler_core.training.presence import Presence, PresenceWatcher, read_holder

HOLD = """
import sys, time
from pathlib import Path
from sslprofiler_core.training.presence import Presence
with Presence(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def holder(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process in the run folder."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(run)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "in\n"
        yield child
        child.kill()


def test_it_is_seen_while_it_is_there_and_leaves_nothing(run: Path) -> None:
    watcher = PresenceWatcher(run)
    assert watcher.look() == (None, False)
    with Presence(run):
        holder, alive = watcher.look()
        assert alive and holder is not None
        assert holder.pid == os.getpid()
    assert watcher.look() == (None, False)
    assert not run.exists()


def test_what_was_put_into_the_folder_stays(run: Path) -> None:
    with Presence(run):
        (run / "run.json").write_text("{}")
    assert [path.name for path in run.iterdir()] == ["run.json"]


def test_it_beats(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "BEAT_S", 0.01)
    with Presence(run):
        time.sleep(0.1)
        holder = read_holder(run / "presence.json")
    assert holder is not None and holder.beat > 1


def test_a_second_one_is_kept_out_and_told_whose_it_is(run: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(UserError, match=rf"process {holder.pid} on .*at work in {run}"), Presence(run):
        pass
    assert PresenceWatcher(run).look()[1]


def test_killed_it_is_gone_at_once_even_unreaped_and_the_next_gets_in(run: Path, holder: subprocess.Popen[str]) -> None:
    watcher = PresenceWatcher(run)
    assert watcher.look()[1]
    os.kill(holder.pid, signal.SIGKILL)
    before = time.monotonic()
    while watcher.look()[1]:
        time.sleep(0.01)
    assert time.monotonic() - before < 2.0
    left, _ = watcher.look()
    assert left is not None and left.pid == holder.pid
    with Presence(run):
        assert watcher.look()[1]


def beat(run: Path, number: int, host: str = "node7") -> None:
    """Write what a training on another machine would."""
    run.mkdir(exist_ok=True)
    text = json.dumps({"pid": 5, "host": host, "since": 1e9, "beat": number})
    (run / "presence.json").write_text(text.ljust(511) + "\n")


def test_another_machine_is_alive_while_it_beats(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "SILENCE_S", 0.1)
    watcher = PresenceWatcher(run)
    beat(run, 1)
    assert watcher.look()[1]
    time.sleep(0.15)
    assert not watcher.look()[1]
    beat(run, 2)
    assert watcher.look()[1]
    os.utime(run / "presence.json", (0, 0))
    assert not PresenceWatcher(run).look()[1]  # of another year: no need to wait


def test_a_disk_without_locks_is_told_by_beats(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "_lock", lambda fd, shared=False: None)
    monkeypatch.setattr(presence, "SILENCE_S", 0.3)
    monkeypatch.setattr(presence, "BEAT_S", 0.05)
    with Presence(run):
        watcher = PresenceWatcher(run)
        watcher.look()
        time.sleep(0.4)
        assert watcher.look()[1]
        with pytest.raises(UserError, match="at work"), Presence(run):
            pass
    beat(run, 3)
    with Presence(run):
        pass


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"pid": "x"}', "\x00" * 512])
def test_rubbish_is_nobody_and_no_obstacle(run: Path, content: str) -> None:
    run.mkdir()
    (run / "presence.json").write_text(content)
    assert PresenceWatcher(run).look() == (None, False)
    with Presence(run):
        assert PresenceWatcher(run).look()[1]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="Cannot write the run folder"), Presence(tmp_path / "file" / "run"):
        pass
