"""Tables as people have them: each is scored rightly or refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.evaluation import evaluate, score_all
from sslprofiler_core.evaluation.checks import check_wells
from sslprofiler_core.profiling import WellsTable, write_wells


def screen(plates: int = 4, compounds: int = 6, dmso: int = 3, seed: int = 0) -> WellsTable:
    rng = np.random.default_rng(seed)
    phenotypes = rng.normal(size=(compounds + 1, 16))
    rows = [
        (f"P{plate}", f"B{well + 1:02d}", f"C{well}" if well < compounds else "DMSO")
        for plate in range(plates)
        for well in range(compounds + dmso)
    ]
    table = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well", "Metadata_Compound"])
    codes = np.unique(table.Metadata_Compound, return_inverse=True)[1]
    values = phenotypes[codes] + 0.4 * rng.normal(size=(len(table), 16))
    return WellsTable(table, np.float32(values), {})


def keep(table: WellsTable, rows: object) -> WellsTable:
    chosen = np.flatnonzero(rows)
    return WellsTable(table.metadata.iloc[chosen].reset_index(drop=True), table.profiles[chosen], {})


def run(table: WellsTable, **options: object) -> tuple[pd.DataFrame, str]:
    """What `evaluate` writes into metrics.csv and its notes, without drawing a report."""
    checked, warnings, notes = check_wells(table)
    scores = score_all(checked, **options)
    return scores.table(), "\n".join(warnings + notes + scores.notes)


def one(metrics: pd.DataFrame, metric: str, k: int | None = 1, alignment: str = "none") -> pd.Series:
    rows = metrics[(metrics.metric == metric) & (metrics.alignment == alignment) & (metrics.distance == "cosine")]
    rows = rows[rows.k.isna()] if k is None else rows[rows.k == k]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_plate_without_controls() -> None:
    table = screen()
    bare = (table.metadata.Metadata_Plate == "P3") & (table.metadata.Metadata_Compound == "DMSO")
    metrics, text = run(keep(table, ~bare))
    assert one(metrics, "knn_accuracy").n == 24  # its compounds are scored as all are
    assert one(metrics, "position_control").n == 9
    assert one(metrics, "activity_map", None).n == 6
    assert "leaves out 6 wells" in text


def test_one_plate_without_replicates_is_refused() -> None:
    with pytest.raises(UserError, match=r"one plate only.* at least two plates"):
        run(screen(1))


def one_plate() -> WellsTable:
    """Six compounds and controls, four wells each, on one plate."""
    table = screen(4)
    wells = [f"{'ABCD'[int(p[1])]}{w[1:]}" for p, w in table.metadata[["Metadata_Plate", "Metadata_Well"]].to_numpy()]
    return WellsTable(table.metadata.assign(Metadata_Plate="P", Metadata_Well=wells), table.profiles, {})


def test_one_plate_with_replicates_has_its_activity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = one_plate()
    metrics, text = run(table)
    assert set(metrics.metric) == {"activity_map", "activity_map_random_features"}
    assert one(metrics, "activity_map", None).value > 0.9 > one(metrics, "activity_map_random_features", None).value
    assert "the table has one plate only" in text
    path = write_wells(tmp_path / "wells.parquet", table.metadata, table.profiles, {})
    page = evaluate(path, tmp_path / "report", umap=False).read_text()
    assert "36 wells on 1 plate," in page and "All labelled wells are on one plate" in page
    assert "Do replicates come before controls?" in page and "k-NN" not in page and "Position control" not in page
    said = capsys.readouterr().out
    assert "6 labels, 24 wells\nactivity mAP" in said and "chance" not in said
    with pytest.raises(UserError, match="Without --fast, activity"):
        evaluate(path, tmp_path / "report", fast=True)


def test_a_label_with_one_well_counts_as_wrong() -> None:
    table = screen()
    table.metadata.loc[0, "Metadata_Compound"] = "once"
    metrics, text = run(table)
    accuracy = one(metrics, "knn_accuracy")
    assert accuracy.n == 24 and accuracy.value <= 23 / 24
    assert "1 of 24 test wells have a label that no training well has" in text
    assert one(metrics, "activity_map", None).n == 6  # a well without replicates has no precision


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_the_unit_of_values_changes_nothing_or_is_refused(scale: float) -> None:
    table = screen()
    scaled = WellsTable(table.metadata, table.profiles * np.float32(scale), {})
    if 1e-15 < scale < 1e15:
        pd.testing.assert_frame_equal(run(scaled)[0], run(table)[0])
        return
    with pytest.raises(UserError, match=r"largest value .* Scale the features"):
        run(scaled)


def test_constant_features_change_little_and_nan_is_refused() -> None:
    table = screen()
    wide = WellsTable(table.metadata, np.hstack([table.profiles, np.zeros((36, 5), np.float32)]), {})
    plain, _ = run(table)
    metrics, text = run(wide)
    ours = metrics.metric == "knn_accuracy"
    np.testing.assert_array_equal(metrics.value[ours], plain.value[plain.metric == "knn_accuracy"])
    assert "5 of 21 features are the same in all wells" in text
    with pytest.raises(UserError, match="All profiles are the same"):
        run(WellsTable(table.metadata, np.ones_like(table.profiles), {}))


def test_nan_is_refused_before_anything_is_scored(tmp_path: Path) -> None:
    table = screen()
    table.profiles[3, 2] = np.nan
    path = write_wells(tmp_path / "wells.parquet", table.metadata, table.profiles, {})
    with pytest.raises(UserError, match="1 of 36 profiles have empty or infinite values"):
        evaluate(path, tmp_path / "report")


def test_wells_that_stand_twice_are_scored_once() -> None:
    table = screen()
    twice = WellsTable(
        pd.concat([table.metadata, table.metadata[:10]], ignore_index=True),
        np.concatenate([table.profiles, table.profiles[:10]]),
        {},
    )
    plain, _ = run(table)
    metrics, text = run(twice)
    pd.testing.assert_frame_equal(metrics, plain)
    assert "10 rows repeat plate, well and values of another row" in text


def test_a_plate_under_two_names_is_called_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = screen()
    again = table.metadata[:9].assign(Metadata_Plate="P0_DL")
    both = pd.concat([table.metadata, again], ignore_index=True)
    path = write_wells(tmp_path / "wells.parquet", both, np.concatenate([table.profiles, table.profiles[:9]]), {})
    page = evaluate(path, tmp_path / "report", fast=True, align=0.5).read_text(encoding="utf-8")
    assert "9 profiles stand on two plates (P0 and P0_DL)" in page
    assert "9 profiles stand on two plates" in capsys.readouterr().out
    # Fast: no mAP, no intervals, no map.
    metrics = pd.read_csv(tmp_path / "report" / "metrics.csv")
    assert metrics.k.notna().all() and metrics.low.isna().all()
    assert "Do replicates" not in page and "Map of wells" not in page


def test_folds_are_asked_for(tmp_path: Path) -> None:
    table = screen()
    path = write_wells(tmp_path / "wells.parquet", table.metadata, table.profiles, {})
    with pytest.raises(UserError, match="--folds 1"):
        evaluate(path, tmp_path / "report", folds=1)
    with pytest.raises(UserError, match="alpha = -1"):
        evaluate(path, tmp_path / "report", align=-1.0)
    with pytest.raises(UserError, match="no column 'nope'"):
        evaluate(path, tmp_path / "report", group="nope", fast=True)
    scores = score_all(screen(6), folds=3, fast=True).scores
    assert {len(np.unique(s.folds)) for s in scores if s.metric == "knn_accuracy"} == {3}
    assert {len(np.unique(s.folds)) for s in scores if s.metric == "knn_accuracy_not_same_plate"} == {6}


def test_genes_as_labels_at_several_positions() -> None:
    table = screen()
    genes = table.metadata.Metadata_Compound.map({f"C{i}": f"G{i // 2}" for i in range(6)})
    table = WellsTable(table.metadata.assign(Metadata_Gene=genes), table.profiles, {})
    metrics, _ = run(table, label="Gene", control="Compound=DMSO", align=0.5)
    assert one(metrics, "knn_accuracy_not_same_well", alignment="training").n == 24
    # Compounds of a gene have nothing in common here: what 1-NN finds are the wells at the same position.
    assert one(metrics, "knn_accuracy", alignment="training").value > 0.9
    assert one(metrics, "knn_accuracy_not_same_well", alignment="training").value < 0.5
    assert one(run(table)[0], "consistency_map", None).n == 3
