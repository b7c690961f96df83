"""What embedding will do, and whether plates and runs fit; without a window."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from napari_sslprofiler.embed.plan import Plan, default_out, find_problems, make_plan, summarise_run
from napari_sslprofiler.state import Screen
from sslprofiler_core.cli import build_parser
from sslprofiler_core.plates import open_plates


def test_the_commands_are_read_back_as_they_were_meant(tmp_path: Path) -> None:
    plan = Plan(
        (tmp_path / "my plates",),
        (tmp_path / "f", tmp_path / "b"),
        tmp_path / "out",
        tmp_path / "it's metadata",
        None,
        "mean",
        "cls",
    )
    embed, profile = (build_parser().parse_args(shlex.split(line)[1:]) for line in plan.command().splitlines())
    assert embed.plates == [tmp_path / "my plates"] and embed.run == list(plan.runs)
    assert embed.out == plan.sites_table and embed.metadata == plan.metadata
    assert profile.sites_table == plan.sites_table and profile.out == plan.wells_table
    assert (profile.sites, profile.features, profile.align) == ("mean", "cls", None)


def test_all_plates_go_by_the_path_that_was_opened_and_some_by_their_own(simulated: Path, tmp_path: Path) -> None:
    plates = tuple(open_plates([simulated / "images"]))
    screen = Screen(plates, (simulated / "images",))
    names = [plate.name for plate in plates]
    settings = {"sites": "concat", "features": "cls+patch"}
    assert make_plan(screen, names, [], tmp_path, **settings).plates == (simulated / "images",)
    assert make_plan(screen, names[1:], [], tmp_path, **settings).plates == (plates[1].root,)


def test_what_does_not_fit_is_said_before_it_starts(simulated: Path, trained: Path, tmp_path: Path) -> None:
    plates = open_plates([simulated / "images"])
    run = summarise_run(trained)
    assert run.group == "fluorescence" and not run.problem
    assert find_problems(plates, [run]) == []
    assert find_problems([], [run]) == ["Choose at least one plate."]
    assert find_problems(plates, []) == ["Choose at least one run."]
    assert "same channel group" in find_problems(plates, [run, run])[0]

    renamed = open_plates([simulated / "images"], channels={1: "Other"})
    (problem,) = find_problems(renamed, [run])
    assert "Other" in problem and run.channels[0] in problem and "2 plates" in problem

    assert "holds no run" in summarise_run(tmp_path).problem
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()
    assert "no model yet" in summarise_run(tmp_path / "run").problem
    (tmp_path / "run" / "run.json").write_text("rubbish")
    assert "damaged" in summarise_run(tmp_path / "run").problem
    assert default_out([tmp_path / "run"]) == tmp_path / "profiles" and default_out([]) is None
