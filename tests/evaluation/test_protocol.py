from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from sslprofiler_core.errors import UserError
from sslprofiler_core.evaluation import knn_transfer, position_control
from sslprofiler_core.evaluation.protocol import COLUMNS, score_transfers
from sslprofiler_core.profiling import WellsTable, align, read_wells


@pytest.fixture(scope="module")
def real(cpjump1: Path) -> WellsTable:
    table = read_wells(sorted((cpjump1 / "profiles").glob("*.csv.gz")))
    return WellsTable(table.metadata, np.clip(table.profiles, -10, 10), table.info)


def make(plates: int = 4, compounds: int = 6, dmso: int = 2, lines: int = 1, seed: int = 0) -> WellsTable:
    """A compound at the same position of every plate, with a phenotype and noise."""
    rng = np.random.default_rng(seed)
    phenotypes = rng.normal(size=(compounds + 1, 12))
    rows, profiles = [], []
    for plate in range(plates):
        for well in range(compounds + dmso):
            compound = max(0, well - dmso + 1)
            rows.append((f"P{plate}", f"A{well + 1:02d}", f"C{compound}" if compound else "DMSO", f"L{plate % lines}"))
            profiles.append(phenotypes[compound] + rng.normal(size=12))
    names = ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_CellType"]
    return WellsTable(pd.DataFrame(rows, columns=names), np.float32(profiles), {})


def value(table: pd.DataFrame, **where: object) -> float:
    for name, wanted in where.items():
        table = table[table[name] == wanted]
    assert len(table) == 1, table
    return float(table["value"].iloc[0])


def test_the_real_plates_give_the_figures_of_the_design(real: WellsTable) -> None:
    table = knn_transfer(real, alignments=["none", "training", "transductive"])
    assert list(table.columns) == COLUMNS
    assert (table.n == 1280).all() and table.attrs["notes"] == []
    expected = {
        "none": {1: 46.8, 5: 44.8, 10: 42.4, 20: 40.6},
        "training": {1: 50.8, 5: 49.1},
        "transductive": {1: 97.4, 5: 96.6},
    }
    for alignment, by_k in expected.items():
        for k, percent in by_k.items():
            found = value(table, metric="knn_accuracy", alignment=alignment, k=k)
            assert 100 * found == pytest.approx(percent, abs=0.3), (alignment, k)
    # Features that hold nothing: what an alignment alone scores.
    random = {"metric": "knn_accuracy_random_features", "k": 1}
    assert value(table, alignment="transductive", **random) > 0.99
    assert value(table, alignment="training", **random) < 0.02


def test_the_real_position_control(real: WellsTable) -> None:
    table = position_control(real.metadata, real.profiles)
    assert 100 * value(table, k=1) == pytest.approx(20.3, abs=0.3)
    assert 100 * value(table, k=5) == pytest.approx(18.8, abs=0.3)
    assert set(table.n) == {256} and set(table.metric) == {"position_control"}


