"""What other programs get: every value, named, and read back the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.cli import main
from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import export_table, open_table
from sslprofiler_core.profiling import read_wells, write_sites_part, write_wells

WIDTHS = {"fluorescence": 4, "brightfield": 3}


@pytest.fixture
def wells(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    metadata = pd.DataFrame(
        {"Metadata_Plate": ["P1"] * 6 + ["P2"] * 6, "Metadata_Well": [f"A{i:02d}" for i in range(1, 7)] * 2}
    )
    metadata["Metadata_Compound"] = ["DMSO", None, "x", "y", "x", "y"] * 2
    metadata["Metadata_SiteCount"] = 9
    values = rng.normal(size=(12, 7)).astype(np.float32)
    return write_wells(tmp_path / "wells.parquet", metadata, values, {"profile": {"widths": WIDTHS}})


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_one_column_a_feature_is_read_back_the_same(
    wells: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslprofiler_core.exploring.exports._CELLS", 14)  # several parts
    out = tmp_path / f"out.{ending}"
    assert main(["export", str(wells), "--out", str(out)]) == 0
    own, found = read_wells(wells), read_wells(out)
    np.testing.assert_allclose(found.profiles, own.profiles, rtol=1e-6)
    assert found.names == (
        *(f"fluorescence_{i:04d}" for i in range(1, 5)),
        *(f"brightfield_{i:04d}" for i in range(1, 4)),
    )
    assert (
        found.metadata["Metadata_Compound"].fillna("").tolist() == own.metadata["Metadata_Compound"].fillna("").tolist()
    )
    assert found.metadata["Metadata_SiteCount"].tolist() == [9] * 12
    assert len(open_table(out)) == 12
    again = read_wells(export_table(out, tmp_path / "again.parquet"))  # a table of others keeps its names
    assert again.names == found.names


def test_the_challenges_csv_has_an_id_and_floats_alone(wells: Path, tmp_path: Path) -> None:
    out = tmp_path / "submission.csv"
    assert main(["export", str(wells), "--out", str(out), "--challenge"]) == 0
    table = pd.read_csv(out)
    assert table.columns[0] == "ID" and table["ID"].tolist()[:2] == ["P1_A01", "P1_A02"]
    assert (
        all(pd.api.types.is_float_dtype(kind) for kind in table.dtypes.iloc[1:])
        and table.shape == (12, 8)
        and np.isfinite(table.iloc[:, 1:]).all(axis=None)
    )
    with pytest.raises(UserError, match="8 rows share their ID"):
        export_table(wells, out, form="challenge", identity="Compound")
    with pytest.raises(UserError, match="wants a CSV"):
        export_table(wells, tmp_path / "x.parquet", form="challenge")


def test_anndata_holds_all_and_evaluate_reads_it(wells: Path, tmp_path: Path) -> None:
    pytest.importorskip("anndata", reason="anndata is not installed (the extra anndata has it)")
    out = export_table(wells, tmp_path / "wells.h5ad")
    view = open_table(out)
    assert view.axes is not None and view.axes.shape == (12, 2) and np.isfinite(view.axes).all()
    assert (tmp_path / "wells.umap.parquet").is_file()
    own, found = read_wells(wells), read_wells(out)
    np.testing.assert_array_equal(found.profiles, own.profiles)
    assert found.names[0] == "fluorescence_0001"
    assert found.metadata["Metadata_Compound"].isna().tolist() == own.metadata["Metadata_Compound"].isna().tolist()
    assert found.metadata["Metadata_Well"].tolist() == own.metadata["Metadata_Well"].tolist()


def test_sites_and_their_granularities(tmp_path: Path) -> None:
    metadata = pd.DataFrame({"Metadata_Plate": "P1", "Metadata_Well": "A01", "Metadata_Site": [1, 2]})
    features = {"all_cls": np.float32([[1, 2], [3, 4]]), "all_patch": np.float32([[5], [6]])}
    write_sites_part(tmp_path / "sites.parquet", "P1", metadata, features, {})
    out = export_table(tmp_path / "sites.parquet", tmp_path / "sites.csv", form="challenge")
    table = pd.read_csv(out)
    assert table.columns.tolist() == ["ID", "all_cls_0001", "all_cls_0002", "all_patch_0001"]
    assert table["ID"].tolist() == ["P1_A01_1", "P1_A01_2"] and table["all_patch_0001"].tolist() == [5.0, 6.0]


def test_what_cannot_be_exported_is_said(wells: Path, tmp_path: Path) -> None:
    for out, words in (("w.xlsx", "no format"), ("wells.parquet", "the table itself")):
        with pytest.raises(UserError, match=words):
            export_table(wells, tmp_path / out)
    with pytest.raises(UserError, match="no column 'x'"):
        export_table(wells, tmp_path / "o.csv", form="challenge", identity="x")
    with pytest.raises(UserError, match="Cannot write"):
        export_table(wells, Path("/proc/none/o.csv"))
