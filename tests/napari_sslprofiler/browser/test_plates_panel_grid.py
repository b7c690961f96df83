"""Rows as wells of plates, against loops over them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from napari_sslprofiler.browser.colouring import colour_column
from napari_sslprofiler.browser.columns import read_column
from napari_sslprofiler.browser.palette import STEPS
from napari_sslprofiler.browser.plates_panel_grid import Grid, grid_of, well_colours, words_of_rows
from sslprofiler_core.exploring import open_table


def grid_from(folder: Path, plates: list[str | None], wells: list[str | None]) -> Grid | None:
    path = folder / "t.csv"
    frame = pd.DataFrame({"Metadata_Plate": plates, "Metadata_Well": wells, "x": np.arange(len(wells), dtype=float)})
    frame.to_csv(path, index=False)
    return grid_of(open_table(path))


def test_rows_are_at_their_wells(tmp_path: Path) -> None:
    grid = grid_from(tmp_path, ["P10", "P2", "P2", None, "P2"], ["b3", "A01", "P24", "A01", "nowhere"])
    assert grid is not None
    assert grid.plates == ("P2", "P10") and grid.shape == (16, 24)
    assert grid.plate.tolist() == [1, 0, 0, -1, 0]
    assert grid.place.tolist() == [26, 0, 383, 0, -1]
    assert grid.lost == 2
    assert grid.well_of(26) == "B03" and grid.place_of("B3") == 26 and grid.place_of("AA1") == -1
    assert grid.rows_of(0, np.array([0, 383])).tolist() == [1, 2]
    assert grid.rows_of(None, np.array([26])).tolist() == [0]
    assert grid.rows_of(None, np.empty(0, np.int64)).tolist() == []


def test_tables_without_wells_or_plates(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"Metadata_Name": ["a"], "x": [1.0]}).to_csv(path, index=False)
    assert grid_of(open_table(path)) is None
    pd.DataFrame({"Metadata_Well": ["A01", "H12"], "x": [1.0, 2]}).to_csv(path, index=False)
    grid = grid_of(open_table(path))
    assert grid is not None and grid.plates == ("all rows",) and grid.shape == (8, 12)


def grid_at(places: list[int]) -> Grid:
    return Grid(("P", "Q"), (2, 3), np.arange(len(places), dtype=np.int32) % 2, np.array(places, np.int32))


cells = st.lists(
    st.tuples(st.integers(-1, 5), st.sampled_from(["a", "b", "c", None]), st.booleans()), min_size=1, max_size=40
)


@given(cells)
def test_wells_have_their_most_frequent_category(rows: list[tuple[int, str | None, bool]]) -> None:
    grid = grid_at([place for place, _, _ in rows])
    names = [name for _, name, _ in rows]
    shown = np.array([on for _, _, on in rows])
    colouring = colour_column(read_column("c", pd.Series(names, dtype=object)))
    colours, there = well_colours(grid, colouring, shown)
    for plate in range(2):
        for place in range(6):
            own = [i for i, (p, _, on) in enumerate(rows) if on and p == place and i % 2 == plate]
            at = (plate, place // 3, place % 3)
            assert there[at] == bool(own)
            if own:
                times = Counter(int(colouring.codes[i]) for i in own)
                code = min(times, key=lambda c: (-times[c], c))
                assert colours[at].tolist() == colouring.palette[code].tolist()


def test_wells_have_the_mean_of_their_numbers() -> None:
    values = np.r_[np.linspace(0, 1, 20), np.nan, np.nan]
    grid = Grid(("P",), (2, 3), np.zeros(22, np.int32), np.array([0] * 10 + [1] * 10 + [1, 2], np.int32))
    colouring = colour_column(read_column("x", pd.Series(values)))
    colours, there = well_colours(grid, colouring, np.ones(22, bool))
    for well, rows in ((0, slice(0, 10)), (1, slice(10, 20))):
        code = round(colouring.codes[rows].mean())
        assert colours[0, 0, well].tolist() == colouring.palette[code].tolist()
    assert colours[0, 0, 2].tolist() == colouring.palette[STEPS].tolist()
    assert there[0].sum() == 3


def test_words_of_a_wells_rows() -> None:
    label = read_column("Metadata_Compound", pd.Series(["x", "y", "x", "x"]))
    number = read_column("Metadata_Dose", pd.Series([1.0, 2.0, np.nan, np.nan, *range(20)]))
    assert words_of_rows(np.array([0, 1]), label, number) == ["Compound x and 1 more", "Dose 1.5 (mean)", "2 rows"]
    assert words_of_rows(np.array([2]), label, number) == ["Compound x"]
    assert words_of_rows(np.array([1]), label, label) == ["Compound y"]  # coloured by the label
    assert words_of_rows(np.array([1]), None, None) == []
