from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import (
    parquet,
    read_info,
    read_metadata,
    read_sites,
    read_wells,
    sites_parts,
    write_sites_part,
    write_wells,
)


def site_rows(plate: str, wells: int = 3, sites: int = 2) -> pd.DataFrame:
    rows = [(plate, f"A{w + 1:02d}", s + 1, None if w else "DMSO") for w in range(wells) for s in range(sites)]
    columns = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_Compound"]
    return pd.DataFrame(rows, columns=columns)


def write_plate(folder: Path, plate: str, seed: int = 0, width: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = {f"fluorescence_{g}": rng.normal(size=(6, width)).astype(np.float32) for g in ("cls", "patch")}
    write_sites_part(folder, plate, site_rows(plate), features, {"version": "0", "channels": ["DNA"]})
    return features


def test_a_sites_table_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "sites.parquet"
    second = write_plate(folder, "P2", 2)
    first = write_plate(folder, "P1", 1)
    table = read_sites(folder)
    expected = pd.concat([site_rows("P1"), site_rows("P2")], ignore_index=True)
    pd.testing.assert_frame_equal(table.metadata, expected, check_dtype=False)
    assert list(table.features) == ["fluorescence_cls", "fluorescence_patch"]
    for name, array in table.features.items():
        np.testing.assert_array_equal(array, np.concatenate([first[name], second[name]]))
    assert table.info == {"version": "0", "channels": ["DNA"]}
    assert read_sites(folder, features=()).features == {}
    pd.testing.assert_frame_equal(read_metadata(folder), table.metadata)


def test_a_part_is_replaced_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    folder = tmp_path / "sites.parquet"
    write_plate(folder, "P1", 1)
    latest = write_plate(folder, "P1", 2)
    (folder / ".P9.parquet.77.tmp").write_bytes(b"killed while writing")
    (folder / ".P9.parquet").write_bytes(b"hidden")
    np.testing.assert_array_equal(read_sites(folder).features["fluorescence_cls"], latest["fluorescence_cls"])
    assert [p.name for p in sites_parts(folder)] == ["P1.parquet"]


def test_a_failed_write_leaves_the_old_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sites.parquet"
    old = write_plate(folder, "P1", 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet.os, "fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_plate(folder, "P1", 2)
    monkeypatch.undo()
    np.testing.assert_array_equal(read_sites(folder).features["fluorescence_cls"], old["fluorescence_cls"])
    assert len(list(folder.iterdir())) == 1


def test_odd_plate_names_stay_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "sites.parquet"
    write_plate(folder, "a/b: c", 1)
    assert [p.parent for p in sites_parts(folder)] == [folder]
    assert set(read_sites(folder).metadata.Metadata_Plate) == {"a/b: c"}


def test_metadata_stands_first_and_features_are_fixed_size_lists(tmp_path: Path) -> None:
    write_plate(tmp_path, "P1")
    schema = pq.read_schema(tmp_path / "P1.parquet")
    assert schema.names[:3] == ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    assert str(schema.field("fluorescence_cls").type) == "fixed_size_list<element: float>[4]"
    assert b"sslprofiler" in schema.metadata


def test_wells_of_several_row_groups_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", 100)
    metadata = site_rows("P1", 20).assign(Metadata_Dose=np.linspace(0, 1, 40))
    profiles = np.random.default_rng(0).normal(size=(40, 7))
    path = write_wells(tmp_path / "new" / "wells.parquet", metadata, profiles, {"alignment": None})
    assert pq.ParquetFile(path).num_row_groups > 5
    table = read_wells(path)
    np.testing.assert_array_equal(table.profiles, profiles.astype(np.float32))
    np.testing.assert_array_equal(table.metadata.Metadata_Dose, metadata.Metadata_Dose)
    assert read_info(path) == {"alignment": None}
    assert len(pd.read_parquet(path)["profile"].iloc[0]) == 7  # others can read it too


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_tables_made_by_others(tmp_path: Path, suffix: str) -> None:
    frame = site_rows("P1").assign(Cells_Area=np.arange(6.0), note="text", Nuclei_Count=np.arange(6))
    path = tmp_path / f"profiles.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    table = read_wells(path)
    np.testing.assert_array_equal(table.profiles, np.stack([np.arange(6)] * 2, 1))
    assert list(table.metadata) == list(site_rows("P1")) == list(read_metadata(path))
    assert table.info == read_info(path) == {}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "h5ad"])
