"""``sslprofiler browse`` starts the window as a child, or says what is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.cli import main
from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import browse
from sslprofiler_core.profiling.tables import write_wells


@pytest.fixture
def table(tmp_path: Path) -> Path:
    metadata = pd.DataFrame({"Metadata_Plate": ["P"] * 3, "Metadata_Well": ["A01", "A02", "A03"]})
    return write_wells(tmp_path / "wells.parquet", metadata, np.eye(3), {})


def test_the_child_gets_the_table_and_its_status_comes_back(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    commands: list[list[str]] = []

    class Child:
        def __init__(self, command: list[str]) -> None:
            commands.append(command)

        def wait(self) -> int:
            return 3

    monkeypatch.setattr(subprocess, "Popen", Child)
    assert main(["browse", str(table)]) == 3
    assert commands == [[sys.executable, "-m", "napari_sslprofiler.browser.main", str(table)]]


@pytest.mark.parametrize(
    ("missing", "words"), [("napari", "napari is not installed"), ("PyQt6 PySide6 PyQt5 PySide2", "no Qt binding")]
)
def test_what_is_to_be_installed_is_said(
    table: Path, monkeypatch: pytest.MonkeyPatch, missing: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Any] = dict.fromkeys(missing.split())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found.get(name, True))
    assert main(["browse", str(table)]) == 2
    said = capsys.readouterr().err
    assert words in said and "pip install 'napari-sslprofiler[all]'" in said and said.count("\n") == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are Linux's matter")
def test_without_a_display_it_says_so(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="there is no display"):
        browse(table)


def test_a_bad_table_is_said_before_any_window_opens(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no table"):
        browse(tmp_path / "gone.parquet")
    (tmp_path / "bad.parquet").write_text("x")
    with pytest.raises(UserError, match="is not a Parquet table"):
        browse(tmp_path / "bad.parquet")
