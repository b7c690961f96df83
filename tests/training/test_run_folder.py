"""The run folder: claimed before anything slow, readable while it is written, cut back when a run goes on."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import RunFacts, RunFolder
from sslprofiler_core.training.run_folder import EventLog, write_atomically

FACTS = RunFacts("all", ("DNA", "Mito"), 0.6, {"P1": "/plates/P1"}, {"P1": {"DNA": (1.0, 9.5), "Mito": (0.0, 2.0)}}, 12)


def started(path: Path) -> RunFolder:
    run = RunFolder(path)
    run.claim()
    run.create(load_recipe("tiny", ["train.batch=8"]), FACTS)
    return run


def test_recipe_and_facts_come_back_as_they_were(tmp_path: Path) -> None:
    run = started(tmp_path / "deep" / "run")
    assert run.exists()
    assert run.recipe() == load_recipe("tiny", ["train.batch=8"])
    assert run.facts() == FACTS


def test_it_exists_only_once_it_can_be_resumed(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    assert not run.exists()
    run.claim()
    assert not run.exists()
    run.create(load_recipe("tiny"), FACTS)
    assert run.exists()


def test_what_a_start_that_was_cut_short_left_is_taken_over(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.claim()
    run.recipe_file.write_text("half")
    (run.path / "run.json.partial").write_text("half")
    started(run.path)
    assert run.facts() == FACTS


@pytest.mark.parametrize("other", ["notes.txt", "checkpoints/step-00000005.pt"])
def test_a_folder_with_other_content_is_not_taken(tmp_path: Path, other: str) -> None:
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / other).write_text("mine")
    with pytest.raises(UserError, match="is not a run"):
        RunFolder(tmp_path).claim()
    assert (tmp_path / other).read_text() == "mine"


@pytest.mark.parametrize("where", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="Cannot write"):
        RunFolder(tmp_path / where).claim()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"group": "all"}'])
def test_damaged_facts_say_so(tmp_path: Path, content: str) -> None:
    run = started(tmp_path / "run")
    run.facts_file.write_text(content)
    with pytest.raises(UserError, match=r"run\.json cannot be read"):
        run.facts()


def test_a_reader_sees_whole_events_only(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    run.events_file.write_bytes(
        b'{"event": "started", "step": 0}\n5\n\xff\x00\n{"event": "step", "step": 1}\n{"event": "st'
    )
    assert run.events() == [{"event": "started", "step": 0}, {"event": "step", "step": 1}]
    assert RunFolder(tmp_path / "nowhere").events() == []


def test_going_on_cuts_events_back_to_the_checkpoint(tmp_path: Path) -> None:
    run = started(tmp_path / "run")
    log = EventLog(run, 0)
    log.write("started", 0)
    for step in range(1, 6):
        log.write("step", step, loss=1.0 / step)
    log.write("finished", 5)
    log.close()
    with run.events_file.open("a") as file:
        file.write('{"event": "step", "st')
    log = EventLog(run, 3)
    log.write("resumed", 3)
    log.sync()
    log.close()
    lines = run.events_file.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["started", "step", "step", "step", "resumed"]


@pytest.mark.parametrize(
    ("content", "word"), [(b"stop\n", "stop"), (b" pause", "pause"), (b"dance", None), (b"\xff", None)]
)
def test_control_is_one_of_two_words(tmp_path: Path, content: bytes, word: str | None) -> None:
    run = started(tmp_path / "run")
    assert run.control() is None
    run.control_file.write_bytes(content)
    assert run.control() == word
    run.forget_control()
    run.forget_control()
    assert not run.control_file.exists()


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    """A file-size limit stands in for the full disk."""
    path = tmp_path / "run.json"
    write_atomically(path, b"old")
    run = started(tmp_path / "run")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UserError, match=r"Cannot write .*run\.json .*Make room"):
            write_atomically(path, b"x" * 5000)
        log = EventLog(run, 0)
        with pytest.raises(UserError, match=r"Cannot write .*events\.jsonl"):
            log.write("warning", 0, text="x" * 5000)
        log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert {found.name for found in tmp_path.iterdir()} == {"run", "run.json"}
