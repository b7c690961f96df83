"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cpjump1() -> Path:
    """Real CPJUMP1 images, metadata and profiles; set SSLPROFILER_CPJUMP1 to point somewhere else."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "cpjump1"
    folder = Path(os.environ.get("SSLPROFILER_CPJUMP1", beside))
    if not (folder / "images").is_dir():
        pytest.skip(f"the real CPJUMP1 data is not there: {folder}")
    return folder
