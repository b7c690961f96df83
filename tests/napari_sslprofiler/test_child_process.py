"""A command as a child: progress, words, errors, cancel."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from napari_sslprofiler.background import Cancelled
from napari_sslprofiler.child_process import command_line, run_child
from sslprofiler_core.errors import UserError


def _nothing(done: int, total: int) -> None: ...


def test_the_command_is_what_a_shell_reads_back() -> None:
    arguments = ["embed", "my plates", "--run", "it's"]
    assert shlex.split(command_line(arguments)) == ["sslprofiler", *arguments]


def test_progress_arrives_as_numbers_and_words_as_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "talks.py").write_text(
        "import sys, time\n"
        "from sslprofiler_core.progress import progress_bar\n"
        "print('hello', file=sys.stderr)\n"
        "with progress_bar(3, 'Work', 'site') as bar:\n"
        "    for _ in range(3):\n"
        "        time.sleep(0.3)\n"
        "        bar.update(1)\n"
        "print('result')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    reported: list[tuple[int, int]] = []
    said: list[str] = []
    out = run_child([], lambda done, total: reported.append((done, total)), said.append, module="talks")
    assert out == "result"
    assert said == ["hello", "result"]
    assert reported[-1] == (3, 3) and (1, 3) in reported


def test_the_childs_own_error_is_the_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no folder .*nowhere\. Check the path\."):
        run_child(["inspect", str(tmp_path / "nowhere")], _nothing)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_child_is_said_to_be_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dies.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match="killed from outside"):
        run_child([], _nothing, module="dies")


def test_cancel_ends_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeps.py").write_text("import time, pathlib; print('up', flush=True); time.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    up = threading.Event()

    def report(done: int, total: int) -> None:
        if up.is_set():
            raise Cancelled

    since = time.monotonic()
    children: list[subprocess.Popen[str]] = []
    start = subprocess.Popen.__init__

    def remember(self: subprocess.Popen[str], *args: object, **more: object) -> None:
        start(self, *args, **more)
        children.append(self)

    monkeypatch.setattr(subprocess.Popen, "__init__", remember)
    with pytest.raises(Cancelled):
        run_child([], report, lambda _: up.set(), module="sleeps")
    assert time.monotonic() - since < 30
    assert children[0].poll() is not None


def test_the_child_does_not_outlive_the_program(tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text(
        "import os, time, pathlib\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
        f"pathlib.Path({str(tmp_path / 'slept')!r}).touch()\n"
    )
    program = (
        "import pathlib, threading, time\n"
        "from napari_sslprofiler.child_process import run_child\n"
        "work = dict(args=([], lambda done, total: None), kwargs=dict(module='sleeps'))\n"
        "threading.Thread(target=run_child, daemon=True, **work).start()\n"
        f"pid = pathlib.Path({str(tmp_path / 'pid')!r})\n"
        "while not (pid.exists() and pid.read_text()):\n"
        "    time.sleep(0.05)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
    child, end = int((tmp_path / "pid").read_text()), time.monotonic() + 10
    while _lives(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(process: int) -> bool:
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE
