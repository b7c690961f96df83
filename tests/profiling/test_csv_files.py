"""Tables in text: what separates their columns, and names that look like numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import open_table
from sslprofiler_core.profiling.csv_files import csv_options, read_csv
from sslprofiler_core.profiling.tables import read_metadata, read_wells

FRAME = pd.DataFrame(
    {
        "Metadata_Plate": ["00123", "00123", "0123", "1E5"],
        "Metadata_Well": ["A01", "A02", "A01", "A01"],
        "Metadata_Compound": ["1,4-dioxane; pure", "DMSO", "x", "y"],
        "Cells_Area": [1.5, -2.25, 0.125, 1e-3],
        "Cells_Count": [3, 4, 5, 6],
    }
)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "tsv.gz"])
@pytest.mark.parametrize(("sep", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", ".")])
def test_all_readers_read_it_however_it_was_written(tmp_path: Path, ending: str, sep: str, decimal: str) -> None:
    path = tmp_path / f"profiles.{ending}"
    FRAME.to_csv(path, index=False, sep=sep, decimal=decimal, encoding="utf-8-sig")
    pd.testing.assert_frame_equal(read_csv(path), FRAME)
    table = read_wells(path)
    np.testing.assert_array_equal(table.profiles, FRAME[["Cells_Area", "Cells_Count"]].to_numpy(np.float32))
    facts = FRAME.iloc[:, :3]
    for metadata in (table.metadata, read_metadata(path), open_table(path).metadata):
        pd.testing.assert_frame_equal(metadata, facts)


def test_names_of_plates_and_wells_stay_text_whatever_the_column_is_called(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("Image_Metadata_Plate,Assay_Plate_Barcode,well,Cells_a\n007,08,A01,1\n,09,A02,2\n")
    frame = read_csv(path)
    assert frame["Image_Metadata_Plate"].tolist()[0] == "007" and frame["Image_Metadata_Plate"].isna().tolist()[1]
    assert frame["Assay_Plate_Barcode"].tolist() == ["08", "09"] and frame["Cells_a"].tolist() == [1, 2]
    assert list(read_csv(path, ["Cells_a"], rows=1)["Cells_a"]) == [1]
    pd.testing.assert_frame_equal(pd.read_csv(path, **csv_options(path)), frame)


def test_what_is_no_table_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("Metadata_Plate,ä\n1,2\n".encode("latin-1"))
    (tmp_path / "folder.csv").mkdir()
    for name, words in (
        ("gone.csv", "There is no table"),
        ("latin.csv", "cannot be read as a table"),
        ("folder.csv", "cannot be read as a table"),
    ):
        with pytest.raises(UserError, match=words):
            read_csv(tmp_path / name)
