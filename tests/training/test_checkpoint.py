"""Checkpoints: whole or not there, read without running code, the last good one is found."""

from __future__ import annotations

import os
import pickle
import resource
from pathlib import Path

import pytest
import torch

from sslprofiler_core.errors import UserError
from sslprofiler_core.training.checkpoint import checkpoints, load_last_checkpoint, restore, save_checkpoint
from sslprofiler_core.training.objective import Centres

CPU = torch.device("cpu")


class Parts:
    """The smallest state that a checkpoint takes."""

    def __init__(self, seed: int = 0, width: int = 3) -> None:
        torch.manual_seed(seed)
        self.student, self.teacher = torch.nn.Linear(width, 2), torch.nn.Linear(width, 2)
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=0.1, fused=True)
        self.centres = Centres(torch.rand(4), torch.rand(4))
        self.student(torch.ones(width)).sum().backward()
        self.optimizer.step()

    def save(self, folder: Path, step: int) -> Path:
        return save_checkpoint(folder, step, self.student, self.teacher, self.optimizer, self.centres)


def test_state_comes_back_bit_for_bit(tmp_path: Path) -> None:
    saved, other = Parts(0), Parts(1)
    saved.save(tmp_path, 12)
    state, warnings = load_last_checkpoint(tmp_path, CPU)
    assert state is not None and warnings == []
    assert restore(state, other.student, other.teacher, other.optimizer, other.centres) == 12
    for mine, theirs in ((other.student, saved.student), (other.teacher, saved.teacher)):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert torch.equal(other.centres.patch_K, saved.centres.patch_K)
    first, second = (next(iter(p.optimizer.state.values()))["exp_avg"] for p in (other, saved))
    assert torch.equal(first, second)


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    parts = Parts()
    for step in (5, 10, 15):
        parts.save(tmp_path, step)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000010.pt", "step-00000015.pt"]


@pytest.mark.parametrize("damage", ["truncated", "emptied", "overwritten"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path: Path, damage: str) -> None:
    parts = Parts()
    parts.save(tmp_path, 5)
    newest = parts.save(tmp_path, 10)
    content = newest.read_bytes()
    newest.write_bytes({"truncated": content[: len(content) // 2], "emptied": b"", "overwritten": b"rubbish"}[damage])
    state, warnings = load_last_checkpoint(tmp_path, CPU)
    assert state is not None and state["step"] == 5
    assert len(warnings) == 1 and newest.name in warnings[0]


def test_when_all_are_damaged_it_says_so(tmp_path: Path) -> None:
    Parts().save(tmp_path, 5).write_bytes(b"rubbish")
    with pytest.raises(UserError, match="No checkpoint"):
        load_last_checkpoint(tmp_path, CPU)


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_strangers_checkpoint_runs_no_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"step": 1, "student": Payload(marker)}, tmp_path / "step-00000001.pt")
    (tmp_path / "step-00000002.pt").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(UserError, match="No checkpoint"):
        load_last_checkpoint(tmp_path, CPU)
    assert not marker.exists()


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path) -> None:
    """A file-size limit stands in for the full disk: writes fail in the middle of the file."""
    Parts().save(tmp_path, 5)
    big = Parts(width=100_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match="Cannot write checkpoint"):
            big.save(tmp_path, 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005.pt"]
    state, _ = load_last_checkpoint(tmp_path, CPU)
    assert state is not None and state["step"] == 5


def test_a_checkpoint_of_another_network_is_a_clear_error(tmp_path: Path) -> None:
    Parts().save(tmp_path, 5)
    other = Parts(width=7)
    state, _ = load_last_checkpoint(tmp_path, CPU)
    assert state is not None
    with pytest.raises(UserError, match="does not fit"):
        restore(state, other.student, other.teacher, other.optimizer, other.centres)
