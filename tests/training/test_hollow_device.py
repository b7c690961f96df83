"""Training steps on a device that is no CPU, whose tensors hold no numbers (`benchmarks/step_memory.py`)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

PROGRAM = Path(__file__).parents[2] / "benchmarks/step_memory.py"

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"), reason="needs torch 2.10 or so"
)


def ratio(*arguments: str) -> float:
    """Do steps; what the arithmetic says of their memory, over what was counted."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = re.findall(r"([\d.]+) \|$", done.stdout, re.MULTILINE)
    return float(found)


@pytest.mark.parametrize(
    ("checkpointing", "changes"),
    [
        ("on", ["train.accumulate=2", "model.drop_path=0.3", "augment.noise=1.0"]),
        ("off", ["augment.kind=dinov2", "augment.local_crops=2", "augment.local_size=32", "loss.centering=softmax"]),
    ],
)
def test_a_step_needs_nothing_of_the_host(checkpointing: str, changes: list[str]) -> None:
    """An operation that meets tensors of two devices, or whose result the host must know, ends the program."""
    assert ratio("--recipe", "tiny", "--checkpointing", checkpointing, "--set", "train.batch=8", *changes)


def test_in_bf16_the_arithmetic_is_about_what_a_gpu_holds() -> None:
    changes = ["model.depth=4", "train.batch=64", "augment.noise=0", "augment.elastic=0"]
    assert 0.88 < ratio("--recipe", "paper-vits14", "--checkpointing", "off", "--set", *changes) < 1.12
