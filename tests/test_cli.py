"""The command line: every error is one or two lines that say what to do, and status 2; never a traceback."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sslprofiler_core import cli
from sslprofiler_core.cli import main, train_main
from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import read_sites, read_wells
from sslprofiler_core.training import RunFolder

PROC = pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that root cannot write either")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def paths(simulated: Path, trained: Path, tmp_path: Path) -> dict[str, str]:
    """What commands are given, by name; some are wrong in one way each."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "sites").mkdir()
    (tmp_path / "full" / "things").mkdir(parents=True)
    (tmp_path / "wrong.toml").write_text("[train\n")
    (tmp_path / "corrupted").mkdir()
    (tmp_path / "corrupted" / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes()[:5000])
    (tmp_path / "names.csv").write_text("number,name,group\n1,Nuclei,fluorescence\n")
    (tmp_path / "table.parquet").write_bytes(b"PAR1 and then nothing")
    return {
        "images": str(simulated / "images"),
        "metadata": str(simulated / "metadata"),
        "run": str(trained),
        "tmp": str(tmp_path),
        **{path.stem: str(path) for path in tmp_path.iterdir()},
    }


TRAIN = "train {images} --recipe tiny --channels fluorescence --out {tmp}/new "
EMBED = "embed {images} --run {run} --out {tmp}/new.parquet "
ERRORS = [
    ("inspect {tmp}/nowhere", "There is no folder"),
    ("inspect {empty}", "{empty} has no files. Give a folder"),
    ("inspect {file}", "is a file"),
    ("simulate {file}", "cannot be written|is a file"),
    ("simulate {tmp}/new --wells 0", "wells is 0"),
    (TRAIN.replace("{images}", "{tmp}/nowhere"), "There is no folder"),
    (TRAIN.replace("{images}", "{empty}"), "{empty}"),
    (TRAIN + "--recipe huge", "No recipe 'huge'. Shipped recipes: .*tiny"),
    (TRAIN + "--recipe {wrong}", "not valid TOML"),
    (TRAIN + "--set train.learning_rate=1", "unknown key 'train.learning_rate'. Did you mean"),
    (TRAIN + "--set train.batch=many", r"train\.batch"),
    (TRAIN + "--set train.batch", "is not section.key=value"),
    (TRAIN + "--set train.batch=7", "is odd"),
    (TRAIN + "--set train.batch=64", "Too few sites: 48 in 12 wells make 48 pairs, a batch needs 64"),
    (TRAIN + "--channels DNA,Nonsense", "no channel 'Nonsense'. It has"),
    (TRAIN + "--channels-file {tmp}/nowhere.csv", "Cannot read the channels file"),
    (TRAIN + "--metadata {tmp}/nowhere", "nowhere"),
    (TRAIN + "--out {file}", "Cannot write the run folder"),
    (TRAIN + "--out {file}/run", "Cannot write the run folder"),
    (TRAIN + "--out {full}", "is there already and is not a run"),
    (TRAIN + "--out {run}", "already holds a run. Add --resume"),
    (TRAIN + "--device abacus", "Device 'abacus' cannot be used"),
    (TRAIN + "--device cuda:99", "Device 'cuda:99' cannot be used"),
    pytest.param(TRAIN + "--out /proc/run", "Cannot write the run folder /proc/run", marks=PROC),
    (EMBED + "--run {tmp}/nowhere", "No trained model at"),
    (EMBED + "--run {empty}", "No trained model at"),
    (EMBED + "--run {corrupted}", "is not a model written by SSLProfiler"),
    (EMBED + "--run {wrong}", "is not a model written by SSLProfiler"),
    (EMBED + "--run {run}", "same channel group"),
    (EMBED + "--channels-file {names}", "has no channel Mito.* wants: .*; the plate has: Nuclei, "),
    (EMBED + "--metadata {empty}", "{empty}"),
    (EMBED + "--out {file}", "is a file"),
    (EMBED + "--out {file}/sites.parquet", "Cannot write into"),
    (EMBED + "--device abacus", "Device 'abacus' cannot be used"),
    pytest.param(EMBED + "--out /proc/sites.parquet", "Cannot write into /proc/sites.parquet", marks=PROC),
    ("profile {tmp}/nowhere --out {tmp}/new.parquet", "There is no sites table"),
    ("profile {empty} --out {tmp}/new.parquet", "has no part"),
    ("profile {table} --out {tmp}/new.parquet", "is not a Parquet table"),
    ("evaluate {tmp}/nowhere.parquet --out {tmp}/report", "There is no table"),
    ("evaluate {table} --out {tmp}/report", "is not a Parquet table"),
    ("evaluate {table} --out {file}", "{file}"),
]