def test_numbers_of_rows_and_facts_without_prefix_are_no_features(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = site_rows("P1").assign(Dose=[1.0, 1, 2, 2, 3, 3], cells=100)
    frame = facts.drop(columns="cells").assign(Cells_Area=np.arange(6.0), ImageNumber=range(6)).iloc[[5, 1, 2]]
    path = tmp_path / f"profiles.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path)  # the index becomes a column
        assert "__index_level_0__" in pq.read_schema(path).names
    elif suffix == "csv":
        frame.to_csv(path)
    else:
        read = (facts.iloc[[5, 1, 2]].reset_index(drop=True), ("Cells_Area",), np.float32([[5], [1], [2]]))
        monkeypatch.setattr("sslprofiler_core.profiling.anndata_files.read_anndata", lambda path: read)
    table = read_wells(path)
    assert table.names == ("Cells_Area",)
    np.testing.assert_array_equal(table.profiles, [[5], [1], [2]])


def test_several_tables_keep_what_they_share(tmp_path: Path) -> None:
    for i, extra in enumerate(("a", "b")):
        frame = site_rows(f"P{i}").assign(**{extra: 1.0, "x": float(i), "y": 2.0})
        frame[frame.columns[::-1] if i else frame.columns].to_csv(tmp_path / f"{i}.csv", index=False)
    with pytest.warns(UserWarning, match="2 of 4"):
        table = read_wells([tmp_path / "0.csv", tmp_path / "1.csv"])
    np.testing.assert_array_equal(table.profiles[[0, -1]], [[0, 2], [1, 2]])


@pytest.mark.parametrize(
    ("other", "word"), [({"models": "b"}, "other models"), ({"profile": {"sites": "mean"}}, "other options")]
)
def test_tables_of_other_models_or_options_are_not_put_together(
    tmp_path: Path, other: dict[str, object], word: str
) -> None:
    info = {"models": "a", "profile": {"sites": "concat"}}
    for i, own in enumerate((info, info, info | other)):
        write_wells(tmp_path / f"{i}.parquet", site_rows(f"P{i}"), np.ones((6, 2), np.float32), own)
    assert len(read_wells([tmp_path / "0.parquet", tmp_path / "1.parquet"]).profiles) == 12
    with pytest.raises(UserError, match=word):
        read_wells([tmp_path / "0.parquet", tmp_path / "2.parquet"])


def test_real_profiles(cpjump1: Path) -> None:
    table = read_wells(sorted((cpjump1 / "profiles").glob("*.csv.gz")))
    assert table.profiles.shape == (4 * 384, 904)
    assert table.metadata.Metadata_Plate.nunique() == 4


def test_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("not Parquet")
    (tmp_path / "broken.csv.gz").write_text("not gzip")
    (tmp_path / "empty.csv").write_text("")
    site_rows("P1").to_csv(tmp_path / "only.csv", index=False)
    pd.DataFrame({"x": [1.0]}).to_csv(tmp_path / "keyless.csv", index=False)
    (tmp_path / "empty").mkdir()
    for name, problem in {
        "text.parquet": "not a Parquet table",
        "broken.csv.gz": "cannot be read",
        "empty.csv": "cannot be read",
        "only.csv": "no column 'profile' and no numeric feature",
        "keyless.csv": "no column Metadata_Plate",
        "missing.csv": "no table",
        "missing.parquet": "no table",
        "empty": "is a folder",
    }.items():
        with pytest.raises(UserError, match=problem) as error:
            read_wells(tmp_path / name)
        assert name in str(error.value)
    with pytest.raises(UserError, match="no sites table"):
        read_sites(tmp_path / "missing")
    with pytest.raises(UserError, match="has no part"):
        read_sites(tmp_path / "empty")
    with pytest.raises(UserError, match="Name a file"):
        write_wells(tmp_path / "empty", site_rows("P1"), np.zeros((6, 1)), {})


def test_empty_features_are_counted_and_named(tmp_path: Path) -> None:
    frame = site_rows("P1").assign(good=1.0, bad=[1, None, 3, 4, 5, 6], worse=np.inf)
    frame.to_csv(tmp_path / "holes.csv", index=False)
    with pytest.raises(UserError, match=r"2 of 3 features .*\(bad, worse\)"):
        read_wells(tmp_path / "holes.csv")
    profiles = np.zeros((6, 2))
    profiles[3, 1] = np.nan
    with pytest.raises(UserError, match="1 of 6 profiles"):
        read_wells(write_wells(tmp_path / "w.parquet", site_rows("P1"), profiles, {}))


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    write_plate(tmp_path, "P1", width=4)
    write_plate(tmp_path, "P2", width=5)
    with pytest.raises(UserError, match=r"P2\.parquet has other feature columns"):
        read_sites(tmp_path)


def test_mixed_metadata_is_named(tmp_path: Path) -> None:
    frame = site_rows("P1").assign(Metadata_Dose=["high", 1.0, 2.0, 3.0, 4.0, 5.0])
    with pytest.raises(UserError, match="Metadata_Dose"):
        write_wells(tmp_path / "w.parquet", frame, np.zeros((6, 1)), {})
