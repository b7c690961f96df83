"""File > Open Sample > SSLProfiler."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.types import LayerData


def simulated_plate() -> list[LayerData]:
    """Simulate a plate and return its first site, one layer a channel.

    The plate is written and read as real ones are, in a temporary folder: a second of work, and nothing to go stale.
    """
    from napari_sslprofiler.site_layers import site_layers
    from sslprofiler_core.plates import measure_scale, open_plates, read_site, simulate_plates

    with tempfile.TemporaryDirectory(prefix="sslprofiler-") as folder:
        out = simulate_plates(Path(folder), plates=1, wells=2, sites=1, size=512)
        (plate,) = open_plates([out / "images"])
        scale = measure_scale([plate])[plate.name]
        site = plate.sites[0]
        return site_layers(plate, site, read_site(site), scale)