def test_random_features_score_at_chance_unless_test_wells_move(real: WellsTable) -> None:
    features = np.random.default_rng(5).normal(size=(len(real.metadata), 256))
    every = knn_transfer(
        (real.metadata, features),
        ks=[1, 5],
        metrics=["cosine", "euclidean"],
        alignments=["none", "training", "transductive"],
        variants=["not_same_plate", "not_same_well"],
    )
    table = every[~every.metric.str.endswith("random_features") & (every.metric != "knn_accuracy_not_same_well")]
    assert len(table) == 2 * 2 * 3 * 2
    honest = table[table.alignment != "transductive"]
    assert (honest.value < 0.015).all()  # chance is 0.3 %, four standard errors above it 1 %
    assert (table[table.alignment == "transductive"].value > 0.95).all()
    # Where the tested position is hidden, even that alignment gives nothing away: 112 wells, chance at most 7 %.
    hidden = every[every.metric == "knn_accuracy_not_same_well"]
    assert len(hidden) == 2 * 3 * 2 and (hidden.value < 0.07).all()
    control = position_control(real.metadata, features, ks=[1])
    assert control.value.item() < 0.065  # chance is 1.6 %


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("alignment", ["none", "training", "transductive"])
@pytest.mark.parametrize("shuffled", [False, True], ids=["one layout", "every plate its own"])
def test_every_fold_is_scikit_learns(metric: str, alignment: str, shuffled: bool) -> None:
    """Also where controls share positions with compounds, and so give to their centres."""
    wells = make(plates=7, seed=3)
    if shuffled:
        rng = np.random.default_rng(0)
        names = wells.metadata.groupby("Metadata_Plate").Metadata_Well.transform(rng.permutation)
        wells = WellsTable(wells.metadata.assign(Metadata_Well=names), wells.profiles, {})
    scores = score_transfers(wells, metrics=[metric], ks=[1, 3, 5], alignments=[alignment])
    plates, positions = wells.metadata.Metadata_Plate.to_numpy(), wells.metadata.Metadata_Well.to_numpy()
    labels = wells.metadata.Metadata_Compound.to_numpy()
    treated, profiles = labels != "DMSO", wells.profiles
    if alignment == "transductive":
        profiles = align(profiles, plates, positions, 0.5)
    for score in scores.scores:
        if score.metric != "knn_accuracy":
            continue
        assert sorted(score.rows) == sorted(np.flatnonzero(treated))
        folds = [score.rows[score.folds == fold] for fold in np.unique(score.folds)]
        assert len(folds) == 5
        right = []
        for rows in folds:
            tested = np.isin(np.arange(len(labels)), rows)
            trained = ~np.isin(plates, plates[tested])
            training = trained & treated
            assert (training == treated & ~tested).all()  # whole plates
            moved = align(profiles, plates, positions, 0.5, trained) if alignment == "training" else profiles
            peer = KNeighborsClassifier(score.k, metric=metric, weights="distance")
            right.append(peer.fit(moved[training], labels[training]).predict(moved[tested]) == labels[tested])
        np.testing.assert_array_equal(score.correct, np.concatenate(right))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_fold_of_the_real_plates_is_scikit_learns(real: WellsTable, metric: str) -> None:
    scores = score_transfers(real, metrics=[metric], alignments=["none", "training"]).scores
    labels = real.metadata.Metadata_broad_sample.to_numpy()
    plates, positions = real.metadata.Metadata_Plate.to_numpy(), real.metadata.Metadata_Well.to_numpy()
    exact = real.profiles.astype(np.float64)
    for score in scores:
        if score.metric != "knn_accuracy":
            continue
        tested = score.rows[score.folds == 2]
        training = real.metadata.Metadata_broad_sample.notna().to_numpy() & (plates != plates[tested[0]])
        moved = align(exact, plates, positions, 0.5, training) if score.alignment == "training" else exact
        peer = KNeighborsClassifier(score.k, metric=metric, weights="distance", algorithm="brute")
        right = peer.fit(moved[training], labels[training]).predict(moved[tested]) == labels[tested]
        np.testing.assert_array_equal(score.correct[score.folds == 2], right)


def test_transfers_between_cell_lines() -> None:
    wells = make(plates=6, lines=2)
    table = knn_transfer(wells, ks=[1])
    assert list(zip(table.train, table.test, strict=True)) == [
        ("L0", "L0"),
        ("L0", "L1"),
        ("L1", "L0"),
        ("L1", "L1"),
        ("all", "all"),
    ]
    assert list(table.n) == [18, 18, 18, 18, 36]
    kept = (wells.metadata.Metadata_Compound != "DMSO").to_numpy()
    a, b = (kept & (wells.metadata.Metadata_CellType == line).to_numpy() for line in ("L0", "L1"))
    labels = wells.metadata.Metadata_Compound.to_numpy()
    peer = KNeighborsClassifier(1, metric="cosine").fit(wells.profiles[a], labels[a])
    assert value(table, train="L0", test="L1") == peer.score(wells.profiles[b], labels[b])