@pytest.mark.parametrize(("command", "message"), ERRORS)
def test_an_error_is_a_line_or_two_that_say_what_to_do(
    command: str, message: str, paths: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(command.format(**paths).split()) == 2
    shown = capfd.readouterr()
    lines = [line for line in shown.err.splitlines() if line and "%|" not in line]  # a bar may have begun
    assert 1 <= len(lines) <= 2, shown.err
    assert lines[0].startswith("sslprofiler: ")
    assert re.search(message.format(**paths), shown.err), shown.err
    assert shown.out == ""
    assert not (Path(paths["tmp"]) / "new").exists() or "simulate" in command
    assert not (Path(paths["tmp"]) / "new.parquet").exists()


@pytest.mark.parametrize("options", [["train"], ["dance"], ["train", "x", "--chanels", "all"], []])
def test_a_wrong_option_shows_usage(options: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(options)
    assert end.value.code == 2
    assert "usage: sslprofiler" in capfd.readouterr().err


@pytest.mark.parametrize("words", ["simulate {}", "demo --out {}", "evaluate w.csv --out {}"])
@pytest.mark.parametrize("seed", ["-1", "9223372036854775808"])
def test_a_seed_that_is_none_is_refused_before_the_work(
    words: str, seed: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*words.format(tmp_path / "out").split(), "--seed", seed]) == 2
    assert f"--seed {seed} is out of range" in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_one_set_is_enough_for_several_settings_wherever_it_stands() -> None:
    parser = cli.build_parser()
    for words in (
        "train --set train.batch=8 loss.weight=2 P --channels all --set model.depth=1 plates.tile=9",
        "train P --channels all --set train.batch=8 loss.weight=2 model.depth=1 plates.tile=9",
        "train --set train.batch=8 --set loss.weight=2 model.depth=1 --channels all --set plates.tile=9 P",
    ):
        arguments = parser.parse_args(cli._each_set(words.split()))
        assert arguments.plates == [Path("P")]
        assert arguments.set == ["train.batch=8", "loss.weight=2", "model.depth=1", "plates.tile=9"]
    assert cli._each_set(["inspect", "a.b=c", "d.e=f"]) == ["inspect", "a.b=c", "d.e=f"]


def test_the_main_job(simulated: Path, small: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Train, embed and profile; the run's metadata reaches the wells without being given again."""
    images, sets = str(simulated / "images"), [part for setting in small for part in ("--set", setting)]
    run, sites, wells = (str(tmp_path / name) for name in ("run", "sites.parquet", "wells.parquet"))
    assert train_main([images, "--channels", "brightfield", "--out", run, "--recipe", "tiny", "--set", *small]) == 0
    assert f"Trained 12 steps: {run}" in capfd.readouterr().out
    metadata = ["--metadata", str(simulated / "metadata")]
    shutil.rmtree(run)
    assert main(["train", images, "--channels", "brightfield", "--out", run, "--recipe", "tiny", *sets, *metadata]) == 0
    assert main(["train", images, "--channels", "brightfield", "--out", run, "--resume"]) == 0
    assert main(["embed", images, "--run", run, "--out", sites]) == 0
    assert main(["profile", sites, "--out", wells]) == 0
    shown = capfd.readouterr()
    assert f"Wrote {wells}." in shown.out
    assert read_wells(wells).metadata["Metadata_Compound"].notna().all()
    assert len(read_sites(sites).metadata) == 48


def test_a_stopped_run_says_how_to_go_on(
    simulated: Path,
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(RunFolder, "control", lambda _: "stop")
    sets = [part for setting in small for part in ("--set", setting)]
    options = ["--channels", "all", "--out", str(tmp_path / "run"), "--recipe", "tiny", *sets]
    assert main(["train", str(simulated / "images"), *options]) == 0
    assert capfd.readouterr().out == "Stopped (stopped) after step 1 of 12; go on with --resume.\n"


def test_a_run_that_is_not_finished_is_embedded_with_a_warning(
    simulated: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    command = ["embed", str(simulated / "images"), "--run", str(run), "--out", str(tmp_path / "sites.parquet")]
    assert main(command) == 0
    assert "not finished" not in capfd.readouterr().err
    events = (run / "events.jsonl").read_text().replace('"finished"', '"stopped"')
    (run / "events.jsonl").write_text(events)
    assert main(command) == 0
    assert f"Warning: {run} has not finished its training: the model of its last" in capfd.readouterr().err


def test_metadata_that_went_since_training_is_a_warning(
    simulated: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    facts = run / "run.json"
    facts.write_text(facts.read_text().replace(str(simulated / "metadata"), "/gone/metadata"))
    out = tmp_path / "sites.parquet"
    assert main(["embed", str(simulated / "images"), "--run", str(run), "--out", str(out)]) == 0
    assert "Warning: The run's metadata /gone/metadata is not there. " in capfd.readouterr().err


def test_wells_that_lack_sites_are_one_line(
    simulated: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Four sites are filled to nine, and that is a warning: its words alone, without Python's file and line."""
    sites = str(tmp_path / "sites.parquet")
    assert main(["embed", str(simulated / "images"), "--run", str(trained), "--out", sites]) == 0
    capfd.readouterr()
    assert main(["profile", sites, "--out", str(tmp_path / "wells.parquet")]) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "Warning" in line]
    assert len(lines) == 1
    assert lines[0].startswith("Warning: 12 of 12 wells have fewer sites")
    assert ".py" not in lines[0]


def run_instead(monkeypatch: pytest.MonkeyPatch, action: Callable[[], int]) -> int:
    """Run ``sslprofiler inspect`` with something else in its place."""
    monkeypatch.setattr(cli, "_inspect", lambda _: action())
    return main(["inspect", "x"])


def raise_(error: BaseException) -> Callable[[], int]:
    def action() -> int:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("All wrong. Do right."), 2, "sslprofiler: All wrong. Do right.\n"),
        (KeyboardInterrupt(), 130, "sslprofiler: interrupted.\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 2, "sslprofiler: /x/y: Permission denied. Check"),
        (OSError(errno.ENOSPC, "No space left on device", b"/x/y"), 2, "sslprofiler: /x/y: No space left on device"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "sslprofiler: No space left on device. Make room"),
    ],
)
def test_what_the_system_refuses_is_a_line(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_instead(monkeypatch, raise_(error)) == status
    shown = capfd.readouterr().err
    assert shown.startswith(message) and shown.count("\n") == 1


@pytest.mark.parametrize("error", [ValueError("a mistake of ours"), OSError("no number, no name")])
def test_our_own_mistakes_are_not_hidden(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error)):
        run_instead(monkeypatch, raise_(error))


def test_warnings_are_one_line_each_and_only_inside(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def warn() -> int:
        warnings.warn("two\n  lines", UserWarning, stacklevel=1)
        return 0

    before = warnings.showwarning, list(warnings.filters)
    assert run_instead(monkeypatch, warn) == 0
    assert capfd.readouterr().err == "Warning: two lines\n"
    assert (warnings.showwarning, list(warnings.filters)) == before


@pytest.mark.skipif(os.name != "posix", reason="a pipe's reader goes away")
def test_a_reader_that_has_seen_enough_is_no_error(simulated: Path) -> None:
    command = [sys.executable, "-m", "sslprofiler_core.cli", "inspect", str(simulated / "images"), "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    shown = child.stderr.read().decode()
    child.stderr.close()
    child.wait(60)
    assert "Traceback" not in shown


def test_names_that_cannot_be_shown_are_spelt_out(simulated: Path, tmp_path: Path) -> None:
    plate = next((simulated / "images").iterdir())
    shutil.copytree(plate, tmp_path / "Pé")
    command = [sys.executable, "-m", "sslprofiler_core.cli", "inspect", str(tmp_path)]
    child = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert (child.returncode, b"P\\xe9" in child.stdout) == (0, True)
