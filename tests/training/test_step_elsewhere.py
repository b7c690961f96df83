"""Training steps on a device that is no CPU (`step_elsewhere`): nothing meets what is still on the host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

PROGRAM = Path(__file__).with_name("step_elsewhere.py")


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"), reason="needs torch 2.10 or so"
)
@pytest.mark.parametrize(
    "overrides",
    [
        ["train.accumulate=2", "train.activation_checkpointing=true", "model.drop_path=0.3", "augment.noise=1.0"],
        ["augment.kind=dinov2", "augment.local_crops=2", "augment.local_size=32", "loss.centering=softmax"],
    ],
)
def test_a_step_needs_nothing_of_the_host(overrides: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *overrides], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
