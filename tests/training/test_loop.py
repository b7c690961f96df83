"""A run from start to end: what it leaves, how it is stopped, and what bad input cannot do to it."""

from __future__ import annotations

import errno
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from sslprofiler_core.errors import UserError
from sslprofiler_core.model import build_network, load_model
from sslprofiler_core.plates import Site, open_plates
from sslprofiler_core.training import RunFolder, TrainingOutcome, loop, train
from sslprofiler_core.training.checkpoint import checkpoints
from sslprofiler_core.training.loop import Trainer
from sslprofiler_core.training.objective import TERMS

Train = Callable[..., TrainingOutcome]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Training sets torch's threads for the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def start(simulated: Path, small: list[str], run: RunFolder) -> Train:
    """Train into ``run`` with some more overrides."""

    def start(*more: str, images: Path | None = None, **options: Any) -> TrainingOutcome:
        return train(
            [images or simulated / "images"],
            **{"group": "fluorescence", "out": run.path, "recipe": "tiny", "overrides": [*small, *more], **options},
        )

    return start


@pytest.fixture
def images(simulated: Path, tmp_path: Path) -> Path:
    """Plates that the test may spoil."""
    return Path(shutil.copytree(simulated / "images", tmp_path / "images"))


def steps_of(run: RunFolder) -> list[dict[str, Any]]:
    """Step events without what depends on the clock."""
    timed = {"time", "pairs_per_s", "utilisation"}
    return [{k: v for k, v in e.items() if k not in timed} for e in run.events() if e["event"] == "step"]


def last_state(run: RunFolder) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(checkpoints(run.checkpoints)[-1], weights_only=True)
    return state


def tensors(tree: Any) -> list[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return [tree.detach().clone()]
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [tensor for value in values for tensor in tensors(value)]


def same(one: Any, other: Any) -> bool:
    """Whether all tensors of two states are equal, bit for bit."""
    ours, theirs = tensors(one), tensors(other)
    return len(ours) == len(theirs) > 0 and all(a.equal(b) for a, b in zip(ours, theirs, strict=True))


def before_step(monkeypatch: pytest.MonkeyPatch, step: int, action: Callable[[], object]) -> None:
    """Do something once ``step`` steps are done."""
    real = Trainer.train_step

    def train_step(self: Trainer, batch: Any) -> Any:
        if self.step == step:
            action()
        return real(self, batch)

    monkeypatch.setattr(Trainer, "train_step", train_step)


def test_a_run_leaves_recipe_events_checkpoint_and_model(trained: Path, simulated: Path) -> None:
    run = RunFolder(trained)
    assert {path.name for path in run.path.iterdir()} == {
        "recipe.toml",
        "run.json",
        "events.jsonl",
        "checkpoints",
        "model.safetensors",
    }
    assert [path.name for path in checkpoints(run.checkpoints)] == ["step-00000012.pt"]
    assert run.recipe().train.batch == 8
    facts = run.facts()
    assert facts.steps == 12
    assert set(facts.plates) == set(facts.scale) == {plate.name for plate in open_plates([simulated / "images"])}
    assert facts.metadata == str(simulated / "metadata")


def test_every_step_is_an_event_once_and_finite(trained: Path) -> None:
    events = RunFolder(trained).events()
    assert events[0] == {"event": "started", "step": 0, "steps": 12, "device": "cpu"}
    assert events[-1] == {"event": "finished", "step": 12, "steps": 12}
    steps = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, 13))
    numbers = [
        event[name]
        for event in steps
        for name in (*TERMS, "gradient_norm", "lr", "momentum", "pairs_per_s", "utilisation")
    ]
    assert all(isinstance(number, float) and math.isfinite(number) for number in numbers)
    assert not any("skipped" in event for event in steps)
    (health,) = [event for event in events if event["event"] == "health" and event["step"] == 12]
    assert health["effective_rank"] > 1.0


def test_the_model_is_the_teacher_with_what_it_was_trained_on(trained: Path, simulated: Path) -> None:
    model, run = load_model(trained), RunFolder(trained)
    plate = open_plates([simulated / "images"])[0]
    assert model.channels == tuple(channel.name for channel in plate.channels if channel.group == "fluorescence")
    assert (model.group, model.step, model.pixel_size_um) == ("fluorescence", 12, plate.pixel_size_um)
    assert model.scale == run.facts().scale
    assert model.recipe == run.recipe()
    state = last_state(run)
    for name, weight in model.backbone.state_dict().items():
        assert weight.equal(state["teacher"][f"backbone.{name}"]), name
    untrained = build_network(model.recipe, len(model.channels))[1]
    assert not model.backbone.vit.patch_embed.proj.weight.equal(untrained.backbone.vit.patch_embed.proj.weight)


def test_a_progress_bar_shows_losses_and_speed(start: Train, capfd: pytest.CaptureFixture[str]) -> None:
    start()
    shown = capfd.readouterr().err
    for part in ("Training fluorescence", "12/12", "loss ", "dino_local ", "pairs/s, ", "% of peak"):
        assert part in shown


