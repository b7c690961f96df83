"""Percentiles that were measured before: the same values, never those of other files, whatever may be written."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sslprofiler_core.plates import convert_plates, intensity, measure_scale, open_plates
from sslprofiler_core.plates.kept_scale import keep_scales, kept_scales

from .conftest import MakePlate, phenix_name, write_plane


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLPROFILER_CACHE", str(tmp_path / "cache" / "objects"))
    monkeypatch.delenv("SSLPROFILER_SCALES")  # set for all other tests


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Channels that were decoded."""
    calls: list[int] = []
    histogram_of = intensity.histogram_of

    def counted(sources, bad):
        calls.append(len(sources))
        return histogram_of(sources, bad)

    monkeypatch.setattr(intensity, "histogram_of", counted)
    return calls


@pytest.mark.parametrize("stored", [False, True])
def test_a_plate_is_measured_once_and_channel_by_channel(
    make_plate: MakePlate, tmp_path: Path, decoded: list[int], stored: bool
) -> None:
    root = make_plate("Plate ü 1")
    if stored:
        root = convert_plates([root], tmp_path / "s.zarr")[0].path
    decoded.clear()
    first = measure_scale(open_plates([root]), channels=["DNA"])
    whole = measure_scale(open_plates([root]))
    assert len(decoded) == 3
    assert measure_scale(open_plates([root])) == whole
    assert len(decoded) == 3
    assert first["Plate ü 1"]["DNA"] == whole["Plate ü 1"]["DNA"]
    assert measure_scale(open_plates([root]), keep=False) == whole
    assert (root.parent / ".sslprofiler" / "Plate ü 1.scale.json").is_file()
    assert [plate.name for plate in open_plates([root.parent])] == ["Plate ü 1"]  # and it is no plate
    decoded.clear()
    measure_scale(open_plates([root]), percentiles=(1.0, 99.0))
    assert len(decoded) == 3


def test_a_plate_that_changed_is_measured_anew(make_plate: MakePlate, decoded: list[int]) -> None:
    root = make_plate()
    before = measure_scale(open_plates([root]))
    path = root / phenix_name(1, 1, 1, 1)
    write_plane(path, np.full((12, 10), 60_000, np.uint16))
    os.utime(path, ns=(1, 1))  # also back in time
    after = measure_scale(open_plates([root]))
    assert after == measure_scale(open_plates([root]), keep=False) != before
    assert len(decoded) == 3 + 1 + 3


def test_a_folder_that_takes_no_files_has_them_in_the_cache(
    make_plate: MakePlate, tmp_path: Path, decoded: list[int]
) -> None:
    root = make_plate()
    (root.parent / ".sslprofiler").write_text("a file where the folder would be: nothing can be written in it")
    before = measure_scale(open_plates([root]))
    assert measure_scale(open_plates([root])) == before
    assert len(decoded) == 3
    assert len(list((tmp_path / "cache" / "objects-scales").iterdir())) == 1


def test_without_any_place_it_is_measured_each_time(make_plate: MakePlate, tmp_path: Path, decoded: list[int]) -> None:
    root = make_plate()
    for place in (root.parent / ".sslprofiler", tmp_path / "cache"):
        place.write_text("")
    assert measure_scale(open_plates([root])) == measure_scale(open_plates([root]))
    assert len(decoded) == 6


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"scales": 3}', '{"scales": {"KEY": [1]}}', '{"scales": {"KEY": [5, 5]}}', "\x00" * 40]
)
def test_a_damaged_file_is_as_if_it_were_not_there(make_plate: MakePlate, decoded: list[int], text: str) -> None:
    root = make_plate()
    right = measure_scale(open_plates([root]))
    file = root.parent / ".sslprofiler" / "P1.scale.json"
    for key in json.loads(file.read_text())["scales"]:
        file.write_text(text.replace("KEY", key))
        assert measure_scale(open_plates([root])) == right
    assert measure_scale(open_plates([root])) == right
    assert json.loads(file.read_text())["scales"]


def test_many_writers_at_once_leave_a_whole_file(make_plate: MakePlate) -> None:
    (plate,) = open_plates([make_plate()])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: keep_scales(plate, {f"{k:032x}": (k, k + 1.0)}), range(80)))
    kept = kept_scales(plate)
    assert 0 < len(kept) <= 80
    assert all(scale == (int(key, 16), int(key, 16) + 1.0) for key, scale in kept.items())
    assert [path.name for path in (plate.root.parent / ".sslprofiler").iterdir()] == ["P1.scale.json"]
