"""The k-NN curve: a fixed sample, honest scores, and a training that does not notice."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sslprofiler_core.plates import Site, open_plates
from sslprofiler_core.recipes import TrainRecipe
from sslprofiler_core.training import RunFolder, loop, train
from sslprofiler_core.training.knn import knn_accuracy, knn_sample
from sslprofiler_core.training.pairs import PairOrder


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def order_of(plates: int, wells: int, sites: int, seed: int = 0) -> PairOrder:
    made = [
        Site(f"P{plate}", f"A{well:02d}", number, (Path("x"),))
        for plate in range(plates)
        for well in range(wells)
        for number in range(sites)
    ]
    return PairOrder.over(made, TrainRecipe(batch=2, seed=seed))


def test_a_sample_has_two_sites_a_well_and_whole_compounds_over_plates() -> None:
    order = order_of(plates=4, wells=40, sites=3)
    compounds = {(f"P{plate}", f"A{well:02d}"): f"C{well // 2}" for plate in range(4) for well in range(30)}
    sample = knn_sample(order, compounds, 64)
    assert len(sample.sites_N) == 64
    assert set(Counter(sample.well_N.tolist()).values()) == {2}
    found = [(order.sites[site].plate, order.sites[site].well) for site in sample.sites_N]
    whole = Counter(compounds.get(place) for place in found)
    assert set(whole.values()) == {16}  # 8 wells, two sites each
    for name in whole:
        plates = Counter(plate for plate, well in found if compounds.get((plate, well)) == name)
        assert set(plates.values()) == {4}


def test_a_sample_is_the_seeds_and_never_larger_than_the_screen() -> None:
    one, same, other = (knn_sample(order_of(2, 30, 4, seed), {}, 20) for seed in (1, 1, 2))
    assert one.sites_N.tolist() == same.sites_N.tolist() != other.sites_N.tolist()
    assert set(one.compound_N) == {-1}
    assert len(knn_sample(order_of(1, 3, 4), {}, 512).sites_N) == 6
    assert len(knn_sample(order_of(1, 3, 1), {}, 512).sites_N) == 3


def test_accuracy_against_a_loop() -> None:
    random = np.random.default_rng(0)
    cls = random.normal(size=(60, 5))
    label, plate = random.integers(-1, 6, 60), random.integers(0, 3, 60)
    right, chance = [], []
    for i in range(60):
        others = [j for j in range(60) if plate[j] != plate[i] and label[j] >= 0]
        if label[i] < 0 or not any(label[j] == label[i] for j in others):
            continue
        cosine = [cls[i] @ cls[j] / np.linalg.norm(cls[i]) / np.linalg.norm(cls[j]) for j in others]
        right.append(label[others[int(np.argmax(cosine))]] == label[i])
        chance.append(np.mean([label[j] == label[i] for j in others]))
    found = knn_accuracy(*(torch.from_numpy(array) for array in (cls, label, plate)))
    assert found is not None
    assert found == pytest.approx((np.mean(right), np.mean(chance), len(right)))


def test_nobody_to_find_is_no_score() -> None:
    cls = torch.eye(4)
    assert knn_accuracy(cls, torch.arange(4), torch.arange(4)) is None
    assert knn_accuracy(cls, torch.full((4,), -1), torch.arange(4)) is None
    assert knn_accuracy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), torch.zeros(0)) is None


def run_once(simulated: Path, small: list[str], out: Path, *more: str, **options: Any) -> RunFolder:
    train(
        [simulated / "images"],
        group="fluorescence",
        out=out,
        recipe="tiny",
        overrides=[*small, *more],
        metadata=simulated / "metadata",
        **options,
    )
    return RunFolder(out)


def without_clock(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    timed = {"time", "pairs_per_s", "seconds", "share", "utilisation"}
    return [{k: v for k, v in e.items() if k not in timed} for e in run.events() if e["event"] == kind]


def test_training_does_not_notice(simulated: Path, small: list[str], trained: Path, tmp_path: Path) -> None:
    """Losses are equal bit for bit without checks, and with many; bf16 and drop path included."""
    none = run_once(simulated, small, tmp_path / "none", "train.knn_checks=0")
    assert without_clock(none, "knn") == []
    assert without_clock(none, "step") == without_clock(RunFolder(trained), "step")
    net = ["train.precision=bf16", "model.depth=3", "model.drop_path=0.3", "loss.centering=softmax"]
    few = run_once(simulated, small, tmp_path / "few", *net, "train.knn_checks=0")
    many = run_once(simulated, small, tmp_path / "many", *net, "train.knn_checks=12", "train.knn_sites=8")
    assert len(without_clock(many, "knn")) == 13
    assert without_clock(few, "step") == without_clock(many, "step")


def test_a_resumed_runs_curve_is_that_of_one_left_alone(
    simulated: Path, small: list[str], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped where a check is due, killed after one that no checkpoint followed, resumed on other check steps."""
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "control", lambda self: "stop" if self.events()[-1].get("step", 0) >= 5 else None)
        run_once(simulated, small, tmp_path / "run", "train.checkpoint_steps=3")
    run = run_once(simulated, small, tmp_path / "run", resume=True)
    assert without_clock(run, "knn") == without_clock(RunFolder(trained), "knn")
    real = loop.Trainer.train_step

    def fail(self: Any, batch: Any) -> Any:
        if self.step == 7:
            raise ZeroDivisionError("killed")
        return real(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "train_step", fail)
        with pytest.raises(ZeroDivisionError):
            run_once(simulated, small, tmp_path / "other", "train.checkpoint_steps=5")
    other = run_once(simulated, small, tmp_path / "other", resume=True)
    assert without_clock(other, "knn") == without_clock(RunFolder(trained), "knn")


def test_wells_and_compounds_are_scored_from_before_the_first_step_to_the_last(trained: Path) -> None:
    (first, *_, last) = without_clock(RunFolder(trained), "knn")
    assert (first["step"], last["step"]) == (0, 12)
    assert first["well_n"] == 24
    assert first["well_chance"] == pytest.approx(1 / 23, abs=1e-5)
    assert 0 < last["compound_n"] <= 24
    assert 0.0 <= last["compound"] <= 1.0


def test_a_site_that_went_is_left_out(
    simulated: Path, small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = Path(shutil.copytree(simulated / "images", tmp_path / "images"))
    lost = open_plates([images])[0].sites_of(open_plates([images])[0].wells[0])[0]
    real = loop.Trainer.train_step

    def lose(self: Any, batch: Any) -> Any:
        for path in lost.paths:
            path.unlink(missing_ok=True)
        return real(self, batch)

    monkeypatch.setattr(loop.Trainer, "train_step", lose)
    run = tmp_path / "run"
    train([images], group="all", out=run, recipe="tiny", overrides=[*small, "plates.memory_gb=0"])
    checks = without_clock(RunFolder(run), "knn")
    assert checks[0]["well_n"] == 24
    assert checks[-1]["well_n"] == 22
    assert "compound" not in checks[-1]
