"""What a training would mean here: counted, timed, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sslprofiler_core.cli import main
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import open_plates
from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import count_run, estimate, estimate_run
from sslprofiler_core.training.estimate import format_estimate
from sslprofiler_core.training.trial import Timing, time_steps


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_it_is_the_count_with_a_time(simulated: Path, small: list[str]) -> None:
    before = sorted(path for path in simulated.rglob("*"))
    found = estimate_run([simulated / "images"], group="all", recipe="tiny", overrides=small)
    recipe = load_recipe("tiny", small)
    assert found.count == count_run(open_plates([simulated / "images"]), "all", recipe)
    assert found.fits and found.advice == ""
    assert 0.0 < found.step_s < 10.0
    assert found.total_s >= 12 * found.step_s
    assert found.largest_batch > 8
    assert sorted(path for path in simulated.rglob("*")) == before
    text = format_estimate(found)
    for part in ("48 in 12 wells of 2 plates", "12 of 8 pairs (2.0 epochs)", "Mito", "GB free", "a step"):
        assert part in text


def test_it_is_about_what_training_takes(simulated: Path, small: list[str]) -> None:
    """Times grow with the batch in proportion, from what was timed."""
    timing = Timing(0.5, 0.01, 8, 1000)
    assert timing.step_s(8) == pytest.approx(0.58)
    assert timing.step_s(80) == pytest.approx(1.3)
    recipe = load_recipe("tiny", small)
    one = time_steps(recipe, 3, (64, 64), torch.device("cpu"), enough_s=0.0)
    assert (one.largest, one.fixed_s) == (2, 0.0)
    assert time_steps(recipe, 3, (64, 64), torch.device("cpu"), enough_s=20.0).largest == 8


def test_what_does_not_fit_is_said_with_what_would(
    simulated: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "free_bytes", lambda device: 2_000_000)
    found = estimate_run([simulated / "images"], group="all", recipe="tiny", overrides=small)
    assert not found.fits
    assert 0 < found.largest_batch < 8
    assert "--set train.batch=" in found.advice and found.advice in format_estimate(found)
    monkeypatch.setattr(estimate, "free_bytes", lambda device: 1000)
    with pytest.raises(UserError, match="no smaller batch does either"):
        estimate_run([simulated / "images"], group="all", recipe="tiny", overrides=small)


def test_the_command_prints_lines_or_json(
    simulated: Path, small: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sets = [part for setting in small for part in ("--set", setting)]
    command = ["train", str(simulated / "images"), "--channels", "all", "--recipe", "tiny", *sets, "--estimate"]
    assert main(command) == 0
    assert "time here" in capfd.readouterr().out
    assert main([*command, "--json", "--out", str(tmp_path / "run")]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["count"]["steps"] == 12
    assert found["count"]["network"]["parameters"] > 0
    assert found["fits"] is True
    assert not (tmp_path / "run").exists()
    assert main([part for part in command if part != "--estimate"]) == 2
    assert "Name one with --out" in capfd.readouterr().err
