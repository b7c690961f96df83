"""Curves for TensorBoard: the events' own numbers, cut back on resume, and a clear word where it is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sslprofiler_core.errors import UserError
from sslprofiler_core.training import RunFolder, board, train


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def start(simulated: Path, small: list[str], run: RunFolder, *more: str, **options: Any) -> Any:
    sets = [*small, "train.tensorboard=true", *more]
    return train([simulated / "images"], group="all", out=run.path, recipe="tiny", overrides=sets, **options)


def test_it_has_the_events_numbers_once_each(
    simulated: Path, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = RunFolder(tmp_path / "run")
    monkeypatch.setattr(RunFolder, "control", lambda self: "stop")
    assert start(simulated, small, run, "train.checkpoint_steps=1").step == 1
    monkeypatch.undo()
    assert start(simulated, small, run, "train.checkpoint_steps=1", resume=True).reason == "finished"
    found = reading.EventAccumulator(str(run.board))
    found.Reload()
    steps = [event for event in run.events() if event["event"] == "step"]
    for name in ("loss", "koleo", "pairs_per_s", "utilisation", "lr"):
        shown = {point.step: point.value for point in found.Scalars(f"step/{name}")}
        assert shown == pytest.approx({event["step"]: event[name] for event in steps}, rel=1e-5)
        assert len(shown) == len(found.Scalars(f"step/{name}")) == 12
    assert {"health/effective_rank", "knn/well", "knn/share"} <= set(found.Tags()["scalars"])


def test_where_it_is_not_installed_a_sentence_says_so_before_anything_is_written(
    simulated: Path, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(board.importlib.util, "find_spec", lambda name: None if name == "tensorboard" else real(name))
    run = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match=r"napari-sslprofiler\[tensorboard\]"):
        start(simulated, small, run)
    assert not run.path.exists()