@pytest.mark.parametrize(("word", "reason"), [("stop", "stopped"), ("pause", "paused")])
def test_the_control_file_ends_a_run_with_a_checkpoint_and_it_goes_on_as_if_nothing_happened(
    word: str, reason: str, start: Train, run: RunFolder, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        before_step(patch, 4, lambda: run.control_file.write_text(word))
        assert start() == TrainingOutcome(reason, 5, 12)
    assert run.events()[-1]["event"] == reason
    assert not run.control_file.exists()
    assert load_model(run.path).step == 5
    run.control_file.write_text("stop")  # a word from before the run goes on is not for it
    assert start(resume=True) == TrainingOutcome("finished", 12, 12)
    assert steps_of(run) == steps_of(RunFolder(trained))
    assert same(last_state(run), last_state(RunFolder(trained)))


def test_checkpoints_come_by_steps_and_by_minutes(start: Train, run: RunFolder) -> None:
    start("train.checkpoint_steps=5")
    found = [event["step"] for event in run.events() if event["event"] == "checkpoint"]
    assert found == [5, 10, 12]
    shutil.rmtree(run.path)
    start("train.checkpoint_minutes=1e-6")
    assert [event["step"] for event in run.events() if event["event"] == "checkpoint"] == list(range(1, 13))


def spoil(monkeypatch: pytest.MonkeyPatch, steps: Sequence[int], view: str = "v1_BCHW") -> None:
    """Put a NaN into one pixel of a view of some steps."""
    real = loop.step_views

    def spoiled(batch: Any, recipe: Any, step: int, device: Any) -> Any:
        views = real(batch, recipe, step, device)
        if step in steps:
            getattr(views, view)[0, 0, 0, 0] = math.nan
        return views

    monkeypatch.setattr(loop, "step_views", spoiled)


@pytest.mark.parametrize("view", ["v1_BCHW", "v2_BCHW"])
@pytest.mark.parametrize("centering", ["sinkhorn", "softmax"])
def test_a_non_finite_step_touches_nothing(
    view: str, centering: str, start: Train, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, teacher, moments and centres after step 6 are those after step 5, and the run goes on from there."""
    spoil(monkeypatch, [5], view)
    states: dict[int, list[torch.Tensor]] = {}
    real = Trainer.train_step

    def recorded(self: Trainer, batch: Any) -> Any:
        result = real(self, batch)
        parts = (self.student.state_dict(), self.teacher.state_dict(), self.optimizer.state_dict()["state"])
        states[self.step] = tensors([*parts, self.centres.cls_K, self.centres.patch_K])
        return result

    monkeypatch.setattr(Trainer, "train_step", recorded)
    assert start(f"loss.centering={centering}").reason == "finished"
    assert same(states[5], states[6])
    assert not same(states[4], states[5])
    assert not same(states[6], states[7])
    assert all(bool(tensor.isfinite().all()) for state in states.values() for tensor in state)
    assert [event["step"] for event in run.events() if event.get("skipped")] == [6]
    assert steps_of(run)[5]["loss"] is None
    (skipped,) = [line for line in run.events_file.read_text().splitlines() if '"skipped"' in line]
    assert json.loads(skipped)["loss"] is None  # JSON has no NaN


def test_a_bad_first_step_leaves_the_weights_as_they_were_made(
    start: Train, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, [0])
    start("train.checkpoint_steps=1", "train.steps=1")
    student, teacher = build_network(run.recipe(), 5)
    assert same(last_state(run)["student"], student.state_dict())
    assert same(last_state(run)["teacher"], teacher.state_dict())


def test_two_bad_steps_in_a_row_are_survived(start: Train, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, [0, 1, 3, 4, 9, 10])
    assert start().reason == "finished"
    assert [event["step"] for event in run.events() if event.get("skipped")] == [1, 2, 4, 5, 10, 11]


def test_three_bad_steps_in_a_row_stop_with_the_sites_and_the_last_good_checkpoint(
    start: Train, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bad steps are followed by good ones when they are noticed: their sites are named, not the last ones'."""
    spoil(monkeypatch, [9, 10, 11])
    seen: dict[int, list[str]] = {}
    real = loop.step_views

    def watched(batch: Any, recipe: Any, step: int, device: Any) -> Any:
        seen[step] = batch.names
        return real(batch, recipe, step, device)

    monkeypatch.setattr(loop, "step_views", watched)
    with pytest.raises(UserError, match="not finite 3 steps in a row, up to step 12") as error:
        start("train.steps=20", "train.checkpoint_steps=8")
    message = str(error.value)
    assert str(run.checkpoints) in message and "train.lr" in message
    named = [name for name in seen[11] if name in message]
    shared = set(seen[9]) & set(seen[10]) & set(seen[11])
    assert named and (not shared or set(named) <= shared)
    assert run.events()[-1]["event"] == "failed"
    assert checkpoints(run.checkpoints)[-1].name == "step-00000008.pt"
    assert all(bool(tensor.isfinite().all()) for tensor in tensors(last_state(run)))
    assert load_model(run.path).step == 8


def test_a_well_with_one_site_pairs_with_itself_and_says_so(
    start: Train, run: RunFolder, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plate = open_plates([images])[0]
    well = plate.wells[2]
    for site in plate.sites_of(well)[1:]:
        remove(site)
    assert start(images=images).reason == "finished"
    (warning,) = [event["text"] for event in run.events() if event["event"] == "warning"]
    assert warning == f"1 well has one site, which pairs with itself: {plate.name} {well}."
    assert f"Warning: {warning}" in capfd.readouterr().err


def test_a_channel_without_a_picture_is_warned_of(start: Train, run: RunFolder, images: Path) -> None:
    plate = open_plates([images])[0]
    for site in plate.sites:
        tifffile.imwrite(site.paths[1], np.full((64, 64), 70, np.uint16))
    assert start(images=images).reason == "finished"
    (warning,) = [event["text"] for event in run.events() if event["event"] == "warning"]
    assert warning.startswith(f"Channel {plate.channels[1].name} of plate {plate.name} is empty: nearly all its pixels")


def test_sites_are_cut_into_tiles_to_make_pairs(start: Train, run: RunFolder, images: Path) -> None:
    for plate in open_plates([images]):
        for site in plate.sites:
            if site.site > 1:
                remove(site)
    with pytest.raises(UserError, match=r"are 3 x 3 px with plates\.tile = 20, less than a patch"):
        start("plates.tile=20", "augment.size=16", images=images)
    assert start("plates.tile=2", "augment.size=16", images=images).reason == "finished"
    assert [event for event in run.events() if event["event"] == "warning"] == []
    assert load_model(run.path).recipe.plates.tile == 2


def test_a_truncated_file_is_a_gap_known_before_the_run(
    start: Train, run: RunFolder, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = open_plates([images])[0].sites[3].paths[0]
    file.write_bytes(file.read_bytes()[:2000])
    assert start(images=images).reason == "finished"
    kinds = [event["event"] for event in run.events()]
    assert "bad_site" not in kinds
    (warning,) = [event["text"] for event in run.events() if event["event"] == "warning"]
    assert file.name in warning and "1 gap " in warning
    assert f"Warning: {warning}\n" in capfd.readouterr().err


def test_a_site_deleted_during_training_is_an_event_and_the_run_goes_on(
    start: Train, run: RunFolder, images: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lost = open_plates([images])[0].sites[0]
    before_step(monkeypatch, 2, lambda: remove(lost))
    assert start("plates.memory_gb=0", "train.steps=24", images=images).reason == "finished"
    bad = [event for event in run.events() if event["event"] == "bad_site"]
    assert len(bad) >= 3  # four epochs
    assert all(f"{lost.plate} {lost.well} site {lost.site} left out: " in event["text"] for event in bad)
    assert len(steps_of(run)) == 24
    assert capfd.readouterr().err.count("left out") == 1  # told once


def test_too_many_sites_lost_during_training_stop_with_a_checkpoint_and_can_go_on(
    start: Train, run: RunFolder, images: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plate = open_plates([images])[0]
    aside = images.parent / "aside"
    aside.mkdir()

    def lose() -> None:
        for site in plate.sites_of(plate.wells[0]):
            for path in site.paths:
                path.rename(aside / path.name)

    with monkeypatch.context() as patch:
        before_step(patch, 3, lose)
        with pytest.raises(UserError, match=r"[12] of 48 sites cannot be read: more than plates.bad_sites = 0 of them"):
            start("plates.memory_gb=0", "plates.bad_sites=0", images=images)
    stopped = last_state(run)["step"]
    assert 4 <= stopped < 12
    assert [event["step"] for event in steps_of(run)] == list(range(1, stopped + 1))
    assert run.events()[-1]["event"] == "failed"
    for path in aside.iterdir():
        path.rename(plate.root / path.name)
    assert start("plates.memory_gb=0", images=images, resume=True).reason == "finished"
    assert steps_of(run) == steps_of(RunFolder(trained))
    assert same(last_state(run)["student"], last_state(RunFolder(trained))["student"])


def test_a_full_disk_while_training_says_so_and_leaves_the_checkpoint_before(
    start: Train, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sslprofiler_core.model import files

    def fsync(handle: int) -> None:
        if checkpoints(run.checkpoints):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "os", SimpleNamespace(fsync=fsync))
    with pytest.raises(UserError, match=r"Cannot write the model .*No space left.*Make room"):
        start("train.checkpoint_steps=4")
    assert load_model(run.path).step == 4
    assert sorted(path.name for path in run.path.glob("*.partial")) == []
    monkeypatch.undo()
    assert start("train.checkpoint_steps=4", resume=True).reason == "finished"


def remove(site: Site) -> None:
    for path in site.paths:
        path.unlink()