def test_plates_that_carry_both_lines_never_train_and_test_at_once() -> None:
    wells = make(plates=4)
    half = wells.metadata.index % 2
    metadata = wells.metadata.assign(Metadata_CellType=np.where(half, "L1", "L0"))
    scores = score_transfers((metadata, wells.profiles), ks=[1]).scores
    across = next(s for s in scores if (s.train, s.test) == ("L0", "L1"))
    # L1's compounds sit at odd positions, L0's at even ones: no training well has the label.
    assert across.value == 0.0 and len(across.rows) == 12


def test_labels_without_a_training_well_count_as_wrong() -> None:
    wells = make(plates=3)
    metadata = wells.metadata.copy()
    metadata.loc[metadata.index[-1], "Metadata_Compound"] = "once"
    table = knn_transfer((metadata, wells.profiles), ks=[1])
    assert table.n.item() == 18
    assert "1 of 18 test wells have a label that no training well has" in table.attrs["notes"][0]


def test_blank_labels_are_left_out_and_counted() -> None:
    wells = make(plates=3)
    metadata = wells.metadata.copy()
    metadata.loc[metadata.index[-2:], "Metadata_Compound"] = None
    table = knn_transfer((metadata, wells.profiles), ks=[1])
    assert table.n.item() == 16
    assert table.attrs["notes"][0].startswith("2 wells have no Metadata_Compound")


def test_k_above_the_training_wells_gives_a_note() -> None:
    table = knn_transfer(make(plates=2), ks=[1, 6, 7])
    assert list(table.k) == [1, 6]
    assert table.attrs["notes"] == ["all -> all: no score for k = 7, a fold has 6 training wells."]


def test_one_plate_is_an_error_and_one_plate_of_a_line_a_note() -> None:
    with pytest.raises(UserError, match="at least two plates"):
        knn_transfer(make(plates=1))
    table = knn_transfer(make(plates=3, lines=2), ks=[1])
    assert ("L1", "L1") not in set(zip(table.train, table.test, strict=True))
    assert "cell line L1 has one plate only" in table.attrs["notes"][0]


def test_no_controls_no_position_control() -> None:
    wells = make(dmso=0)
    table = position_control(wells.metadata, wells.profiles)
    assert table.empty and list(table.columns) == COLUMNS
    assert "fewer than two plates have control wells" in table.attrs["notes"][0]
    assert len(knn_transfer(wells, ks=[1])) == 1


def test_constant_features_and_duplicate_wells() -> None:
    wells = make(plates=3)
    constant = np.ones_like(wells.profiles)
    assert knn_transfer((wells.metadata, constant), ks=[1]).value.item() == pytest.approx(1 / 6)
    twice = pd.concat([wells.metadata] * 2, ignore_index=True)
    table = knn_transfer((twice, np.concatenate([wells.profiles] * 2)), ks=[1], alignments=["none", "training"])
    plain = knn_transfer(wells, ks=[1], alignments=["none", "training"])
    both = table.value.to_numpy(), plain.value.to_numpy()
    np.testing.assert_allclose(both[0][:2], both[1][:2])
    holes = wells.profiles.copy()
    holes[3, 3] = np.nan
    with pytest.raises(UserError, match="empty or infinite"):
        knn_transfer((wells.metadata, holes))


def test_the_seed_decides() -> None:
    wells = make(plates=9)
    pd.testing.assert_frame_equal(knn_transfer(wells), knn_transfer(wells))
    a, b = (score_transfers(wells, ks=[1], seed=seed).scores[0].rows for seed in (0, 1))
    assert sorted(a) == sorted(b) and not np.array_equal(a, b)


def test_unknown_settings() -> None:
    with pytest.raises(UserError, match="Unknown alignment 'best'"):
        knn_transfer(make(), alignments=["best"])
    with pytest.raises(UserError, match="Choose another --label"):
        knn_transfer(make(compounds=0))
