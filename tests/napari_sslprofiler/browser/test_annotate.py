"""Annotations lie beside the table and find their rows again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_sslprofiler.browser.annotate import (
    Annotations,
    annotations_path,
    read_annotations,
    row_keys,
    save_annotations,
)
from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import TableView, open_table
from sslprofiler_core.profiling import write_wells


def table_of(folder: Path, wells: list[str | None], plates: list[str] | None = None) -> TableView:
    frame = pd.DataFrame({"Metadata_Plate": plates or ["P"] * len(wells), "Metadata_Well": wells})
    return open_table(write_wells(folder / "wells.parquet", frame, np.ones((len(wells), 2)), {}))


def test_names_of_files() -> None:
    for name in ("wells.parquet", "wells.csv", "wells.csv.gz", "wells.h5ad"):
        assert annotations_path(Path("x") / name) == Path("x/wells.annotations.parquet")


def test_rows_are_found_again_in_another_order(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["A01", "A02", "A03", "A04"])
    before = table.path.read_bytes()
    annotations = Annotations(table)
    name = annotations.put("Cell death", np.array([0, 2]), "strong")
    annotations.put("Cell death", np.array([3]), " weak ")
    annotations.put("seen by", np.array([0]), "me")
    assert name == "Metadata_Cell_death"
    path = save_annotations(annotations)
    assert path == tmp_path / "wells.annotations.parquet"
    assert table.path.read_bytes() == before
    assert pd.read_parquet(path)["Metadata_Well"].tolist() == ["A01", "A03", "A04"]
    other = table_of(tmp_path, ["A04", "A03", "B01", "A01"])
    found, note = read_annotations(other)
    assert found.columns[name].tolist() == ["weak", "strong", None, "strong"]
    assert found.columns["Metadata_seen_by"].tolist() == [None, None, None, "me"]
    assert note == ""
    fewer = table_of(tmp_path, ["A01"])
    assert "2 annotated wells" in read_annotations(fewer)[1]


def test_repeated_wells_are_told_apart(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["A01", "A01", "A02", "A01"])
    annotations = Annotations(table)
    annotations.put("x", np.array([1]), "second")
    save_annotations(annotations)
    found, _ = read_annotations(table)
    assert found.columns["Metadata_x"].tolist() == [None, "second", None, None]
    # A table without the repeats has no such row; one whose only row was annotated keeps it when others join.
    assert "1 annotated" in read_annotations(table_of(tmp_path, ["A01", "A02"]))[1]
    single = table_of(tmp_path, ["A01", "A02"])
    annotations = Annotations(single)
    annotations.put("x", np.array([0]), "first")
    save_annotations(annotations)
    found, _ = read_annotations(table_of(tmp_path, ["A02", "A01", "A01"]))
    assert found.columns["Metadata_x"].tolist() == [None, "first", None]


def test_rows_without_plate_and_well_go_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"Metadata_Name": list("abc"), "x": [1.0, 2, 3]}).to_csv(path, index=False)
    table = open_table(path)
    annotations = Annotations(table)
    annotations.put("good", np.array([1]), "yes")
    save_annotations(annotations)
    assert read_annotations(table)[0].columns["Metadata_good"].tolist() == [None, "yes", None]


def test_rows_with_an_empty_well_keep_theirs(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["A01", None])
    annotations = Annotations(table)
    annotations.put("x", np.array([1]), "odd")
    save_annotations(annotations)
    assert read_annotations(table)[0].columns["Metadata_x"].tolist() == [None, "odd"]
    assert row_keys(table)["Metadata_Well"].tolist() == ["A01", ""]


def test_undo_goes_back_step_by_step(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["A01", "A02"])
    annotations = Annotations(table)
    assert not annotations.can_undo
    annotations.put("x", np.array([0]), "a")
    annotations.put("x", np.array([0, 1]), "b")
    annotations.put("x", np.array([0, 1]), "")  # takes all away, and the column with them
    assert annotations.columns == {}
    annotations.undo()
    assert annotations.columns["Metadata_x"].tolist() == ["b", "b"]
    annotations.undo()
    assert annotations.columns["Metadata_x"].tolist() == ["a", None]
    assert annotations.values_of("Metadata_x") == ["a"]
    annotations.undo()
    assert annotations.columns == {} and not annotations.can_undo
    save_annotations(annotations)
    assert not annotations_path(table.path).exists()


def test_the_tables_own_columns_are_left_alone(tmp_path: Path) -> None:
    annotations = Annotations(table_of(tmp_path, ["A01"]))
    for words in ("Well", "Metadata_Plate", "", "  "):
        with pytest.raises(UserError):
            annotations.put(words, np.array([0]), "x")


def test_a_file_of_something_else_says_so(tmp_path: Path) -> None:
    table = table_of(tmp_path, ["A01"])
    pd.DataFrame({"a": [1]}).to_parquet(annotations_path(table.path))
    with pytest.raises(UserError, match="no annotations"):
        read_annotations(table)
    annotations_path(table.path).write_bytes(b"rubbish")
    with pytest.raises(UserError, match=r"annotations\.parquet"):
        read_annotations(table)
