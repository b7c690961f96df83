from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.demo import maps
from sslprofiler_core.demo.maps import WellMap, map_path
from sslprofiler_core.profiling import write_wells


def write(path: Path, seed: int = 0) -> None:
    # Four wells: too few for UMAP, which would compile for ten seconds.
    metadata = pd.DataFrame({"Metadata_Plate": ["P", "P", "Q", "Q"], "Metadata_Well": ["A01", "A02", "A01", "A02"]})
    write_wells(path, metadata, np.random.default_rng(seed).normal(size=(4, 6)), {})


def test_a_child_makes_the_maps_and_they_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wells = tmp_path / "wells.parquet"
    write(wells)
    with WellMap(wells, 3) as well_map:
        assert well_map._child is not None
        layouts = well_map.layouts()
    assert layouts is not None and [layout.shape for layout in layouts] == [(4, 2), (4, 2)]
    # Centred: two plates of two wells each are mirrored at their middle.
    np.testing.assert_allclose(layouts[1][0], -layouts[1][1], atol=1e-5)
    with WellMap(wells, 3) as well_map:
        assert well_map._child is None
        np.testing.assert_array_equal(well_map.layouts(), layouts)


def test_other_profiles_or_another_seed_make_them_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wells = tmp_path / "wells.parquet"
    write(wells)
    maps.write_map(wells, 3)
    started: list[list[str]] = []

    class Child:
        def __init__(self, command: list[str], **rest: object) -> None:
            started.append(command)

        def poll(self) -> int:
            return 0

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(maps.subprocess, "Popen", Child)
    with WellMap(wells, 3):
        assert not started
    with WellMap(wells, 4):
        assert len(started) == 1
    write(wells, seed=1)
    with WellMap(wells, 3):
        assert len(started) == 2


def test_a_child_that_fails_is_made_up_for_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wells = tmp_path / "wells.parquet"
    write(wells)
    monkeypatch.setattr(maps.sys, "executable", "false")
    with WellMap(wells, 3) as well_map:
        assert well_map.layouts() is not None
    assert map_path(wells).is_file()


def test_no_map_when_none_is_wanted(tmp_path: Path) -> None:
    with WellMap(tmp_path / "absent.parquet", 0, wanted=False) as well_map:
        assert well_map.layouts() is None
