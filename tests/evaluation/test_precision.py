from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from sslprofiler_core.evaluation.precision import average_precision, score_precision
from sslprofiler_core.evaluation.scores import Score
from sslprofiler_core.profiling import WellsTable, align, read_wells


@pytest.fixture(scope="module")
def real(cpjump1: Path) -> WellsTable:
    return read_wells(sorted((cpjump1 / "profiles").glob("*.csv.gz")))


def screen(plates: int = 4, lines: int = 1, seed: int = 0) -> pd.DataFrame:
    """Eight compounds of four genes and four controls a plate, each at its position."""
    rows = [
        (f"P{plate}", f"A{well + 1:02d}", f"C{well}" if well < 8 else "DMSO", f"G{well // 2}", f"L{plate % lines}")
        for plate in range(plates)
        for well in range(12)
    ]
    table = pd.DataFrame(rows, columns=[f"Metadata_{n}" for n in ("Plate", "Well", "Compound", "Gene", "CellType")])
    table.loc[table.Metadata_Compound == "DMSO", "Metadata_Gene"] = None
    return table


def features(table: pd.DataFrame, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    codes = np.unique(table.Metadata_Compound, return_inverse=True)[1]
    return np.float32(0.7 * rng.normal(size=(9, 20))[codes] + rng.normal(size=(len(table), 20)))


def named(scores: list[Score], metric: str, mode: str = "none", line: str = "all") -> Score:
    return next(s for s in scores if (s.metric, s.alignment, s.train) == (metric, mode, line))


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8), st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_average_precision_is_scikit_learns(positive: list[float], negative: list[float]) -> None:
    if len({*positive, *negative}) < len(positive) + len(negative):
        return  # scikit-learn takes tied ones together
    truth = np.array([1] * len(positive) + [0] * len(negative))
    expected = average_precision_score(truth, np.array(positive + negative))
    assert average_precision(np.array(positive), np.array(negative)) == pytest.approx(expected)


def test_a_tie_counts_half() -> None:
    assert average_precision(np.array([0.5]), np.array([0.5])) == pytest.approx(1 / 1.5)
    assert average_precision(np.zeros(2), np.zeros(2)) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_the_real_plates_give_the_figure_of_the_design(real: WellsTable) -> None:
    scores = score_precision(real).scores
    activity = named(scores, "activity_map")
    assert activity.value == pytest.approx(0.578, abs=0.005)
    assert activity.n == 306 and len(activity.rows) == 1280
    # What position alone scores, and what chance does.
    assert named(scores, "position_control_map").value > 2 * named(scores, "position_control_map_random_features").value
    assert named(scores, "activity_map_random_features").value < 0.12
    # 146 genes have several compounds.
    assert named(scores, "consistency_map").n == 146
    assert named(scores, "consistency_map").value > 2 * named(scores, "consistency_map_random_features").value


def test_activity_is_that_of_copairs(real: WellsTable) -> None:
    copairs = pytest.importorskip("copairs.map")
    metadata = real.metadata
    _check_activity(copairs, metadata.assign(label=metadata.Metadata_broad_sample), real.profiles)


def test_activity_and_consistency_of_a_small_screen_are_those_of_copairs() -> None:
    copairs = pytest.importorskip("copairs.map")
    table = screen()
    values = features(table)
    _check_activity(copairs, table.assign(label=table.Metadata_Compound), values)
    kept = table.Metadata_Compound != "DMSO"
    mean = (
        pd.DataFrame(values[kept], index=table.index[kept])
        .groupby([table.Metadata_Compound[kept], table.Metadata_Gene[kept]])
        .mean()
    )
    meta = mean.index.to_frame(index=False)
    peer = copairs.average_precision(
        meta,
        mean.to_numpy(),
        pos_sameby=["Metadata_Gene"],
        pos_diffby=[],
        neg_sameby=[],
        neg_diffby=["Metadata_Gene"],
        progress_bar=False,
    )
    expected = peer.groupby("Metadata_Gene").average_precision.mean().mean()
    found = named(score_precision((table, values)).scores, "consistency_map")
    assert found.value == pytest.approx(expected, abs=1e-5) and found.n == 4


