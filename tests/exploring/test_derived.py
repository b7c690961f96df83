"""Maps, neighbours and clusters are made once, kept beside the table, and made again when it changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import cluster_rows, open_table
from sslprofiler_core.exploring import derived as module
from sslprofiler_core.exploring.derived import centred_per_plate, derived_path, fingerprint, make_derived, read_derived
from sslprofiler_core.exploring.layout import map_rows
from sslprofiler_core.profiling.tables import write_wells

GROUPS = np.arange(60) % 3


def make_table(folder: Path, seed: int = 0, nan: bool = False) -> Path:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(60, 6)) + 8 * np.eye(6)[GROUPS]
    if nan:
        values[4] = np.nan
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": np.where(np.arange(60) < 30, "P1", "P2"),
            "Metadata_Well": [f"A{i % 30 + 1:02d}" for i in range(60)],
            "Metadata_Compound": GROUPS.astype(str),
        }
    )
    return write_wells(folder / "wells.parquet", metadata, values, {})


def test_clusters_find_groups_by_falling_size() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [30, 20, 10])
    rows = rng.normal(size=(60, 8)) + 10 * np.eye(8)[truth]
    rows[59] = np.nan
    found = cluster_rows(rows, 3)
    assert adjusted_rand_score(truth[:59], found[:59]) == 1.0
    assert np.bincount(found).tolist() == [1, 30, 20, 9]
    np.testing.assert_array_equal(found, cluster_rows(rows, 3))
    assert cluster_rows(np.ones((4, 2)), 12).tolist() == [1, 1, 1, 1]
    assert cluster_rows(np.full((2, 2), np.nan)).tolist() == [0, 0]
    with pytest.raises(UserError, match="0 clusters"):
        cluster_rows(rows, 0)


def test_neighbours_of_other_wells_and_their_agreement(tmp_path: Path) -> None:
    table = open_table(make_table(tmp_path, nan=True))
    made = make_derived(table, "neighbours")
    features = np.delete(table.features(), 4, axis=0)
    peer = NearestNeighbors(n_neighbors=11, metric="cosine", algorithm="brute").fit(features)
    distances, places = peer.kneighbors(features)
    labels = np.delete(GROUPS, 4)
    nearest = np.delete(made.columns["Metadata_NearestDistance"].to_numpy(), 4)
    np.testing.assert_allclose(nearest, distances[:, 1], atol=1e-5)
    agree = (labels[places[:, 1:]] == labels[:, None]).mean(axis=1)
    np.testing.assert_allclose(np.delete(made.columns["Metadata_LabelAgreement"].to_numpy(), 4), agree, atol=1e-6)
    assert made.columns.iloc[4].isna().all()


def test_it_is_reused_until_the_table_changes(tmp_path: Path) -> None:
    path = make_table(tmp_path)
    table = open_table(path)
    assert read_derived(table, "clusters", clusters=3) is None
    made = make_derived(table, "clusters", clusters=3)
    found = read_derived(open_table(path), "clusters", clusters=3)
    assert found is not None and found.note == made.note
    pd.testing.assert_frame_equal(found.columns, made.columns)
    assert read_derived(table, "clusters", clusters=4) is None
    before = fingerprint(path)
    make_table(tmp_path, seed=1)  # as large as before, with other features
    assert fingerprint(path) != before
    assert read_derived(open_table(path), "clusters", clusters=3) is None
    derived_path(path, "clusters", "-3").write_bytes(b"cut short")
    assert read_derived(table, "clusters", clusters=3) is None


def test_where_nothing_can_be_written_beside_the_cache_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    cache = tmp_path / "cache"
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(cache))
    path = make_table(tmp_path / "t")
    # A folder in the file's place: nobody, not even root, writes there.
    derived_path(path, "clusters", "-12").mkdir()
    table = open_table(path)
    made = make_derived(table, "clusters")
    found = read_derived(table, "clusters")
    assert found is not None and found.columns.equals(made.columns)
    assert list(cache.rglob("*.parquet"))


def test_a_map_places_all_rows_but_empty_ones_alike_for_alike_seeds(tmp_path: Path) -> None:
    path = make_table(tmp_path, nan=True)
    reports: list[tuple[int, int]] = []
    made = make_derived(open_table(path), "map", lambda done, total: reports.append((done, total)))
    places = made.columns.to_numpy(np.float32)
    assert np.isnan(places[4]).all() and np.isfinite(np.delete(places, 4, axis=0)).all()
    assert reports[0] == (0, 100) and reports == sorted(reports) and reports[-1][0] >= 90
    assert "59 rows" in made.note
    again, _ = map_rows(open_table(path).features())
    np.testing.assert_array_equal(places, again)
    assert read_derived(open_table(path), "map") is not None
    assert read_derived(open_table(path), "map", centred=True) is None


def test_many_rows_lie_at_their_sampled_neighbours() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 4, 400)
    rows = (rng.normal(size=(400, 10)) + 9 * np.eye(10)[groups]).astype(np.float32)
    places, note = map_rows(rows, sample=120)
    assert "120 sampled rows; the other 280" in note and np.isfinite(places).all()
    centres = np.array([places[groups == g].mean(axis=0) for g in range(4)])
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == groups).mean() > 0.98
    empty, note = map_rows(np.full((3, 2), np.nan))
    assert np.isnan(empty).all() and "no map" in note


def test_plates_are_centred_on_their_rows_with_values() -> None:
    rows = np.array([[1.0, 2], [3, 4], [10, 0], [np.nan, 1]], np.float32)
    centred = centred_per_plate(rows, np.array(["a", "a", "b", "b"]))
    np.testing.assert_array_equal(centred[:3], [[-1, -1], [1, 1], [0, 0]])


def test_the_demos_map_is_taken_when_it_is_of_these_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    from sslprofiler_core.profiling.parquet import write_parquet

    path = make_table(tmp_path)
    table = open_table(path)
    digest = hashlib.sha256(np.ascontiguousarray(table.features()).tobytes()).hexdigest()[:16]
    names = [*module.AXES, *module.demo_axes(True)]
    frame = pd.DataFrame(np.arange(240.0).reshape(60, 4), columns=names)
    write_parquet(derived_path(path, "map"), frame, {}, {"profiles": digest, "seed": 0})
    found = read_derived(table, "map")
    assert found is not None and found.columns.iloc[1].tolist() == [4.0, 5.0]
    write_parquet(derived_path(path, "map"), frame, {}, {"profiles": "other", "seed": 0})
    assert read_derived(table, "map") is None


def test_a_child_process_makes_one_with_progress(tmp_path: Path) -> None:
    path = make_table(tmp_path)
    command = [sys.executable, "-m", "sslprofiler_core.exploring.derived", str(path), "clusters", "--clusters", "3"]
    environment: dict[str, Any] = {**os.environ, "SSLPROFILER_PROGRESS": "json"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"done": 100' in done.stderr
    assert read_derived(open_table(path), "clusters", clusters=3) is not None
    done = subprocess.run([*command[:3], str(tmp_path / "gone.parquet"), "map"], capture_output=True, text=True)
    assert done.returncode == 2 and "sslprofiler: There is no table" in done.stderr


def test_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown table map with depth"):
        make_derived(open_table(make_table(tmp_path)), "map", depth=3)
