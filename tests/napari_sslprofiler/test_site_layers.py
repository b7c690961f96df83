from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.layers import Layer
from napari.utils.colormaps import ensure_colormap

from napari_sslprofiler.site_layers import OTHER_COLOURS, STAIN_COLOURS, site_layers
from sslprofiler_core.plates import Channel, Plate, Site


def _plate(*channels: tuple[str, str], pixel_size_um: float | None = 0.5) -> Plate:
    described = tuple(Channel(name, group, k + 1) for k, (name, group) in enumerate(channels))
    site = Site("P1", "B03", 2, tuple(Path(f"ch{k}.tiff") for k in range(len(channels))))
    return Plate("P1", Path(), "phenix", described, (site,), pixel_size_um, (4, 6), ())


def test_layers_carry_names_scale_limits_and_where_they_come_from() -> None:
    plate = _plate(("DNA", "fluorescence"), ("high z", "brightfield"))
    pixels_CHW = np.arange(48, dtype=np.uint16).reshape(2, 4, 6)
    layers = site_layers(plate, plate.sites[0], pixels_CHW, {"DNA": (3.0, 20.0), "high z": (30.0, 40.0)})

    dna, brightfield = (Layer.create(*layer) for layer in layers)
    assert (dna.name, brightfield.name) == ("DNA", "high z")
    np.testing.assert_array_equal(dna.data, pixels_CHW[0])
    np.testing.assert_array_equal(brightfield.data, pixels_CHW[1])
    assert dna.contrast_limits == [3.0, 20.0]
    assert brightfield.contrast_limits == [30.0, 40.0]
    assert tuple(dna.scale) == (0.5, 0.5)
    assert [str(unit) for unit in dna.units] == ["micrometer", "micrometer"]
    assert (dna.visible, brightfield.visible) == (True, False)
    file = str(plate.sites[0].paths[0])
    assert dna.metadata == {"plate": "P1", "well": "B03", "site": 2, "channel": "DNA", "file": file}


def test_a_flat_channel_and_an_unknown_pixel_size_make_valid_layers() -> None:
    plate = _plate(("Mito", "fluorescence"), pixel_size_um=None)
    (layer,) = site_layers(plate, plate.sites[0], np.full((1, 4, 6), 7, np.uint16), {"Mito": (7.0, 7.0)})
    made = Layer.create(*layer)
    assert made.contrast_limits == [7.0, 8.0]
    assert tuple(made.scale) == (1.0, 1.0)


def test_channels_without_a_known_stain_get_colours_of_their_own() -> None:
    names = [f"laser {k}" for k in range(len(OTHER_COLOURS) + 1)]
    plate = _plate(*((name, "unknown") for name in names))
    pixels_CHW = np.zeros((len(names), 4, 6), np.uint16)
    layers = site_layers(plate, plate.sites[0], pixels_CHW, dict.fromkeys(names, (0.0, 1.0)))
    assert [settings["colormap"] for _, settings, _ in layers] == [*OTHER_COLOURS, "gray"]
    assert all(settings["visible"] for _, settings, _ in layers)


def test_pixels_that_do_not_fit_the_channels_are_refused() -> None:
    plate = _plate(("DNA", "fluorescence"))
    with pytest.raises(ValueError, match="zip"):
        site_layers(plate, plate.sites[0], np.zeros((2, 4, 6), np.uint16), {"DNA": (0.0, 1.0)})


def test_five_stains_at_half_strength_stay_below_white_and_apart() -> None:
    colours = np.stack([ensure_colormap(colour).map(1.0)[0, :3] for colour in STAIN_COLOURS.values()])
    assert (0.5 * colours.sum(0) < 1.0).all()
    hue = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip(hue @ hue.T, -1, 1)))[np.triu_indices(len(hue), 1)]
    assert angles.min() > 20
