"""How near the machine's limit a training is: measured, counted, written and shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training import RunFolder, RunWatcher, pace
from sslprofiler_core.training.count import count_network
from sslprofiler_core.training.pace import Pace, matrix_peak, measure_pace

CPU = torch.device("cpu")


def test_utilisation_is_operations_over_the_peak() -> None:
    assert Pace(flop_pair=2e9, peak=1e12).utilisation(100.0) == pytest.approx(0.2)
    recipe = load_recipe("tiny")
    found, two = measure_pace(recipe, 5, CPU), measure_pace(recipe, 5, CPU, devices=2)
    assert found.flop_pair == count_network(recipe, 5).flop_pair
    assert two.peak == 2 * found.peak


def test_what_checkpointing_computes_again_is_no_use() -> None:
    recipes = [load_recipe("tiny", [f"train.activation_checkpointing={word}"]) for word in ("false", "true")]
    assert len({count_network(recipe, 5).flop_pair for recipe in recipes}) == 1


def test_the_peak_is_what_products_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of those that were timed; measured once for a device, a precision and a number of threads."""
    took = iter([3e-3, 2e-3, 5e-3, 2e-3, 4e-3])
    monkeypatch.setattr(pace, "seconds", lambda work, device: next(took))
    monkeypatch.setattr(pace, "_ENOUGH_S", 0.0)
    matrix_peak.cache_clear()
    assert matrix_peak("cpu", "float32", 1) == pytest.approx(2 * 512**3 / 2e-3)
    assert matrix_peak("cpu", "float32", 1) == pytest.approx(2 * 512**3 / 2e-3)
    matrix_peak.cache_clear()
    monkeypatch.undo()
    assert 1e8 < matrix_peak("cpu", "bf16", 1) < 1e14
    matrix_peak.cache_clear()


def test_a_run_tells_it(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(trained)
    steps = [event for event in run.events() if event["event"] == "step"]
    flop = count_network(run.recipe(), 5).flop_pair
    peaks = [event["pairs_per_s"] * flop / event["utilisation"] for event in steps]
    assert peaks == pytest.approx([peaks[0]] * 12, rel=0.01)
    assert 0.0 < steps[-1]["utilisation"] < 1.0
    state = RunWatcher(trained).poll()
    assert state.curves["utilisation"][-1] == steps[-1]["utilisation"]
    assert state.utilisation is None  # nothing is at work
    checks = [event for event in run.events() if event["event"] == "knn"]
    assert state.knn.seconds == checks[-1]["seconds"] > 0.0
    assert 0.0 < state.knn.share == checks[-1]["share"] <= 1.0
