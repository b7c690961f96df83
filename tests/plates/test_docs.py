"""docs/plates.md: every command and every line of Python in it, run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sslprofiler_core.cli import main

from .conftest import MakePlate
from .test_pattern import write

PAGE = Path(__file__).parents[2] / "docs" / "plates.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def at_work(make_plate: MakePlate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page speaks of: PLATES, my_screen, load_data.csv and its images, channels.toml."""
    make_plate(folder=tmp_path / "PLATES")
    write(tmp_path / "PLATES" / "P1" / "X_A01_s1_w1.tif", 1)  # an ImageXpress name among the others
    for channel in ("w1", "w2"):
        write(tmp_path / "my_screen" / "P7" / f"A01_1_{channel}.tif", 3)
    for number in (1, 2):
        write(tmp_path / "raw" / f"img_000{number}.tif", number)
    (tmp_path / "load_data.csv").write_text(blocks("csv")[0])
    (tmp_path / "channels.toml").write_text(blocks("toml")[0])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_works(at_work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(commands) >= 7
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "sslprofiler"
        assert main(arguments) == 0, command
        shown = capsys.readouterr().out
        if "channels.toml" in command:
            assert "DNA" in shown
            assert "Phase" in shown


def test_the_python_works(at_work: Path) -> None:
    found: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, str(PAGE), "exec"), found)
    assert found["image"].shape == (2, 6, 8)
    assert found["small"].shape == (1, 1, 1)


def test_every_layout_is_named() -> None:
    from sslprofiler_core.plates.layouts import known_layouts

    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{layout.name}` |" in text for layout in known_layouts())
