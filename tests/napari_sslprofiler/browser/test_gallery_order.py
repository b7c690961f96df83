"""Sorting and grouping rows for the gallery."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from napari_sslprofiler.browser.gallery_order import MOST_GROUPS, NO_VALUE, arrange, ranks_of, text_of


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1, max_size=30), st.booleans())
def test_sorting_numbers_equals_pandas(values: list[float | None], descending: bool) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype=float)})
    rows, groups = arrange(frame, np.arange(len(frame)), sort="x", descending=descending)
    expected = frame["x"].sort_values(ascending=not descending, kind="stable", na_position="last")
    assert rows.tolist() == expected.index.tolist()
    assert groups == ()


def test_groups_hold_their_rows_in_order_and_those_without_value_last() -> None:
    frame = pd.DataFrame({"c": ["b", None, "a", "b", np.nan, "a"], "n": [3.0, 1, 2, 1, 0, np.nan]})
    rows, groups = arrange(frame, np.array([0, 1, 2, 3, 4, 5]), sort="n", group="c")
    assert [(g.title, rows[g.start : g.stop].tolist()) for g in groups] == [
        ("a", [2, 5]),
        ("b", [3, 0]),
        (NO_VALUE, [4, 1]),
    ]


def test_only_the_rows_given_are_shown() -> None:
    frame = pd.DataFrame({"c": list("abcabc")})
    rows, groups = arrange(frame, np.array([5, 1, 0]), group="c")
    assert rows.tolist() == [0, 1, 5]
    assert [g.title for g in groups] == ["a", "b", "c"]
    assert arrange(frame, np.empty(0, np.int64), group="c")[1] == ()


def test_unknown_columns_leave_the_order() -> None:
    frame = pd.DataFrame({"c": list("ba")})
    rows, groups = arrange(frame, np.array([0, 1]), sort="gone", group="gone")
    assert rows.tolist() == [0, 1]
    assert groups == ()


def test_too_many_groups_are_sorted_without_headings() -> None:
    frame = pd.DataFrame({"c": np.arange(MOST_GROUPS + 5)[::-1].copy()})
    rows, groups = arrange(frame, np.arange(len(frame)), group="c")
    assert groups == ()
    assert rows[0] == len(frame) - 1


def test_mixed_values_are_ranked_by_their_text() -> None:
    ranks = ranks_of(pd.Series(["x", 3, None, "a", 3], dtype=object))
    assert ranks[1] == ranks[4] < ranks[3] < ranks[0] < ranks[2]
    assert ranks_of(pd.Series(["b", "a"], dtype="category")).tolist() == [1, 0]


def test_text_of_values() -> None:
    values = [None, np.nan, pd.NA, pd.NaT, 2.0, 0.123456789, "DMSO", 3, True, np.float32(1.5)]
    assert [text_of(v) for v in values] == ["", "", "", "", "2", "0.123457", "DMSO", "3", "True", "1.5"]
