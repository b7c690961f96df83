"""The documents' Python does what they say, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
STEPS = '"train.steps=400"'


def python_of(page: str) -> list[str]:
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.filterwarnings("ignore:.*(wells|sites|n_neighbors|positions).*:UserWarning")  # twelve wells are few
def test_what_the_pages_show_runs(
    simulated: Path,
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("PLATES").symlink_to(simulated / "images")
    Path("METADATA").symlink_to(simulated / "metadata")
    blocks = python_of("python")
    assert len(blocks) == 6 and STEPS in blocks[0]
    blocks[0] = blocks[0].replace(STEPS, ", ".join(map(repr, small)))
    names: dict[str, Any] = {}
    threads = torch.get_num_threads()
    for number, block in enumerate([*blocks, blocks[0]]):  # the first once more: it goes on where it was
        exec(compile(block, f"docs/python.md, block {number + 1}", "exec"), names)
    names["metadata"], names["profiles"] = names["table"].metadata, names["table"].profiles
    names["first_scales"] = names["second_scales"] = names["limits_C2"].expand(4, -1, -1)
    for page in ("augmentations", "evaluation"):
        (block,) = python_of(page)
        exec(compile(block, f"docs/{page}.md", "exec"), names)
    torch.set_num_threads(threads)
    assert Path("report/report.html").is_file()
    assert "no such folder" in capsys.readouterr().out
