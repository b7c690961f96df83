"""What is taken away can be read back, and code that is copied selects the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslprofiler.browser.export import _ranges, export_rows, selection_code, tidy
from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import TableView, open_table
from sslprofiler_core.profiling import read_wells, write_sites_part, write_wells
from sslprofiler_core.profiling.tables import read_info, read_metadata, read_sites

ROWS = np.array([7, 2, 3, 11])


def metadata_of(rows: int, *, site: bool = False) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "Metadata_Plate": [f"P{i % 2 + 1}" for i in range(rows)],
            "Metadata_Well": [f"{chr(65 + i // 12 % 16)}{i // 2 % 12 + 1:02d}" for i in range(rows)],
            "Metadata_Compound": [f"drug {i % 4}" if i % 7 else None for i in range(rows)],
            "Metadata_Dose": np.linspace(0, 1, rows),
        }
    )
    if site:
        frame.insert(2, "Metadata_Site", np.arange(rows) % 3 + 1)
    return frame


@pytest.fixture
def wells(tmp_path: Path) -> TableView:
    values = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    return open_table(write_wells(tmp_path / "wells.parquet", metadata_of(20), values, {"alignment": {"alpha": 0.5}}))


@pytest.fixture
def sites(tmp_path: Path) -> TableView:
    rng = np.random.default_rng(1)
    folder = tmp_path / "sites.parquet"
    for plate in ("P1", "P2"):
        frame = metadata_of(18, site=True).assign(
            Metadata_Plate=plate, Metadata_Well=[f"A{i // 3 + 1:02d}" for i in range(18)]
        )
        arrays = {
            name: rng.normal(size=(18, width)).astype(np.float32) for name, width in (("f_cls", 4), ("f_patch", 3))
        }
        write_sites_part(folder, plate, frame, arrays, {})
    return open_table(folder)


@pytest.fixture
def foreign(tmp_path: Path) -> TableView:
    frame = metadata_of(20).rename(columns={"Metadata_Plate": "Image_Metadata_Plate"})
    rng = np.random.default_rng(2)
    for name in ("Cells_Area", "Nuclei_Mean"):
        frame[name] = rng.normal(100.0, 30.0, 20)
    path = tmp_path / "profiles.csv"
    frame.to_csv(path, index=False)
    return open_table(path)


@pytest.mark.parametrize("ending", ["parquet", "csv", "csv.gz"])
def test_metadata_is_read_back(wells: TableView, tmp_path: Path, ending: str) -> None:
    computed = wells.metadata.assign(Metadata_Cluster=np.arange(20))
    path = export_rows(wells, computed, ROWS, tmp_path / f"out.{ending}")
    found = read_metadata(path)
    pd.testing.assert_frame_equal(
        found, computed.iloc[ROWS].reset_index(drop=True), check_dtype=False, check_column_type=False
    )
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_wells_with_features_are_a_wells_table(wells: TableView, tmp_path: Path, ending: str) -> None:
    path = export_rows(wells, wells.metadata, ROWS, tmp_path / f"out.{ending}", features=True)
    found = read_wells(path)
    np.testing.assert_allclose(found.profiles, wells.features()[ROWS], rtol=1e-6)
    assert found.metadata["Metadata_Well"].tolist() == wells.metadata["Metadata_Well"].iloc[ROWS].tolist()
    if ending == "parquet":
        assert read_info(path)["alignment"] == {"alpha": 0.5}  # the warning goes with the rows
    again = open_table(path)
    assert len(again) == len(ROWS)


def test_sites_with_features_are_a_sites_table(sites: TableView, tmp_path: Path) -> None:
    path = export_rows(sites, sites.metadata, ROWS, tmp_path / "out.parquet", features=True)
    found = read_sites(path)
    whole = read_sites(sites.path)
    for name in ("f_cls", "f_patch"):
        np.testing.assert_array_equal(found.features[name], whole.features[name][ROWS])


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_features_of_others_are_as_in_their_file(foreign: TableView, tmp_path: Path, ending: str) -> None:
    path = export_rows(foreign, foreign.metadata, ROWS, tmp_path / f"out.{ending}", features=True)
    found = read_wells(path)
    original = pd.read_csv(foreign.path)[["Cells_Area", "Nuclei_Mean"]].to_numpy(np.float32)
    np.testing.assert_allclose(found.profiles, original[ROWS], rtol=1e-6)


def test_an_export_that_cannot_be_says_why(wells: TableView, tmp_path: Path) -> None:
    for rows, name, words in (
        (ROWS, "out.xlsx", "neither Parquet nor CSV"),
        (ROWS[:0], "out.csv", "no rows"),
        (ROWS, "wells.parquet", "the table itself"),
        (ROWS, "none/out.csv", "Cannot write"),
    ):
        with pytest.raises(UserError, match=words):
            export_rows(wells, wells.metadata, rows, tmp_path / name)


def test_mixed_columns_become_text(wells: TableView, tmp_path: Path) -> None:
    mixed: list[Any] = [1, "a", None, 2.5] * 5
    frame = wells.metadata.assign(Metadata_Mixed=pd.Series(mixed, dtype=object))
    assert tidy(frame)["Metadata_Mixed"].iloc[:2].tolist() == ["1", "a"]
    path = export_rows(wells, frame, np.arange(4), tmp_path / "out.parquet")
    found = pd.read_parquet(path)["Metadata_Mixed"]
    assert found.isna().tolist() == [False, False, True, False]


def run(code: str) -> pd.DataFrame:
    names: dict[str, Any] = {}
    exec(code, names)
    selected = names["selected"]
    assert isinstance(selected, pd.DataFrame)
    return selected


@pytest.mark.parametrize("which", ["wells", "sites", "foreign"])
@pytest.mark.parametrize("count", [1, 4, 15])
def test_code_selects_the_same_rows(which: str, count: int, request: pytest.FixtureRequest) -> None:
    table: TableView = request.getfixturevalue(which)
    rows = np.sort(np.random.default_rng(count).choice(len(table), count, replace=False))
    code = selection_code(table, rows)
    assert run(code).index.tolist() == rows.tolist()
    assert "iloc" not in code


def test_code_reads_a_text_as_the_browser_does(tmp_path: Path) -> None:
    frame = metadata_of(20).assign(Metadata_Plate=["0001", "0002"] * 10, Cells_Area=np.arange(20) / 4)
    frame.to_csv(tmp_path / "w.csv", index=False, sep=";", decimal=",")
    table = open_table(tmp_path / "w.csv")
    code = selection_code(table, np.array([3, 8]))
    assert run(code)["Metadata_Plate"].tolist() == ["0002", "0001"] and "iloc" not in code
    path = export_rows(table, table.metadata, ROWS, tmp_path / "out.csv", features=True)
    np.testing.assert_array_equal(read_wells(path).profiles[:, 0], ROWS / 4)


def test_rows_that_keys_cannot_tell_apart_are_numbered(tmp_path: Path) -> None:
    frame = metadata_of(20)
    frame.loc[5, "Metadata_Well"] = frame.loc[3, "Metadata_Well"]
    frame.loc[6, "Metadata_Well"] = None
    table = open_table(write_wells(tmp_path / "wells.parquet", frame, np.ones((20, 2)), {}))
    for rows in ([3, 4], [6]):
        code = selection_code(table, np.array(rows))
        assert "iloc" in code
        assert run(code).index.tolist() == rows


def test_many_rows_are_numbered_in_runs(tmp_path: Path) -> None:
    table = open_table(write_wells(tmp_path / "wells.parquet", metadata_of(200), np.ones((200, 2)), {}))
    code = selection_code(table, np.arange(10, 150))
    assert "*range(10, 150)" in code
    assert run(code).index.tolist() == list(range(10, 150))


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_the_rows(rows: set[int]) -> None:
    assert eval(_ranges(np.array(sorted(rows), np.int64))) == sorted(rows)
