"""The documents' Python does what they say, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
STEPS = '"train.steps=400"'


@pytest.mark.filterwarnings("ignore:.*(wells|sites|n_neighbors|positions).*:UserWarning")  # twelve wells are few
def test_the_python_page_runs(
    simulated: Path,
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("PLATES").symlink_to(simulated / "images")
    Path("METADATA").symlink_to(simulated / "metadata")
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/python.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(blocks) == 6 and STEPS in blocks[0]
    blocks[0] = blocks[0].replace(STEPS, ", ".join(map(repr, small)))
    names: dict[str, object] = {}
    threads = torch.get_num_threads()
    for number, block in enumerate([*blocks, blocks[0]]):  # the first once more: it goes on where it was
        exec(compile(block, f"docs/python.md, block {number + 1}", "exec"), names)
    torch.set_num_threads(threads)
    assert Path("report/report.html").is_file()
    assert "no such folder" in capsys.readouterr().out
