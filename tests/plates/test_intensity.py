from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import compiled, measure_scale, open_plates, tile_plate
from sslprofiler_core.plates.intensity import count_levels, percentiles_of, sample_sites

from .conftest import MakePlate, phenix_name, write_plane


@settings(max_examples=60)
@given(
    hnp.arrays(np.uint16, st.integers(1, 200)),
    st.lists(st.floats(0, 100), min_size=1, max_size=4),
)
def test_percentiles_of_a_histogram_are_numpys(values: np.ndarray, percentiles: list[float]) -> None:
    histogram = np.bincount(values, minlength=65536)
    expected = np.percentile(values.astype(np.float64), percentiles)
    np.testing.assert_allclose(percentiles_of(histogram, percentiles), expected, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1080, 1080), (300, 301), (70001, 1)])
def test_the_compiled_loop_counts_the_same(
    tmp_path: Path, dtype: type, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    loops = compiled.load_loops()
    if loops is None:
        pytest.skip("numba does not run here")
    plane = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    plane[: len(plane) // 2] = np.iinfo(dtype).max
    write_plane(tmp_path / "a.tif", plane)
    monkeypatch.setattr(compiled, "_LOADED", [loops])
    counts = count_levels((tmp_path / "a.tif", None))
    np.testing.assert_array_equal(counts, np.bincount(plane.ravel(), minlength=65536))


def test_the_scale_of_real_plates_is_numpys_over_all_their_pixels(cpjump1: Path) -> None:
    plates = open_plates([cpjump1 / "images"])[1:2]
    scale = measure_scale(plates, channels=["Alexa 647", "Brightfield"])
    assert list(scale) == ["BR00117012"]
    assert list(scale["BR00117012"]) == ["Alexa 647", "Brightfield"]
    for name, index in (("Alexa 647", 0), ("Brightfield", 7)):
        pixels = np.concatenate([tifffile.imread(site.paths[index]).ravel() for site in plates[0].sites])
        expected = np.percentile(pixels.astype(np.float64), (0.1, 99.9))
        np.testing.assert_allclose(scale["BR00117012"][name], expected, rtol=1e-9)


def test_pseudo_sites_have_the_scale_of_their_sites(make_plate: MakePlate) -> None:
    plates = open_plates([make_plate()])
    tiled = [tile_plate(plate, 3) for plate in plates]
    assert measure_scale(tiled, sites=2) == measure_scale(plates, sites=2)


def test_a_constant_channel_gets_a_width_of_one(make_plate: MakePlate) -> None:
    root = make_plate(wells=[(1, 1)], sites=1)
    write_plane(root / phenix_name(1, 1, 1, 1), np.full((12, 10), 70, np.uint16))
    assert measure_scale(open_plates([root]))["P1"]["DNA"] == (70.0, 71.0)


def test_a_damaged_image_is_left_out_with_a_warning(make_plate: MakePlate) -> None:
    root = make_plate(wells=[(1, 1)], sites=4)
    for site, level in ((1, 70), (2, 80), (3, 90)):
        write_plane(root / phenix_name(1, 1, site, 1), np.full((12, 10), level, np.uint16))
    bad = root / phenix_name(1, 1, 4, 1)
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-40])
    (plate,) = open_plates([root])
    with pytest.warns(UserWarning, match=f"without it: .*{bad.name}"):
        scale = measure_scale([plate], percentiles=(0, 100))
    assert scale["P1"]["DNA"] == (70.0, 90.0)
    bad.write_bytes(whole)  # nothing of it was kept
    assert measure_scale(open_plates([root]), percentiles=(0, 100))["P1"]["DNA"][1] > 90.0

    for site in (2, 3, 4):
        path = root / phenix_name(1, 1, site, 1)
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.warns(UserWarning, match="without it"), pytest.raises(UserError, match=r"P1|tif"):
        measure_scale(open_plates([root]))


def test_8_bit_images_are_measured_in_their_own_units(make_plate: MakePlate) -> None:
    scale = measure_scale(open_plates([make_plate(dtype=np.uint8, wells=[(1, 1)], sites=1)]), percentiles=(0, 100))
    assert scale["P1"]["DNA"] == (112.0, 113.0)


def test_the_sample_depends_on_seed_and_plate_alone(make_plate: MakePlate) -> None:
    (plate,) = open_plates([make_plate(wells=[(1, c) for c in range(1, 13)], sites=3)])
    sampled = sample_sites(plate, 8, seed=0)
    assert len(set(sampled)) == 8
    assert sampled == sample_sites(plate, 8, seed=0)
    assert sampled != sample_sites(plate, 8, seed=1)
    assert sampled != sample_sites(replace(plate, name="P2"), 8, seed=0)
    assert len(sample_sites(plate, 1000, seed=0)) == 36


def test_nothing_is_left_out_in_silence(make_plate: MakePlate) -> None:
    root = make_plate()
    path = root / phenix_name(1, 1, 1, 2)
    path.write_text("broken")
    plates = open_plates([root])
    with pytest.warns(UserWarning, match=path.name):
        measure_scale(plates)
    with pytest.raises(UserError, match="no channel 'Actin'"):
        measure_scale(plates, channels=["Actin"])
    with pytest.raises(UserError, match="no complete site"):
        measure_scale([replace(plates[0], sites=())])
    assert measure_scale(plates, channels=["DNA"], progress=True)["P1"].keys() == {"DNA"}