def _check_activity(copairs: object, metadata: pd.DataFrame, values: np.ndarray) -> None:
    control = metadata.label.isna() | (metadata.label == "DMSO")
    meta = pd.DataFrame(
        {
            "plate": metadata.Metadata_Plate,
            "label": metadata.label.mask(control, "control"),
            # copairs' way: each control differs from every other row in this column, all others share a value.
            "reference": np.where(control, np.arange(len(metadata)), -1),
        }
    )
    peer = copairs.average_precision(
        meta,
        values,
        pos_sameby=["label", "reference"],
        pos_diffby=[],
        neg_sameby=["plate"],
        neg_diffby=["label", "reference"],
        progress_bar=False,
    )
    peer = peer[peer.label != "control"]
    score = named(score_precision((metadata, values)).scores, "activity_map")
    expected = peer.groupby("label").average_precision.mean()
    assert score.value == pytest.approx(expected.mean(), abs=1e-4)
    own = pd.Series(score.correct).groupby(score.labels).mean()
    np.testing.assert_allclose(own.to_numpy(), expected.sort_index().to_numpy(), atol=2e-3)


def test_alignment_moves_every_well_and_random_features_show_it() -> None:
    table = screen()
    values = features(table)
    scores = score_precision((table, values), alignments=["none", "training", "transductive"], alpha=0.3).scores
    assert {s.alignment for s in scores} == {"none", "transductive"}
    aligned = align(values.astype(np.float64), table.Metadata_Plate.to_numpy(), table.Metadata_Well.to_numpy(), 0.3)
    expected = named(score_precision((table, aligned)).scores, "activity_map").value
    assert named(scores, "activity_map", "transductive").value == pytest.approx(expected)
    assert named(scores, "activity_map_random_features", "transductive").value > 0.9
    assert named(scores, "activity_map_random_features").value < 0.6


def test_cell_lines_are_scored_apart_and_together() -> None:
    table = screen(lines=2)
    values = features(table)
    scores = score_precision((table, values)).scores
    own = (table.Metadata_CellType == "L1").to_numpy()
    alone = score_precision((table[own].reset_index(drop=True), values[own])).scores
    for metric in ("activity_map", "consistency_map"):
        assert named(scores, metric, line="L1").value == pytest.approx(named(alone, metric).value)
    assert named(scores, "activity_map").n == 8


def test_controls_of_another_cell_line_on_the_plate_are_no_negatives_within_a_line() -> None:
    halves = [screen().assign(Metadata_CellType=line) for line in ("L0", "L1")]
    halves[1]["Metadata_Well"] = halves[1]["Metadata_Well"].str.replace("A", "B")
    table = pd.concat(halves, ignore_index=True)
    values = features(table) + 3 * np.repeat(np.eye(20, dtype=np.float32)[:2], len(table) // 2, axis=0)
    own = (table.Metadata_CellType == "L1").to_numpy()
    alone = score_precision((table[own].reset_index(drop=True), values[own])).scores
    within = named(score_precision((table, values)).scores, "activity_map", line="L1")
    assert within.value == pytest.approx(named(alone, "activity_map").value)


def test_a_plate_without_controls_and_a_label_with_one_well() -> None:
    table = screen()
    values = features(table)
    kept = ((table.Metadata_Plate != "P3") | (table.Metadata_Compound != "DMSO")).to_numpy()
    table = table[kept].reset_index(drop=True)
    table.loc[0, "Metadata_Compound"] = "once"
    scores = score_precision((table, values[kept]))
    activity = named(scores.scores, "activity_map")
    assert set(table.Metadata_Plate[activity.rows]) == {"P0", "P1", "P2"} and "once" not in activity.labels
    assert "leaves out 9 wells" in scores.notes[0]


def test_rows_of_one_well_are_no_replicates() -> None:
    table = screen(plates=1)
    twice = pd.concat([table, table], ignore_index=True)
    scores = score_precision((twice, features(twice)))
    assert not any(s.metric == "activity_map" for s in scores.scores)
    assert "No activity mAP" in scores.notes[0]


def test_without_controls_or_groups_there_is_a_note() -> None:
    table = screen().query("Metadata_Compound != 'DMSO'").drop(columns="Metadata_Gene").reset_index(drop=True)
    scores = score_precision((table, features(table)))
    assert scores.scores == []
    assert [note.split(":")[0] for note in scores.notes] == ["No activity mAP", "No consistency mAP"]
