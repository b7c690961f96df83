"""What the Train widget means, without a window: commands, groups, words, what is remembered."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sslprofiler.train.meaning import count_rows, estimate_rows
from napari_sslprofiler.train.plan import (
    TrainPlan,
    base_and_overrides,
    channel_groups,
    free_run_folder,
    plan_to_resume,
    recipe_words,
)
from napari_sslprofiler.train.recent import RecentRuns
from napari_sslprofiler.train.words import HEADLINES, knn_words, progress_words
from sslprofiler_core.cli import build_parser
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import open_plates
from sslprofiler_core.recipes import Recipe, available_recipes, load_recipe
from sslprofiler_core.training import KnnCurve, RunFolder, RunState, RunStatus, count_run

PLANS = [
    TrainPlan((Path("/a/b"),), "fluorescence", Path("/runs/x")),
    TrainPlan(
        (Path("/with space/plate 1"), Path("/it's/plate")),
        "DNA,Alexa 647",
        Path("/runs/new; rm -rf $HOME"),
        "/my recipes/own.toml",
        ("augment.crop=[0.5, 1.0]", 'loss.centering="softmax"', "train.batch=32"),
        Path("/meta data"),
        Path("/names.toml"),
    ),
    TrainPlan((Path("/a"),), "all", Path("/r"), None, (), None, None, resume=True),
]


@pytest.mark.parametrize("plan", PLANS)
def test_the_copied_line_is_read_back_as_the_same_training(plan: TrainPlan) -> None:
    words = shlex.split(plan.command())
    assert words[:2] == ["sslprofiler", "train"]
    read = build_parser().parse_args(words[1:])
    assert (tuple(read.plates), read.channels, read.out) == (plan.plates, plan.group, plan.out)
    assert (read.recipe, tuple(read.set), read.resume) == (plan.recipe, plan.overrides, plan.resume)
    assert (read.metadata, read.channels_file, read.estimate) == (plan.metadata, plan.channels_file, False)
    assert build_parser().parse_args(plan.estimate_arguments()).estimate


def test_a_tuned_recipe_is_a_shipped_one_with_changes() -> None:
    for name in available_recipes():
        assert base_and_overrides(load_recipe(name), name) == (name, ())
        assert recipe_words(name)
    tree = load_recipe("tiny").model_dump()
    tree["augment"] |= {"crop": (0.5, 0.9), "flip": 0.25}
    tree["loss"]["centering"] = "softmax"
    tuned = Recipe.model_validate(tree)
    base, overrides = base_and_overrides(tuned, "tiny")
    assert len(overrides) == 3
    assert load_recipe(base, overrides) == tuned


def test_groups_are_those_that_the_plates_have(simulated: Path) -> None:
    plates = open_plates([simulated / "images"])
    groups = {choice.value: choice for choice in channel_groups(plates)}
    assert list(groups) == ["fluorescence", "brightfield", "all"]
    assert set(groups["all"].channels) == {channel.name for channel in plates[0].channels}
    assert channel_groups(()) == ()
    fewer = replace(plates[1], channels=plates[1].channels[:3])
    assert channel_groups([plates[0], fewer]) == ()
    assert [choice.value for choice in channel_groups([fewer])] == ["fluorescence", "all"]


def test_the_folder_offered_is_not_there_yet(simulated: Path, tmp_path: Path) -> None:
    plates = open_plates([simulated / "images"])
    assert free_run_folder(plates, "fluorescence") == simulated / "runs" / "fluorescence"
    (tmp_path / "DNA-Mito").mkdir()
    (tmp_path / "DNA-Mito-2").mkdir()
    assert free_run_folder(plates, "DNA, Mito", tmp_path) == tmp_path / "DNA-Mito-3"


def test_a_run_is_resumed_as_it_was_started(trained: Path, simulated: Path, tmp_path: Path) -> None:
    plan = plan_to_resume(trained)
    assert plan.arguments() == [
        *(str(simulated / "images"), "--channels", "fluorescence", "--out", str(trained)),
        *("--metadata", str(simulated / "metadata"), "--resume"),
    ]
    with pytest.raises(UserError, match="holds no run that could go on"):
        plan_to_resume(tmp_path)
    run = RunFolder(shutil.copytree(trained, tmp_path / "run"))
    facts = json.loads(run.facts_file.read_text())
    run.facts_file.write_text(json.dumps({**facts, "paths": ["/gone/plates"]}))
    with pytest.raises(UserError, match="/gone/plates are not there"):
        plan_to_resume(run.path)
    del facts["paths"]  # of an older version
    run.facts_file.write_text(json.dumps(facts))
    assert set(map(str, plan_to_resume(run.path).plates)) == set(facts["plates"].values())


def test_what_it_means_in_words(simulated: Path) -> None:
    count = count_run(open_plates([simulated / "images"]), "fluorescence", load_recipe("tiny", ["train.batch=8"]))
    rows = {row.name: row for row in count_rows(count)}
    assert rows["Sites"].text == "48 in 12 wells, 2 plates"
    assert rows["Pairs"].text == "48 an epoch, 8 a step"
    assert rows["Steps"].text == "220 (37 epochs)"
    assert rows["Model"].text.startswith("228 thousand parameters, 5 channels") and "Mito" in rows["Model"].tip
    assert rows["Memory"].text.endswith(" MB")
    found = {"memory_bytes": 9e9, "free_bytes": 24e9, "device": "cpu", "step_s": 0.5, "read_s": 0.9, "timed_batch": 8}
    timed = {row.name: row for row in estimate_rows({**found, "total_s": 7500.0})}
    assert timed["Memory"].text == "about 9.0 GB of 24.0 GB free"
    assert timed["Time here"].text == "about 2 h 5 min"
    assert "convert" in timed["Time here"].tip


def test_a_state_in_words() -> None:
    assert set(HEADLINES) == set(RunStatus)
    state = RunState(Path("x"), RunStatus.RUNNING, steps=2000, step=120, pairs_per_s=31.4, eta_s=600.0)
    assert progress_words(state) == "step 120 of 2,000 · 10 min left · 31 pairs/s"
    busy = replace(state, utilisation=0.234)
    assert progress_words(busy) == "step 120 of 2,000 · 10 min left · 31 pairs/s · 23 % of peak"
    assert progress_words(RunState(Path("x"))) == ""
    assert knn_words(state) == "No check so far."
    knn = KnnCurve(np.array([5.0]), np.array([0.5]), np.array([0.031]), 0.01, 0.02, 96, 72)
    assert knn_words(replace(state, knn=knn)) == (
        "Nearest other site: same well 50 % (chance 1.0 %, 96 sites); same compound 3.1 % (chance 2.0 %, 72 sites)."
    )


def test_runs_are_remembered_newest_first_while_they_are_there(tmp_path: Path) -> None:
    recent = RecentRuns(tmp_path / "deep" / "runs.json")
    assert recent.paths() == ()
    folders = [tmp_path / f"run{number}" for number in range(20)]
    for folder in folders:
        folder.mkdir()
        recent.add(folder)
    recent.add(folders[15])
    assert recent.paths()[:3] == (folders[15], folders[19], folders[18])
    assert len(recent.paths()) == 12
    folders[19].rmdir()
    assert folders[19] not in recent.paths()
    (tmp_path / "deep" / "runs.json").write_text('{"rubbish')
    assert recent.paths() == ()
    RecentRuns(tmp_path / "deep" / "runs.json" / "below a file").add(folders[3])  # cannot be written: forgotten


def test_none_of_it_needs_qt_or_torch() -> None:
    code = (
        "import sys\n"
        "from napari_sslprofiler.train import meaning, plan, recent, words\n"
        "from sslprofiler_core.training import RunWatcher\n"
        "bad = {'torch', 'qtpy', 'napari', 'umap', 'PyQt6'} & set(sys.modules)\nassert not bad, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
