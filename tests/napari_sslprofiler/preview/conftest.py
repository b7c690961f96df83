"""A screen to preview, without a window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_sslprofiler.preview.client import Renderer
from sslprofiler_core.plates import IntensityScale, Plate, measure_scale, open_plates
from sslprofiler_core.recipes import Recipe, load_recipe


@pytest.fixture(scope="session")
def plates(simulated: Path) -> tuple[Plate, ...]:
    """The simulated plates."""
    return tuple(open_plates([simulated / "images"]))


@pytest.fixture(scope="session")
def tiny(small: list[str]) -> Recipe:
    """The tests' smaller tiny recipe, with all of the paper's augmentations on."""
    more = ["augment.noise=0.5", "augment.elastic=0.5", "augment.jitter=0.8", "train.seed=5"]
    return load_recipe("tiny", [*small, *more])


@pytest.fixture(scope="session")
def scale(plates: tuple[Plate, ...], tiny: Recipe) -> IntensityScale:
    """The intensities that training measures for this recipe."""
    return measure_scale(
        plates, percentiles=tiny.plates.percentiles, sites=tiny.plates.scale_sites, seed=tiny.train.seed
    )


@pytest.fixture(scope="session")
def renderer() -> Iterator[Renderer]:
    """A renderer's process, which takes seconds to start: one for all tests."""
    made = Renderer()
    yield made
    made.close()
