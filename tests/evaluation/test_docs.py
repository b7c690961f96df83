"""docs/evaluation.md: its commands are understood, its Python runs, and its figures are the tested ones."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from sslprofiler_core.cli import build_parser
from sslprofiler_core.evaluation.protocol import knn_transfer

from .test_edge_cases import screen

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_every_command_is_understood() -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    assert len(lines) == 2
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "sslprofiler" and build_parser().parse_args(words).out == Path("report")


def test_the_python_runs() -> None:
    table = screen()
    names: dict[str, object] = {"metadata": table.metadata, "profiles": table.profiles}
    for block in blocks("python"):
        exec(block, names)
    assert {"scores", "control", "precision"} <= set(names)


def test_every_metric_is_explained() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = screen()
    found = knn_transfer(table, alignments=["training"], variants=["not_same_plate", "not_same_well"], ks=[1])
    assert all(f"`{name}`" in page for name in set(found.metric) if "not_same" not in name or "random" not in name)
