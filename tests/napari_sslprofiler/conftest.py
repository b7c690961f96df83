"""Fixtures of the plugin's tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from npe2 import PluginManifest

if TYPE_CHECKING:
    from napari import Viewer


@pytest.fixture(scope="session")
def manifest() -> PluginManifest:
    """The manifest as the installed package ships it."""
    found = PluginManifest.from_distribution("napari-sslprofiler")
    assert found is not None
    return found


@pytest.fixture
def viewer(
    make_napari_viewer_proxy: Callable[..., Viewer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Viewer]:
    """A real window, shown."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        pytest.skip("opens a window: without a display Qt ends the process; run it under xvfb-run, as `make test` does")
    yield make_napari_viewer_proxy(show=True)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where a test leaves its screenshots; set SSLPROFILER_PICTURES to keep them and look at them."""
    folder = Path(os.environ.get("SSLPROFILER_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
