"""Selection, filters, colours and search, and the saved file: without Qt and napari."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sslprofiler.browser.columns import natural_key, read_column
from napari_sslprofiler.browser.palette import CATEGORIES
from napari_sslprofiler.browser.saved import apply_state, read_state, save_state
from napari_sslprofiler.browser.state import BrowserState, open_table
from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling.tables import write_wells


def make_table(folder: Path, rows: int = 24, compounds: int = 4, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": [f"P{i % 2 + 1}" for i in range(rows)],
            "Metadata_Well": [f"{chr(65 + i // 12 % 16)}{i % 12 + 1:02d}" for i in range(rows)],
            "Metadata_Compound": [f"drug {i % compounds}" if i % 7 else None for i in range(rows)],
            "Metadata_Dose": rng.normal(size=rows),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    return write_wells(folder / "wells.parquet", metadata, rng.normal(size=(rows, 8)), {})


@pytest.fixture
def state(tmp_path: Path) -> BrowserState:
    made = BrowserState()
    made.table = open_table(make_table(tmp_path))
    return made


def test_it_needs_neither_qt_nor_napari() -> None:
    code = (
        "import sys, napari_sslprofiler.browser.state, napari_sslprofiler.browser.saved\n"
        "sys.exit([m for m in ('qtpy', 'napari', 'vispy', 'torch', 'umap', 'sklearn') if m in sys.modules] or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


MASKS = st.lists(st.booleans(), min_size=24, max_size=24).map(lambda bits: np.array(bits, bool))


@settings(max_examples=40)
@given(a=MASKS, b=MASKS)
def test_selections_are_sets(tmp_path_factory: pytest.TempPathFactory, a: Any, b: Any) -> None:
    state = BrowserState()
    state.table = open_table(make_table(tmp_path_factory.mktemp("t")))
    heard: list[Any] = []
    state.events.selection.connect(heard.append)
    for how, expected in (("replace", b), ("add", a | b), ("remove", a & ~b), ("toggle", a ^ b)):
        state.selection = a
        state.select(b, how)
        np.testing.assert_array_equal(state.selection, expected)
        state.selection = a
        state.select(np.flatnonzero(b), how)
        np.testing.assert_array_equal(state.selection, expected)
    if heard:
        np.testing.assert_array_equal(heard[-1], state.selection)
    state.selection = a
    state.isolate(b)
    state.invert()
    np.testing.assert_array_equal(state.selection, b & ~a)
    state.select_all()
    np.testing.assert_array_equal(state.selection, b)
    state.clear_selection()
    assert not state.selection.any()


def test_what_is_selected_already_is_not_told_again(state: BrowserState) -> None:
    heard: list[Any] = []
    state.events.selection.connect(heard.append)
    state.select([1, 2])
    state.select([1, 2])
    assert len(heard) == 1
    with pytest.raises(ValueError, match="read-only"):
        state.selection[0] = True


def test_filters_hide_more_and_more(state: BrowserState) -> None:
    frame = state.table.metadata
    state.set_hidden("Metadata_Compound", ["drug 1", None])
    expected = (frame["Metadata_Compound"] != "drug 1") & frame["Metadata_Compound"].notna()
    np.testing.assert_array_equal(state.filter, expected)
    state.set_range("Metadata_Dose", (1.0, -0.5))
    expected &= frame["Metadata_Dose"].astype(np.float32).between(-0.5, 1.0)
    np.testing.assert_array_equal(state.filter, expected)
    state.set_search("p1", hides=True)
    expected &= frame["Metadata_Plate"] == "P1"
    np.testing.assert_array_equal(state.filter, expected)
    state.isolate(np.arange(6))
    expected &= np.arange(24) < 6
    np.testing.assert_array_equal(state.filter, expected)
    assert len(state.filter_words()) == 4
    state.select_all()
    np.testing.assert_array_equal(state.selected_rows(), np.flatnonzero(expected))
    state.show_all()
    assert state.filter.all() and not state.filtered and state.filter_words() == []


def test_the_legend_counts_hides_and_shows_alone(state: BrowserState) -> None:
    entries = state.colouring.entries
    assert state.colouring.column == "Metadata_Compound"
    assert sum(entry.count for entry in entries) == 24 and entries[-1].text == "no value"
    first = entries[0]
    state.toggle_entry(first)
    hidden = state.colouring.codes == first.code
    np.testing.assert_array_equal(state.filter, ~hidden)
    assert state.colouring.entries[0].hidden
    state.toggle_entry(state.colouring.entries[0])
    assert state.filter.all()
    state.only_entry(state.colouring.entries[1])
    np.testing.assert_array_equal(state.filter, state.colouring.codes == state.colouring.entries[1].code)
    state.only_entry(state.colouring.entries[1])
    assert state.filter.all()


def test_of_200_categories_the_most_frequent_have_colours_and_a_search_finds_the_others() -> None:
    from napari_sslprofiler.browser.colouring import colour_column

    names = [f"c{i}" for i in range(200) for _ in range(1 + (i < 10) * i)]
    column = read_column("x", pd.Series(names))
    colouring = colour_column(column)
    assert len(colouring.entries) == len(CATEGORIES)
    own = {entry.text for entry in colouring.entries}
    assert {f"c{i}" for i in range(1, 10)} <= own
    assert colouring.entries[-1].text == "181 others" and len(colouring.entries[-1].names) == 181
    assert sum(entry.count for entry in colouring.entries) == len(names)
    assert int(column.matching("C150").sum()) == 1
    # Hiding "others" hides just these.
    hidden = colour_column(column, frozenset(colouring.entries[-1].names)).entries
    assert [entry.hidden for entry in hidden] == [False] * (len(hidden) - 1) + [True]


def test_numbers_get_a_ramp_and_few_numbers_are_categories() -> None:
    from napari_sslprofiler.browser.colouring import colour_column

    many = read_column("x", np.append(np.arange(100.0), np.nan))
    colouring = colour_column(many)
    assert many.kind == "numeric" and colouring.kind == "numeric"
    assert colouring.codes[0] == 0 and colouring.codes[99] == 255 and colouring.codes[100] == 256
    assert (np.diff(colouring.codes[:100].astype(int)) >= 0).all()
    few = read_column("x", [1.0, 10.0, 3.0, 10.0, np.nan])
    assert few.kind == "categorical" and few.names == ("1", "3", "10") and few.codes[-1] == -1
    doses = read_column("x", [0.1, 10.0, 3.0, 10.0, np.nan])
    assert doses.kind == "numeric" and doses.either and doses.names == ("0.1", "3", "10") and doses.missing == 1
    assert not many.either and not read_column("x", ["a", "b"]).either
    constant = read_column("x", np.r_[np.full(20, 5.0), np.arange(20) * 1e-9])
    assert colour_column(constant).high > colour_column(constant).low


def test_few_numbers_are_read_either_way_and_stay_so_in_a_saved_state(state: BrowserState, tmp_path: Path) -> None:
    state.add_column("Replicate", np.arange(24) % 3)
    state.colour_by("Replicate")
    assert state.colouring.kind == "categorical"
    state.set_hidden("Replicate", ["1"])
    state.read_as("Replicate", "numeric")
    assert state.colouring.kind == "numeric" and state.filter.all()  # what was hidden has no line any more
    state.set_range("Replicate", (1.0, 2.0))
    assert int(state.filter.sum()) == 16
    state.read_as("Replicate", "categorical")
    assert [entry.text for entry in state.colouring.entries] == ["0", "1", "2"] and state.filter.all()
    state.read_as("Metadata_Compound", "numeric")
    assert state.column("Metadata_Compound").kind == "categorical"
    frame = pd.DataFrame(
        {"Metadata_Plate": ["P"] * 6, "Metadata_Well": ["A01"] * 6, "Metadata_Replicate": [1, 2, 3] * 2}
    )
    state.table = open_table(write_wells(tmp_path / "wells.parquet", frame, np.ones((6, 2)), {}))
    state.read_as("Metadata_Replicate", "numeric")
    state.colour_by("Metadata_Replicate")
    again = BrowserState()
    again.restore(state.save(tmp_path / "s"))
    assert again.colouring.kind == "numeric"


def test_names_sort_as_people_count() -> None:
    assert sorted(["A10", "A2", "b1", "A2x"], key=natural_key) == ["A2", "A2x", "A10", "b1"]


def test_a_computed_column_colours_filters_and_goes(state: BrowserState) -> None:
    state.add_column("Cluster", np.arange(24) % 3, {"kind": "clusters", "clusters": 3})
    state.colour_by("Cluster")
    assert [entry.text for entry in state.colouring.entries] == ["0", "1", "2"]
    state.set_hidden("Cluster", ["1"])
    assert int(state.filter.sum()) == 16
    state.drop_column("Cluster")
    assert state.filter.all() and state.colouring.column == "Metadata_Compound"
    with pytest.raises(KeyError):
        state.colour_by("Cluster")
    with pytest.raises(ValueError, match="24 rows"):
        state.add_column("x", [1, 2])


def test_search_colours_and_ends(state: BrowserState) -> None:
    state.set_search("Drug 2")
    assert state.matches is not None and state.filter.all()
    state.colour_by_search()
    np.testing.assert_array_equal(state.colouring.codes == 1, state.matches)
    state.set_search("")
    assert state.matches is None and not (state.colouring.codes == 1).any()


def test_another_table_forgets_all(state: BrowserState, tmp_path: Path) -> None:
    state.select([3])
    state.current = 3
    state.set_hidden("Metadata_Plate", ["P1"])
    state.table = open_table(make_table(tmp_path / "other", rows=5))
    assert len(state.selection) == len(state.filter) == 5 and state.filter.all()
    assert state.current is None and not state.selection.any()
    state.table = None
    assert len(state) == 0 and state.metadata.empty and state.colouring.entries == ()


def test_a_saved_state_travels_with_its_table(state: BrowserState, tmp_path: Path) -> None:
    state.select([1, 5, 20])
    state.current = 5
    state.set_hidden("Metadata_Compound", ["drug 0", None])
    state.set_range("Metadata_Dose", (-1.0, 1.0))
    state.set_search("P1", hides=True)
    state.colour_by("Metadata_Dose")
    state.isolate(np.arange(20))
    state.view = (1.0, 2.0, 0.5)
    state.add_column("Cluster", np.arange(24) % 3, {"kind": "clusters", "clusters": 3})
    file = state.save(tmp_path / "mine.json")
    assert file.name == "mine.sslbrowser.json"
    assert json.loads(file.read_text())["table"] == "wells.parquet"
    moved = tmp_path.with_name(tmp_path.name + "-moved")
    tmp_path.rename(moved)
    again = BrowserState()
    again.restore(moved / file.name)
    for name in ("selection", "filter"):
        np.testing.assert_array_equal(getattr(again, name), getattr(state, name))
    assert (again.current, again.wanted_view, again.search, again.search_hides) == (5, (1.0, 2.0, 0.5), "P1", True)
    assert again.hidden == state.hidden and again.ranges == state.ranges
    assert again.colouring.column == "Metadata_Dose"
    assert read_state(moved / file.name).recipes == {"Cluster": {"kind": "clusters", "clusters": 3}}


def test_a_state_of_a_table_that_changed_says_so(state: BrowserState, tmp_path: Path) -> None:
    state.set_hidden("Metadata_Compound", ["drug 0"])
    state.select([1])
    file = save_state(state, tmp_path / "s")
    write_wells(
        tmp_path / "wells.parquet",
        pd.DataFrame({"Metadata_Plate": ["P1", "P1"], "Metadata_Well": ["A01", "A02"]}),
        np.zeros((2, 3)),
        {},
    )
    table = open_table(tmp_path / "wells.parquet")
    notes = apply_state(state, read_state(file), table)
    assert "rows are others" in notes[0] and "Compound" in notes[1]
    assert not state.selection.any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[]", "not a saved browser"),
        ('{"sslprofiler-browser": 9, "table": "wells.parquet"}', "newer"),
        ('{"sslprofiler-browser": 1, "table": "gone.parquet"}', "not there"),
        ('{"sslprofiler-browser": 1, "table": "wells.parquet", "rows": 24, "selection": "!"}', "damaged"),
        ('{"sslprofiler-browser": 1, "table": "wells.parquet", "rows": 24, "selection": "eJwDAAAAAAE="}', "damaged"),
        ('{"sslprofiler-browser": 1, "table": "wells.parquet", "hidden": []}', "damaged"),
    ],
)
def test_rubbish_is_refused_in_a_sentence(state: BrowserState, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "x.sslbrowser.json"
    file.write_text(text)
    with pytest.raises(UserError, match=words):
        BrowserState().restore(file)


def test_nothing_to_save_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no table is open"):
        BrowserState().save(tmp_path / "x")
    with pytest.raises(UserError, match="cannot be read"):
        BrowserState().restore(tmp_path / "gone.sslbrowser.json")
