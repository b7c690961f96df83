"""Neighbours under filters are those of scikit-learn among the rows that the filters leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import NeighbourIndex, control_distances, label_agreement, query_neighbours
from sslprofiler_core.exploring.queries import Same
from sslprofiler_core.exploring.tables import open_table


def screen(rows: int = 120, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    metadata = pd.DataFrame(
        {
            "Metadata_Plate": rng.choice(["P1", "P2", "P3"], rows),
            "Metadata_Well": rng.choice(["A01", "A02", "B01"], rows),
            "Metadata_Compound": rng.choice(["x", "y", "DMSO", None], rows),
            "Metadata_CellType": rng.choice(["U2OS", "A549"], rows),
        }
    )
    return rng.normal(size=(rows, 10)).astype(np.float32), metadata


COLUMNS: dict[str, list[str]] = {
    "plate": ["Metadata_Plate"],
    "well": ["Metadata_Plate", "Metadata_Well"],
    "position": ["Metadata_Well"],
    "compound": ["Metadata_Compound"],
    "cell_line": ["Metadata_CellType"],
}


def same(metadata: pd.DataFrame, row: int, columns: list[str]) -> np.ndarray:
    """Rows equal in some columns, empty cells equal to nothing."""
    return (metadata[columns] == metadata.loc[row, columns]).all(axis=1).to_numpy()


FILTERS = st.lists(st.sampled_from(sorted(COLUMNS)), max_size=2, unique=True)


@settings(max_examples=60)
@given(
    exclude=FILTERS,
    within=st.lists(st.sampled_from(["plate", "cell_line"]), max_size=1),
    metric=st.sampled_from(["cosine", "euclidean"]),
    k=st.integers(1, 130),
    row=st.integers(0, 119),
)
def test_they_equal_scikit_learns(exclude: list[Same], within: list[Same], metric: str, k: int, row: int) -> None:
    features, metadata = screen()
    found = query_neighbours(features, metadata, [row], k, exclude=exclude, within=within, metric=metric)
    allowed = np.arange(len(features)) != row
    for name in exclude:
        allowed &= ~same(metadata, row, COLUMNS[name])
    for name in within:
        allowed &= same(metadata, row, COLUMNS[name])
    rows = np.flatnonzero(allowed)
    indices, distances = found.of()
    assert len(indices) == min(k, len(rows))
    if rows.size:
        peer = NearestNeighbors(n_neighbors=len(indices), metric=metric, algorithm="brute").fit(features[rows])
        expected, places = peer.kneighbors(features[row : row + 1])
        np.testing.assert_array_equal(indices, rows[places[0]])
        np.testing.assert_allclose(distances, expected[0], rtol=1e-4, atol=1e-6)


def test_of_real_profiles_they_equal_scikit_learns_too(cpjump1: Path) -> None:
    table = open_table(cpjump1 / "profiles" / "BR00117010.csv.gz")
    features = table.features()
    index = table.index()
    negcon = (table.metadata["Metadata_control_type"] == "negcon").to_numpy()
    for row in (0, 100, 383):
        indices, _ = index.query([row], 10, exclude=["compound"]).of()
        own = table.metadata[table.label]
        rows = np.flatnonzero(own.isna() | (own != own[row]) if pd.notna(own[row]) else np.arange(384) != row)
        peer = NearestNeighbors(n_neighbors=10, metric="cosine", algorithm="brute").fit(features[rows])
        np.testing.assert_array_equal(indices, rows[peer.kneighbors(features[[row]])[1][0]])
    distances = control_distances(index, table.metadata)
    assert np.isfinite(distances).all() and distances[negcon].mean() < distances[~negcon].mean()


def test_ties_go_by_row_and_many_rows_alike_are_all_ranked() -> None:
    features = np.ones((50, 4), np.float32)
    metadata = pd.DataFrame({"Metadata_Plate": ["P"] * 50})
    indices, distances = query_neighbours(features, metadata, [10], 12).of()
    np.testing.assert_array_equal(indices, [i for i in range(13) if i != 10])
    assert (distances == 0).all()


def test_rows_without_values_are_nobodys_neighbours_and_have_none() -> None:
    features, metadata = screen()
    features[5, 3] = np.nan
    features[7] = np.inf
    index = NeighbourIndex(features, metadata)
    found = index.query([0, 5], 200)
    assert set(found.of(0)[0]) == set(range(120)) - {0, 5, 7}
    assert found.of(1)[0].size == 0 and np.isnan(found.distances[1]).all()
    assert index.query_group([5, 7], 3).of()[0].size == 0
    distances = index.distances_to([0])
    assert np.isnan(distances[[5, 7]]).all() and distances[0] < 1e-6


def test_rows_of_zeros_are_at_distance_1() -> None:
    features, metadata = screen(20)
    features[4] = 0
    assert query_neighbours(features, metadata, [4], 3).of()[1].tolist() == [1.0, 1.0, 1.0]


def test_a_groups_neighbours_are_those_of_its_mean_without_itself() -> None:
    features, metadata = screen()
    group = [3, 50, 77]
    index = NeighbourIndex(features, metadata)
    indices, distances = index.query_group(group, 9, exclude=["plate"]).of()
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    mean = unit[group].mean(axis=0)
    expected = 1 - unit @ mean / np.linalg.norm(mean)
    allowed = ~metadata["Metadata_Plate"].isin(metadata.loc[group, "Metadata_Plate"]).to_numpy()
    allowed[group] = False
    order = [row for row in np.argsort(expected) if allowed[row]][:9]
    assert indices.tolist() == order
    np.testing.assert_allclose(distances, expected[order], atol=1e-5)
    np.testing.assert_allclose(index.distances_to(group), expected, atol=1e-5)


def test_distances_to_controls_are_per_plate() -> None:
    features, metadata = screen()
    distances = control_distances(NeighbourIndex(features, metadata), metadata)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    own = metadata["Metadata_Plate"] == "P2"
    mean = unit[own & (metadata["Metadata_Compound"] == "DMSO")].mean(axis=0)
    np.testing.assert_allclose(distances[own], (1 - unit @ mean / np.linalg.norm(mean))[own], atol=1e-5)
    metadata["Metadata_Compound"] = "x"
    assert np.isnan(control_distances(NeighbourIndex(features, metadata), metadata)).all()


def test_agreement_counts_neighbours_with_a_label() -> None:
    labels = pd.Series(["a", "b", None, "a"], index=[9, 8, 7, 6])
    assert label_agreement(labels, "a", np.array([0, 1, 2, 3])) == (2, 3)
    assert label_agreement(labels, None, np.array([0, 1])) == (0, 0)


@pytest.mark.parametrize(
    ("k", "exclude", "words"),
    [(0, [], "k = 0"), (3, ["batch"], "Unknown filter"), (3, ["cell_line"], "no column for cell line")],
)
def test_what_cannot_be_asked_is_said(k: int, exclude: list[Same], words: str) -> None:
    features, metadata = screen(10)
    with pytest.raises(UserError, match=words):
        query_neighbours(features, metadata.drop(columns="Metadata_CellType"), [0], k, exclude=exclude)
