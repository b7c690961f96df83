from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as imageio
import numpy as np
import pytest
from npe2 import PluginManifest

from napari_sslprofiler.sample_data import simulated_plate

if TYPE_CHECKING:
    from napari import Viewer


def test_the_simulated_plate_is_one_site_of_eight_channels() -> None:
    layers = simulated_plate()
    assert len(layers) == 8
    assert len({settings["name"] for _, settings, _ in layers}) == 8
    assert sum(settings["visible"] for _, settings, _ in layers) == 5
    assert len({(settings["metadata"]["well"], settings["metadata"]["site"]) for _, settings, _ in layers}) == 1
    for pixels_HW, settings, kind in layers:
        low, high = settings["contrast_limits"]
        assert kind == "image"
        assert pixels_HW.shape == (512, 512)
        assert pixels_HW.dtype == np.uint16
        # The limits leave a picture: most pixels lie between them, and not all in one place.
        assert np.mean((pixels_HW >= low) & (pixels_HW <= high)) > 0.95
        assert pixels_HW.std() > 0.02 * (high - low)


@pytest.mark.window
def test_the_sample_opens_in_a_window(viewer: Viewer, manifest: PluginManifest, pictures: Path) -> None:
    (sample,) = manifest.contributions.sample_data or ()
    viewer.open_sample(manifest.name, sample.key)
    assert len(viewer.layers) == 8

    canvas = viewer.screenshot(canvas_only=True, flash=False)
    imageio.imwrite(pictures / "sample-data.png", viewer.screenshot(canvas_only=False, flash=False))
    rgb = canvas[..., :3].astype(float)
    assert rgb.std() > 10, "the canvas is blank"
    # Colours, not shades of grey, and not washed out to white.
    assert np.ptp(rgb, axis=-1).max() > 60
    assert np.mean(rgb.min(-1) > 250) < 0.05
