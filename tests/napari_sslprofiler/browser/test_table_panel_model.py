"""Rows found and sorted, against pandas."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sslprofiler.browser.columns import Column, read_column
from napari_sslprofiler.browser.table_panel_model import View, arrange_rows, as_text, default_columns, holds


def columns_of(frame: pd.DataFrame) -> dict[str, Column]:
    return {str(name): read_column(str(name), frame[name]) for name in frame.columns}


@given(
    st.lists(st.one_of(st.none(), st.floats(-9, 9)), min_size=14, max_size=40, unique=True),
    st.booleans(),
)
def test_sorting_numbers_equals_pandas(values: list[float | None], descending: bool) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype=np.float32)})
    view = View(np.arange(len(frame)), ("x",), (), "x", descending)
    expected = frame["x"].sort_values(ascending=not descending, kind="stable", na_position="last").index
    assert arrange_rows(view, columns_of(frame).__getitem__).tolist() == expected.tolist()


def test_text_is_sorted_in_natural_order_with_empty_cells_last() -> None:
    frame = pd.DataFrame({"w": ["A10", None, "a2", "B1", "A2"]})
    columns = columns_of(frame)
    up = arrange_rows(View(np.arange(5), ("w",), (), "w"), columns.__getitem__)
    assert up[-1] == 1 and frame["w"].iloc[up[:-1]].str.upper().tolist() == ["A2", "A2", "A10", "B1"]
    down = arrange_rows(View(np.arange(5), ("w",), (), "w", True), columns.__getitem__)
    assert down[-1] == 1 and frame["w"].iloc[down[0]] == "B1"


def test_all_words_are_found_each_in_any_column() -> None:
    frame = pd.DataFrame({"c": ["DMSO", "drug A", "drug B", None], "w": ["A01", "A02", "B01", "A01"]})
    columns = columns_of(frame)

    def found(*words: str) -> list[int]:
        return arrange_rows(View(np.arange(4), ("c", "w"), words), columns.__getitem__).tolist()

    assert found("drug") == [1, 2]
    assert found("DRUG", "b") == [2]
    assert found("a01") == [0, 3]
    assert found("none of this") == []
    assert arrange_rows(View(np.array([3, 2]), ("w",), ("01",)), columns.__getitem__).tolist() == [3, 2]


def test_numbers_are_found_by_their_value() -> None:
    column = read_column("n", pd.Series(np.r_[np.arange(20) / 4, np.nan]))
    assert np.flatnonzero(holds(column, "2.25")).tolist() == [9]
    assert not holds(column, "abc").any() and not holds(column, "-").any()
    few = read_column("f", pd.Series([1.0, 2, 12, np.nan]))
    assert np.flatnonzero(holds(few, "2")).tolist() == [1, 2]  # a few different numbers are categories


def test_a_million_rows_take_no_copies_and_little_time() -> None:
    rng = np.random.default_rng(0)
    count = 1_000_000
    frame = pd.DataFrame(
        {
            "c": pd.Categorical.from_codes(rng.integers(0, 200, count), [f"c{i}" for i in range(200)]),
            "x": rng.random(count),
        }
    )
    columns = columns_of(frame)
    start = time.thread_time()
    rows = arrange_rows(View(np.arange(count), ("c", "x"), ("c17",), "x", True), columns.__getitem__)
    assert time.thread_time() - start < 3.0  # 0.05 s alone on two cores
    expected = frame["c"].astype(str).str.contains("c17")
    assert len(rows) == int(expected.sum())
    assert np.all(np.diff(frame["x"].to_numpy(np.float32)[rows]) <= 0)


def test_first_columns_say_what_and_where() -> None:
    frame = pd.DataFrame({f"m{i}": ["a", "b"] for i in range(12)})
    frame = frame.assign(one="same", empty=[None, None], Metadata_Plate=["p", "q"], Metadata_Compound=["x", "y"])
    columns = columns_of(frame)
    found = default_columns(tuple(columns), ("Metadata_Compound", None, "Metadata_Plate"), columns.__getitem__)
    assert found[:2] == ["Metadata_Compound", "Metadata_Plate"]
    assert len(found) == 8 and "one" not in found and "empty" not in found


def test_text_is_tab_separated() -> None:
    assert as_text(["a", "b"], [["1", "x\ty\nz"], ["", "2"]]) == "a\tb\n1\tx y z\n\t2\n"


@pytest.mark.parametrize("sort", ["", "c"])
def test_no_rows(sort: str) -> None:
    columns = columns_of(pd.DataFrame({"c": ["a"]}))
    assert arrange_rows(View(np.empty(0, np.int64), ("c",), ("a",), sort), columns.__getitem__).tolist() == []
