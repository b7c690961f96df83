"""Tables of all kinds open, or say why not: others' columns, empty rows, one row, duplicates, missing files."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import anndata_tables, open_table
from sslprofiler_core.exploring.roles import Roles, control_rows, natural_names, roles_of
from sslprofiler_core.exploring.tables import standardised
from sslprofiler_core.profiling.anndata_files import write_anndata
from sslprofiler_core.profiling.tables import write_sites_part, write_wells


def wells(rows: int = 6) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Metadata_Plate": ["P1"] * rows,
            "Metadata_Well": [f"A{i + 1:02d}" for i in range(rows)],
            "Metadata_Compound": ["DMSO"] + ["x"] * (rows - 1),
        }
    )


def test_a_wells_table_reads_features_only_when_asked(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    path = write_wells(tmp_path / "w.parquet", wells(), values, {"alignment": {"mode": "transductive", "alpha": 0.5}})
    table = open_table(path)
    assert (table.kind, table.unit, len(table)) == ("wells", "well", 6)
    assert table.roles == Roles("Metadata_Plate", "Metadata_Well", None, "Metadata_Compound", None)
    assert table.alignment == {"mode": "transductive", "alpha": 0.5}
    assert not table.features.loaded
    np.testing.assert_array_equal(table.features(), values)
    assert table.features.loaded and table.features() is table.features()
    assert table.row_name(2) == "P1  A03"
    assert table.index() is table.index()


def test_features_of_a_table_that_was_written_anew_are_not_read_for_the_old_rows(tmp_path: Path) -> None:
    path = write_wells(tmp_path / "w.parquet", wells(), np.ones((6, 4), np.float32), {})
    table = open_table(path)
    write_wells(path, wells()[::-1], np.zeros((6, 4), np.float32), {})
    with pytest.raises(UserError, match=r"w\.parquet has changed, or gone, since it was opened"):
        table.features()
    assert not open_table(path).features().any()
    table = open_table(path)
    path.unlink()
    with pytest.raises(UserError, match="changed, or gone"):
        table.features()


def test_a_sites_table_puts_groups_and_granularities_side_by_side(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = {}
    for plate in ("P2", "P1"):
        metadata = wells(3).assign(Metadata_Plate=plate, Metadata_Site=[1, 2, 3])
        parts[plate] = {"all_cls": rng.normal(size=(3, 4)), "all_patch": rng.normal(size=(3, 4))}
        write_sites_part(tmp_path / "sites.parquet", plate, metadata, parts[plate], {"version": "1"})
    table = open_table(tmp_path / "sites.parquet")
    assert (table.kind, table.unit) == ("sites", "site") and table.row_name(0) == "P1  A01  site 1"
    expected = np.concatenate([np.concatenate(list(parts[p].values()), axis=1) for p in ("P1", "P2")])
    np.testing.assert_allclose(table.features(), expected, rtol=1e-6)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_cellprofilers_columns_are_known(tmp_path: Path, ending: str) -> None:
    frame = pd.DataFrame(
        {
            "ImageNumber": [1, 2, 3],
            "Image_Metadata_Plate": ["P1"] * 3,
            "Image_Metadata_Well": ["A01", "A02", "A03"],
            "Metadata_pert_iname": ["DMSO", "x", None],
            "Cells_AreaShape_Area": [100.0, 200.0, 300.0],
            "Nuclei_Texture": [1.0, np.nan, 3.0],
            "Constant": [5, 5, 5],
        }
    )
    path = tmp_path / f"t.{ending}"
    frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
    table = open_table(path)
    assert table.kind == "foreign"
    assert list(table.metadata.columns) == ["Metadata_Plate", "Metadata_Well", "Metadata_pert_iname"]
    assert (table.roles.plate, table.roles.label) == ("Metadata_Plate", "Metadata_pert_iname")
    features = table.features()  # the texture, empty for a third of the rows, goes; so does the constant
    np.testing.assert_allclose(features[:, 0], [-1.2247449, 0, 1.2247449], rtol=1e-5)
    assert features.shape == (3, 1)


def test_a_table_without_metadata_and_one_without_features_open(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1.0, 2.0], "b": [0.0, 1.0]}).to_csv(tmp_path / "f.csv", index=False)
    bare = open_table(tmp_path / "f.csv")
    assert len(bare) == 2 and bare.unit == "row" and bare.row_name(1) == "row 2" and bare.features().shape == (2, 2)
    pd.DataFrame({"plate": ["P"], "well": ["A01"]}).to_csv(tmp_path / "m.csv", index=False)
    facts = open_table(tmp_path / "m.csv")
    assert facts.roles.plate == "Metadata_plate" and "no numeric feature" in facts.notes[0]
    assert facts.features().shape == (1, 0)


def test_empty_rows_one_row_and_repeated_wells_open(tmp_path: Path) -> None:
    values = np.ones((4, 3), np.float32)
    values[1, 2] = np.nan
    metadata = wells(4).assign(Metadata_Well=["A01", "A02", "A01", "A01"])
    table = open_table(write_wells(tmp_path / "w.parquet", metadata, values, {}))
    assert "2 rows repeat wells" in table.notes[0]
    assert np.isnan(table.features()).any(axis=1).tolist() == [False, True, False, False]
    one = open_table(write_wells(tmp_path / "one.parquet", wells(1), np.ones((1, 3)), {}))
    assert one.index().query([0], 5).of()[0].size == 0
    alone = np.array([[1.0, 2.0]], np.float32)
    np.testing.assert_array_equal(standardised(alone), alone)


def test_plates_are_found_where_the_table_says_or_beside_it(tmp_path: Path) -> None:
    root = tmp_path / "screen" / "images" / "P1"
    root.mkdir(parents=True)
    path = write_wells(tmp_path / "screen" / "w.parquet", wells(), np.ones((6, 2)), {"plates": {"P1": str(root)}})
    assert open_table(path).plate_roots == {"P1": root}
    shutil.move(tmp_path / "screen", tmp_path / "moved")
    assert open_table(tmp_path / "moved" / "w.parquet").plate_roots == {"P1": tmp_path / "moved" / "images" / "P1"}
    shutil.rmtree(tmp_path / "moved" / "images")
    assert open_table(tmp_path / "moved" / "w.parquet").plate_roots == {}


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 rubbish")
    (tmp_path / "bad.csv").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    pd.DataFrame({"Metadata_Plate": [], "a": []}).to_csv(tmp_path / "none.csv", index=False)
    for name, words in (
        ("gone.parquet", "There is no table"),
        ("bad.parquet", "is not a Parquet table"),
        ("bad.csv", "cannot be read as a table"),
        ("empty", "has no part"),
        ("none.csv", "has no rows"),
    ):
        with pytest.raises(UserError, match=words):
            open_table(tmp_path / name)


def test_anndata_opens_with_its_map_or_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "x.h5ad").write_bytes(b"")
    with pytest.raises(UserError, match=r"napari-sslprofiler\[anndata\]"):
        open_table(tmp_path / "x.h5ad")
    monkeypatch.undo()
    if importlib.util.find_spec("anndata") is None:
        # What the file holds is asked for through one function: a stand-in shows what is made of it.
        from types import SimpleNamespace

        labels = pd.Categorical(["DMSO", "x", "x"])
        opened = SimpleNamespace(
            obs=wells(3).assign(Metadata_Compound=labels).set_index(pd.Index(list("abc"))),
            obsm={"X_umap": np.arange(6.0).reshape(3, 2)},
            X=np.arange(12.0).reshape(3, 4),
            file=SimpleNamespace(close=lambda: None),
        )
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
        monkeypatch.setattr(anndata_tables, "_read", lambda path, backed: opened)
    else:
        values, axes = np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(6, dtype=np.float32).reshape(3, 2)
        write_anndata(tmp_path / "x.h5ad", wells(3), values, list("wxyz"), {"X_umap": axes}, list("abc"))
    table = open_table(tmp_path / "x.h5ad")
    assert table.axes is not None and table.axes[2].tolist() == [4.0, 5.0]
    assert table.features().shape == (3, 4) and table.roles.label == "Metadata_Compound"


def test_roles_pass_over_empty_columns_and_controls_are_found() -> None:
    frame = pd.DataFrame({"Metadata_Compound": [None, None], "Metadata_gene": ["A", "DMSO"], "Metadata_WELL": [1, 2]})
    roles = roles_of(frame)
    assert (roles.label, roles.well, roles.plate) == ("Metadata_gene", "Metadata_WELL", None)
    assert control_rows(frame).tolist() == [False, True]
    assert control_rows(frame.assign(Metadata_control_type=["negcon", None])).tolist() == [True, False]
    assert not control_rows(frame[["Metadata_WELL"]]).any()
    twice = natural_names(pd.DataFrame([[1, 2]], columns=["Plate", "Image_Metadata_Plate"]))
    assert list(twice.columns) == ["Metadata_Plate", "Metadata_Plate_2"]


def test_the_info_of_a_table_is_json(tmp_path: Path) -> None:
    path = write_wells(tmp_path / "w.parquet", wells(), np.ones((6, 2)), {"version": "9"})
    assert json.dumps(open_table(path).info) == '{"version": "9"}'
