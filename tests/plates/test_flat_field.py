"""The illumination that is found in simulated plates, against the one that they were made with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Site, measure_flat_field, open_plates, read_site, simulate_plates
from sslprofiler_core.plates.flat_field import (
    GRID,
    block_levels,
    decode_field,
    encode_field,
    estimate_field,
    site_field,
)
from sslprofiler_core.plates.simulated import _plate_optics


def illumination(channel: int, seed: int = 0, plate: int = 0) -> NDArray[np.float64]:
    """The field that a simulated plate was made with: a tilt and a fall-off, mean 1."""
    tilt_x, tilt_y, fall = _plate_optics(seed, plate).shading_C3[channel]
    at = (np.arange(GRID) + 0.5) / GRID * 2 - 1
    field = 1.0 + tilt_x * at + tilt_y * at[:, None] + fall * (0.5 * (at**2 + at[:, None] ** 2) - 1 / 3)
    return np.asarray(field / field.mean())


@pytest.fixture(scope="module")
def plate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_plates(tmp_path_factory.mktemp("lit") / "screen", plates=1, wells=16, sites=4, size=64) / "images"


def test_the_known_illumination_is_found(plate_folder: Path) -> None:
    """Of fields that vary by 5 to 30 %, all is found but 2 % at the worst place, 0.6 % in the root mean square."""
    (plate,) = open_plates([plate_folder])
    found = measure_flat_field([plate])[plate.name]
    assert list(found) == [channel.name for channel in plate.channels]
    for number, channel in enumerate(plate.channels):
        truth, field = illumination(number), decode_field(found[channel.name])
        assert field.shape == (GRID, GRID) and field.mean() == pytest.approx(1.0, abs=1e-5)
        error = field / truth - 1.0
        assert np.abs(error).max() < 0.02 and np.sqrt(np.mean(error**2)) < 0.006, channel.name
        if number < 5:
            assert np.ptp(truth) > 0.05


def test_it_is_the_same_whenever_it_is_measured(plate_folder: Path) -> None:
    (plate,) = open_plates([plate_folder])
    one = measure_flat_field([plate], sites=20, channels=["DNA"])
    assert one == measure_flat_field([plate], sites=20, channels=["DNA"])
    assert one != measure_flat_field([plate], sites=20, seed=1, channels=["DNA"])
    with pytest.raises(UserError, match=r"has 15 sites: too few.*flat_field=off"):
        measure_flat_field([replace(plate, sites=plate.sites[:15])])


def test_blocks_are_means_whatever_the_size(plate_folder: Path) -> None:
    (plate,) = open_plates([plate_folder])
    site = plate.sites[0]
    plane = read_site(site)[3].astype(float)
    edges = np.linspace(0, 64, GRID + 1).astype(int)
    blocks = block_levels(site.sources[3])
    assert blocks.shape == (GRID, GRID)
    assert blocks[2, 5] == pytest.approx(plane[edges[2] : edges[3], edges[5] : edges[6]].mean())


def test_a_small_site_and_a_dark_one_have_a_field() -> None:
    rng = np.random.default_rng(0)
    small = estimate_field(rng.uniform(90, 110, (30, 10, 12)))
    assert small.shape == (GRID, GRID) and np.abs(small - 1).max() < 0.2
    assert np.array_equal(estimate_field(np.zeros((20, GRID, GRID))), np.ones((GRID, GRID), np.float32))


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_pieces_of_a_field_are_the_field(n: int, seed: int) -> None:
    """Of a field that is linear, so that what lies between its places is known; edges are held, not extended."""
    rng = np.random.default_rng(seed)
    at = (np.arange(GRID) + 0.5) / GRID
    slope = rng.uniform(-0.3, 0.3, 2)
    text = encode_field((1.0 + slope[0] * at[:, None] + slope[1] * at).astype(np.float32))
    fields = {"P": {"DNA": text}}
    assert site_field(fields, Site("other", "A01", 1, ()), ["DNA"]) is None
    for row in range(n):
        for column in range(n):
            piece = site_field(fields, Site("P", "A01", 1, (), tile=(row, column, n)), ["DNA"])
            assert piece is not None
            y, x = (row + at) / n, (column + at) / n
            y, x = np.clip(y, at[0], at[-1]), np.clip(x, at[0], at[-1])
            assert np.allclose(piece[0], 1.0 + slope[0] * y[:, None] + slope[1] * x, atol=1e-5)


def test_text_that_is_no_field_is_refused() -> None:
    for text, words in (("not base64", "base64|padd"), ("AAAA", "buffer size|reshape")):
        with pytest.raises(ValueError, match=words):
            decode_field(text)


def test_a_run_keeps_it_and_embedding_uses_it(simulated: Path, small: list[str], tmp_path: Path) -> None:
    """A run that corrects sees pixels as one that does not sees corrected ones."""
    import torch

    from sslprofiler_core.augment import flatten_sites
    from sslprofiler_core.model.files import load_model
    from sslprofiler_core.profiling.embed import embed_plate, forward_sites
    from sslprofiler_core.training import RunFolder, train

    settings = [*small, "train.steps=1", "plates.flat_field=retrospective", "train.knn_checks=1"]
    train([simulated / "images"], group="fluorescence", out=tmp_path, recipe="tiny", overrides=settings, device="cpu")
    plates = open_plates([simulated / "images"])
    facts, model = RunFolder(tmp_path).facts(), load_model(tmp_path)
    assert facts.flat_field == model.flat_field == measure_flat_field(plates, channels=facts.channels)
    plate = replace(plates[0], sites=plates[0].sites[:3])
    features, whole = embed_plate(plate, [model], torch.device("cpu"))
    assert whole.all()
    fields = torch.from_numpy(np.stack([site_field(model.flat_field, s, model.channels) for s in plate.sites]))
    flat = flatten_sites([torch.from_numpy(read_site(site, range(5))) for site in plate.sites], fields)
    scales = torch.tensor([facts.scale[plate.name][name] for name in model.channels]).expand(3, -1, -1)
    cls, patch = forward_sites(model, flat, scales)
    assert np.array_equal(features["fluorescence_cls"], cls)
    # A plate that the run never saw is measured.
    stranger = replace(model, flat_field={})
    again, _ = embed_plate(plates[0], [stranger], torch.device("cpu"))
    assert np.array_equal(again["fluorescence_patch"][:3], patch)
