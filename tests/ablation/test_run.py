"""Rows to a table on simulated plates, stopped and gone on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.ablation import ablate
from sslprofiler_core.cli import main
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import load_metadata, open_plates

ROWS = ["dinov2-8ch", "patch"]  # one model between them


def test_rows_become_a_table_and_a_second_call_trains_nothing(
    simulated: Path, small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "table1"
    sets = [part for each in small for part in ("--set", each)]
    arguments = [
        "ablate",
        str(simulated / "images"),
        "--metadata",
        str(simulated / "metadata"),
        "--out",
        str(out),
        "--rows",
        ",".join(ROWS),
        "--seeds",
        "1",
        "--scale",
        "tiny",
        *sets,
    ]
    assert main(arguments) == 0
    text = (out / "table1.md").read_text()
    assert "| DINOv2 on 8 channels | 20.3 |" in text and "| + patch representations | 20.9 |" in text
    assert text in capsys.readouterr().out
    scores = pd.read_csv(out / "scores.csv")
    assert set(scores["row"]) == set(ROWS) and 1 in set(scores["k"])
    assert {"knn_accuracy", "knn_accuracy_random_features"} <= set(scores["metric"])
    assert set(scores["alignment"]) == {"none", "training", "transductive"}
    runs = [run for run in (out / "runs").iterdir() if run.is_dir()]
    assert len(runs) == 1
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.suffix in (".safetensors", ".parquet")}
    assert main(arguments) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}
    known = load_metadata(simulated / "metadata", open_plates([simulated / "images"]))
    facts = [name for name in known if name not in ("Metadata_Plate", "Metadata_Well")]
    known[facts] = known[facts].to_numpy()[np.random.default_rng(0).permutation(len(known))]
    known.to_csv(tmp_path / "other.csv", index=False)
    arguments[3] = str(tmp_path / "other.csv")
    assert main(arguments) == 0
    assert not pd.read_csv(out / "scores.csv").equals(scores)  # they are of these labels
    assert all(path.stat().st_mtime_ns == at for path, at in before.items() if path.suffix == ".safetensors")
    with pytest.raises(UserError, match="other plates or settings"):
        ablate([simulated / "images"], out, rows=ROWS, seeds=1, scale="paper")


def test_what_cannot_start_leaves_its_folder_to_another_call(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise UserError("The batch is larger than the plates.")

    monkeypatch.setattr("sslprofiler_core.ablation.run.count_run", refuse)
    with pytest.raises(UserError, match="larger than the plates"):
        ablate([simulated / "images"], tmp_path / "out", rows=ROWS, seeds=1, scale="tiny")
    assert not (tmp_path / "out").exists()


@pytest.mark.soak
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_it_goes_on_and_ends_equal(simulated: Path, small: list[str], tmp_path: Path) -> None:
    more = [*small, "train.steps=60", "train.checkpoint_steps=10"]
    sets = [part for each in more for part in ("--set", each)]
    common = ["--metadata", str(simulated / "metadata"), "--rows", "separate", "--seeds", "1", "--scale", "tiny"]

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "sslprofiler_core.cli", "ablate", str(simulated / "images"), *common]
        return subprocess.Popen([*command, "--out", str(out), *sets], stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait(300) == 0
    other = start(tmp_path / "killed")
    until = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("runs/*/checkpoints/*")):
        assert time.monotonic() < until and other.poll() is None
        time.sleep(0.02)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    time.sleep(3.0)  # its trainings notice, and stop with a checkpoint
    assert start(tmp_path / "killed").wait(300) == 0
    tables = [pd.read_csv(tmp_path / name / "scores.csv") for name in ("whole", "killed")]
    pd.testing.assert_frame_equal(*tables)
