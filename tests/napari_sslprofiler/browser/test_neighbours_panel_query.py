"""What the panel of neighbours says, against scikit-learn and plain counting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from napari_sslprofiler.browser.neighbours_panel_query import (
    Finder,
    Question,
    alignment_warning,
    features_bytes,
    position_of,
)
from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import TableView, open_table
from sslprofiler_core.profiling import write_wells

ROWS = 90


def compound_of(i: int) -> str | None:
    if i % 10 == 9:
        return None
    return "DMSO" if i // 3 % 4 == 0 else f"c{i % 5}"


def metadata_of(rows: int = ROWS) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Metadata_Plate": [f"P{i % 3}" for i in range(rows)],
            "Metadata_Well": [f"{chr(65 + i // 3 % 6)}{i // 18 + 1:02d}" for i in range(rows)],
            "Metadata_Compound": [
                None if i % 10 == 9 else "DMSO" if i // 3 % 4 == 0 else f"c{i % 5}" for i in range(rows)
            ],
            "Metadata_CellType": ["A549" if i % 2 else "U2OS" for i in range(rows)],
        }
    )


def table_of(folder: Path, values: np.ndarray | None = None, info: dict[str, object] | None = None) -> TableView:
    values = np.random.default_rng(0).normal(size=(ROWS, 12)) if values is None else values
    return open_table(write_wells(folder / "wells.parquet", metadata_of(len(values)), values, info or {}))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> TableView:
    return table_of(tmp_path_factory.mktemp("wells"))


COLUMNS = {"plate": "Metadata_Plate", "position": "Metadata_Well", "compound": "Metadata_Compound"}


@settings(max_examples=40)
@given(
    row=st.integers(0, ROWS - 1),
    k=st.integers(1, 20),
    metric=st.sampled_from(["cosine", "euclidean"]),
    exclude=st.sets(st.sampled_from(sorted(COLUMNS))),
    line=st.booleans(),
    centred=st.booleans(),
)
def test_neighbours_are_scikit_learns(
    table: TableView, row: int, k: int, metric: str, exclude: set[str], line: bool, centred: bool
) -> None:
    within = ("cell_line",) if line else ()
    question = Question(table, np.array([row]), k, metric, tuple(sorted(exclude)), within, centred)
    answer = Finder().answer(question)
    frame, values = table.metadata, table.features()
    if centred:
        wide = pd.DataFrame(values.astype(np.float64))
        values = (wide - wide.groupby(frame["Metadata_Plate"].to_numpy()).transform("mean")).to_numpy()
    allowed = np.arange(ROWS) != row
    for same in exclude:
        own = frame[COLUMNS[same]].iloc[row]
        if pd.notna(own):
            allowed &= (frame[COLUMNS[same]] != own).to_numpy()
    if line:
        allowed &= (frame["Metadata_CellType"] == frame["Metadata_CellType"].iloc[row]).to_numpy()
    left = np.flatnonzero(allowed)
    assert answer.candidates == len(left)
    k = min(k, len(left))
    assert len(answer.rows) == k
    if not k:
        return
    peer = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(values[left])
    distances, places = peer.kneighbors(values[row : row + 1])
    np.testing.assert_array_equal(answer.rows, left[places[0]])
    np.testing.assert_allclose(answer.distances, distances[0], atol=2e-6)
    labels = frame["Metadata_Compound"]
    if pd.isna(labels.iloc[row]):
        assert answer.chance is None and not answer.agree.any()
        return
    assert answer.agree.tolist() == (labels.iloc[answer.rows] == labels.iloc[row]).tolist()
    known = labels.iloc[left].dropna()
    assert answer.chance is None if known.empty else answer.chance == pytest.approx((known == labels.iloc[row]).mean())


def test_a_groups_neighbours_are_those_of_its_mean(table: TableView) -> None:
    rows = np.array([1, 5, 8, 30])
    answer = Finder().answer(Question(table, rows, 6, "euclidean", (), ()))
    values = table.features()
    left = np.setdiff1d(np.arange(ROWS), rows)
    distances = np.linalg.norm(values[left] - values[rows].mean(0), axis=1)
    np.testing.assert_array_equal(answer.rows, left[np.argsort(distances)[:6]])
    labels = table.metadata["Metadata_Compound"]
    assert answer.agree.tolist() == labels.iloc[answer.rows].isin(labels.iloc[rows].dropna()).tolist()
    assert "of these" in answer.words()


def test_words_count(table: TableView) -> None:
    answer = Finder().answer(Question(table, np.array([0]), 10, "cosine", (), ()))
    words = answer.words()
    assert words.startswith(f"{int(answer.agree.sum())} of {int(answer.counted.sum())} neighbours are DMSO")
    assert "by chance" in words
    unlabelled = Finder().answer(Question(table, np.array([9]), 4, "cosine", (), ()))
    assert unlabelled.words().startswith("4 nearest of")


def test_rows_without_values_have_no_neighbours(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 3))
    values[2] = np.nan
    table = table_of(tmp_path, values)
    answer = Finder().answer(Question(table, np.array([2]), 3, "cosine", (), ()))
    assert answer.empty and "no features" in answer.words()
    assert 2 not in Finder().answer(Question(table, np.array([0]), 5, "euclidean", (), ())).rows


def test_one_row_has_nobody(tmp_path: Path) -> None:
    table = table_of(tmp_path, np.ones((1, 3)))
    answer = Finder().answer(Question(table, np.array([0]), 5, "cosine", (), ()))
    assert not len(answer.rows) and "no row" in answer.words()


def test_a_filter_without_its_column_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"Metadata_Name": list("abc"), "x": [1.0, 2, 4]}).to_csv(path, index=False)
    with pytest.raises(UserError, match="no column for plate"):
        Finder().answer(Question(open_table(path), np.array([0]), 1, "cosine", ("plate",), ()))


def test_position_control_finds_positions(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frame = metadata_of()
    places = pd.factorize(frame["Metadata_Well"])[0]
    nothing = position_of(table_of(tmp_path, rng.normal(size=(ROWS, 12))))
    assert nothing.value is not None and not nothing.strong
    controls = frame.loc[frame["Metadata_Compound"] == "DMSO"]
    assert nothing.chance == pytest.approx(1 / controls["Metadata_Well"].nunique())
    assert nothing.count == len(controls)
    shifted = rng.normal(size=(ROWS, 12)) * 0.01 + rng.normal(size=(places.max() + 1, 12))[places]
    position = position_of(table_of(tmp_path, shifted))
    assert position.strong and position.value is not None and position.value > nothing.value
    assert "position is part of what is near" in position.words()


def test_centring_the_plates_takes_away_what_a_plate_shares(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    places = pd.factorize(metadata_of()["Metadata_Well"])[0]
    plates = 100 * rng.normal(size=(3, 12))[np.arange(ROWS) % 3]
    table = table_of(tmp_path, plates + rng.normal(size=(ROWS, 12)) * 0.01 + rng.normal(size=(30, 12))[places])
    finder = Finder()
    both = [finder.answer(Question(table, np.array([4]), 4, "cosine", (), (), centred)) for centred in (False, True)]
    assert (both[0].rows % 3 == 1).all()  # its own plate
    assert set(both[1].rows[:2] % 3) == {0, 2} and (places[both[1].rows[:2]] == places[4]).all()
    positions = [finder.position(table, "cosine", centred) for centred in (False, True)]
    assert positions[1].value == 1.0 and positions[0].value is not None and positions[0].value < 0.9
    without = tmp_path / "t.csv"
    pd.DataFrame({"Metadata_Name": list("abc"), "x": [1.0, 2, 4]}).to_csv(without, index=False)
    with pytest.raises(UserError, match="no column of plates"):
        Finder().answer(Question(open_table(without), np.array([0]), 1, "cosine", (), (), True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Metadata_Plate": "one"}, "fewer than two plates"),
        ({"Metadata_Compound": "x"}, "no control wells"),
    ],
)
def test_without_controls_it_says_why(tmp_path: Path, change: dict[str, str], words: str) -> None:
    frame = metadata_of(20).assign(**change)
    table = open_table(
        write_wells(tmp_path / "wells.parquet", frame, np.random.default_rng(0).normal(size=(20, 4)), {})
    )
    position = position_of(table)
    assert position.value is None and words in position.words()


def test_alignment_is_warned_of(tmp_path: Path) -> None:
    assert alignment_warning(table_of(tmp_path)) == ""
    words = alignment_warning(table_of(tmp_path, info={"alignment": {"mode": "transductive", "alpha": 0.5}}))
    assert "alpha 0.5" in words and "agree more than they should" in words


def test_features_are_read_by_the_first_question(tmp_path: Path) -> None:
    table = table_of(tmp_path)
    assert features_bytes(table) == table.path.stat().st_size
    assert not table.features.loaded
    Finder().answer(Question(table, np.array([0]), 1))
    assert features_bytes(table) == 0
