"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import torch

# What tests hold to the bit is so on a CPU, everywhere: a GPU is for the tests that want one (`make gpu`).
if not os.environ.get("SSLPROFILER_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# The same examples in every run: what passed here passes there. `--hypothesis-profile=new` looks for new ones.
# Neither is judged by the clock, which other programs share.
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("new"), derandomize=True)
settings.load_profile("repeatable")

# The tiny recipe made smaller still: 12 steps take about a second.
SMALL = {
    "model.width": 16,
    "model.depth": 1,
    "model.heads": 2,
    "model.prototypes": 16,
    "model.head_hidden": 16,
    "model.head_bottleneck": 8,
    "augment.size": 32,
    "plates.scale_sites": 4,
    "train.batch": 8,
    "train.steps": 12,
    "train.threads": 1,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process opens all windows, one after the other, when tests run in several: they share a pointer."""
    for item in items:
        if {"viewer", "qtbot", "qapp"} & set(getattr(item, "fixturenames", ())) or item.get_closest_marker("window"):
            item.add_marker(pytest.mark.xdist_group("windows"))


@pytest.fixture(scope="session", autouse=True)
def _scales(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests measure is not kept beside plates: not beside the real ones, and not from one test to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLPROFILER_SCALES", str(tmp_path_factory.mktemp("scales")))
        yield


@pytest.fixture(scope="session")
def gpu() -> torch.device:
    """The GPU of this machine."""
    import torch

    for kind, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if there:
            return torch.device(kind)
    pytest.skip("needs a GPU: run `make gpu` where there is one")


@pytest.fixture(scope="session")
def cpjump1() -> Path:
    """Real CPJUMP1 images, metadata and profiles; set SSLPROFILER_CPJUMP1 to point somewhere else."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "cpjump1"
    folder = Path(os.environ.get("SSLPROFILER_CPJUMP1", beside))
    if not (folder / "images").is_dir():
        pytest.skip(f"the real CPJUMP1 data is not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two simulated plates, 6 wells x 4 sites of 64 px: ``images/``, ``metadata/``. Tests copy what they change."""
    from sslprofiler_core.plates import simulate_plates

    return simulate_plates(tmp_path_factory.mktemp("simulated") / "screen", plates=2, wells=6, sites=4, size=64)


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Overrides that make the tiny recipe a matter of a second."""
    return [f"{key}={value}" for key, value in SMALL.items()]


@pytest.fixture(scope="session")
def trained(simulated: Path, small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the simulated plates' fluorescence, left alone. Tests copy what they change."""
    import torch

    from sslprofiler_core.training import train

    run = tmp_path_factory.mktemp("trained") / "fluorescence"
    threads = torch.get_num_threads()
    train(
        [simulated / "images"],
        group="fluorescence",
        out=run,
        recipe="tiny",
        overrides=small,
        metadata=simulated / "metadata",
    )
    torch.set_num_threads(threads)
    return run
