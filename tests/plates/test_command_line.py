"""The plates' own commands and options, as a user gives them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sslprofiler_core.cli import main

from .test_pattern import write


def inspect(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert main(["inspect", *arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    return dict(report["plates"][0])


def test_a_pattern_may_be_an_option_or_a_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for channel in ("DNA", "ER"):
        write(tmp_path / "my screen" / "P1" / f"A01_1_{channel}.tif", 3)
    pattern = "{plate}/{well}_{site}_{channel}.tif"
    first = inspect(capsys, str(tmp_path / "my screen"), "--pattern", pattern)
    assert (first["name"], first["layout"], first["complete_sites"]) == ("P1", "pattern", 1)
    monkeypatch.chdir(tmp_path)
    assert inspect(capsys, os.path.join("my screen", pattern)) == first  # noqa: PTH118  # as typed in a shell


def test_a_layout_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "P1" / "r01c01f01p01-ch1sk1fk1fl1.tiff", 1)
    write(tmp_path / "P1" / "X_A01_s1_w1.tif", 2)
    assert inspect(capsys, str(tmp_path))["layout"] == "phenix"
    assert inspect(capsys, str(tmp_path), "--layout", "image_xpress")["layout"] == "image_xpress"
    assert main(["inspect", str(tmp_path), "--layout", "nonsense"]) == 2
    assert "Choose one of ome_zarr" in capsys.readouterr().err
    assert "SSLPROFILER_LAYOUT" not in os.environ


def test_every_command_that_opens_plates_takes_a_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "P1" / "r01c01f01p01-ch1sk1fk1fl1.tiff", 1)
    given = [str(tmp_path), "--layout", "image_xpress"]
    for command in (
        ["inspect", *given],
        ["convert", *given, "--out", str(tmp_path / "s.zarr")],
        ["train", *given, "--channels", "all", "--out", str(tmp_path / "run"), "--recipe", "tiny"],
        ["train", *given, "--channels", "all", "--estimate"],
    ):
        assert main(command) == 2
        assert "expected names like Experiment_" in capsys.readouterr().err
    for name in ("embed", "ablate", "browse"):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert "--layout" in capsys.readouterr().out
