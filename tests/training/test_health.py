"""Signs of collapse: the effective rank, and when a warning is due."""

from __future__ import annotations

import math

import pytest
import torch

from sslprofiler_core.training.health import collapse_warning, effective_rank


def test_effective_rank_counts_directions() -> None:
    axes = torch.eye(8).repeat_interleave(4, 0) * torch.tensor([1.0, -1.0, 1.0, -1.0]).repeat(8)[:, None]
    assert effective_rank(axes) == pytest.approx(8.0, rel=1e-4)
    line = torch.linspace(-1, 1, 20)[:, None] * torch.randn(1, 16)
    assert effective_rank(line) == pytest.approx(1.0, abs=0.01)
    assert effective_rank(line + 7.0) == pytest.approx(1.0, abs=0.01)  # what all share does not count
    assert math.isnan(effective_rank(torch.full((3, 3), math.nan)))


def test_a_warning_says_what_to_do() -> None:
    assert collapse_warning(entropy=0.8, rank=12.0) is None
    assert "loss.koleo" in (collapse_warning(0.8, 1.5) or "")
    assert "model.prototypes" in (collapse_warning(0.999, 12.0) or "")
