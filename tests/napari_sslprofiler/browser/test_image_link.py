"""What is made ready before the first click."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import napari.layers
import numpy as np
import pint
import pytest

from napari_sslprofiler.browser.image_link import use_units


@pytest.fixture
def unused() -> Iterator[Any]:
    """pint's registry as before anybody has used it."""
    application: Any = pint.application_registry
    kept = application.get()
    application.set(pint.registry.LazyRegistry())
    yield application
    application.set(kept)


def test_units_made_in_a_thread_are_used_by_napari(unused: Any) -> None:
    made = pint.UnitRegistry()
    use_units(made)
    assert unused.get() is made
    first = napari.layers.Image(np.zeros((4, 4)), units=("um", "um"), scale=(0.5, 0.5))
    second = napari.layers.Image(np.zeros((4, 4)))
    assert first.units[0] == made.Unit("micrometer") and first.extent.units != second.extent.units
    use_units(pint.UnitRegistry())
    assert unused.get() is made  # its units are in use


def test_units_in_use_stay(unused: Any) -> None:
    length = pint.Quantity(3, "um")
    use_units(pint.UnitRegistry())
    assert (length + pint.Quantity(1, "mm")).to("um").magnitude == 1003
