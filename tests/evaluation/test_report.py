from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.evaluation import evaluate
from sslprofiler_core.evaluation.protocol import COLUMNS
from sslprofiler_core.profiling import WellsTable, read_wells, write_wells


def wells(plates: int = 4, lines: int = 1, dmso: int = 3) -> WellsTable:
    rng = np.random.default_rng(0)
    phenotypes = rng.normal(size=(7, 12))
    rows, profiles = [], []
    for plate in range(plates):
        for well in range(6 + dmso):
            compound = max(0, well - dmso + 1)
            name = f"compound-{compound}" if compound else "DMSO"
            rows.append((f"P{plate}", f"B{well + 1:02d}", name, f"L{plate % lines}"))
            profiles.append(phenotypes[compound] + 0.5 * rng.normal(size=12))
    names = [f"Metadata_{n}" for n in ("Plate", "Well", "Compound", "CellType")]
    return WellsTable(pd.DataFrame(rows, columns=names), np.float32(profiles), {})


def save(path: Path, table: WellsTable, **info: object) -> Path:
    return write_wells(path, table.metadata, table.profiles, info)


def test_real_plates_from_files_to_report(cpjump1: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted((cpjump1 / "profiles").glob("*.csv.gz"))
    report = evaluate(files, tmp_path / "report", align=0.5, clip=10, umap=False)
    table = pd.read_csv(tmp_path / "report" / "metrics.csv")
    assert list(table.columns) == COLUMNS
    found = table[table.distance == "cosine"].set_index(["metric", "alignment", "k"])["value"]
    for key, percent in {
        ("knn_accuracy", "none", 1): 46.8,
        ("knn_accuracy", "training", 1): 50.8,
        ("knn_accuracy", "transductive", 1): 97.4,
        ("knn_accuracy_random_features", "transductive", 1): 100.0,
        ("position_control", "none", 1): 20.3,
    }.items():
        assert 100 * found[key] == pytest.approx(percent, abs=0.3), key
    page = report.read_text(encoding="utf-8")
    for words in ("46.8", "50.8", "Position control", "random features score 100.0", "metrics.csv", "306 labels"):
        assert words in page, words
    printed = capsys.readouterr().out
    assert "k-NN, training wells aligned" in printed and "position control" in printed


def test_two_cell_lines_get_their_matrix_and_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The map's own maker is tested in its room; here it would cost its ten seconds again.
    from sslprofiler_core.exploring import layout

    monkeypatch.setattr(layout, "umap_layout", lambda profiles, *, seed: np.zeros((len(profiles), 2)))
    page = evaluate(save(tmp_path / "w", wells(6, lines=2)), tmp_path / "r").read_text(encoding="utf-8")
    assert "From one cell line to another" in page and "Map of wells" in page
    table = pd.read_csv(tmp_path / "r" / "metrics.csv")
    assert len(table[(table.metric == "knn_accuracy") & (table.k == 1) & (table.distance == "cosine")]) == 5
    assert set(table.alignment) == {"none"}


def test_profiles_that_are_aligned_already_are_called_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path / "w", wells(), alignment={"mode": "transductive", "alpha": 0.5})
    page = evaluate(path, tmp_path / "r", umap=False).read_text(encoding="utf-8")
    assert "already aligned" in page
    assert "already aligned (alpha 0.5, transductive)" in capsys.readouterr().out


def test_without_controls_there_is_no_position_control(tmp_path: Path) -> None:
    page = evaluate(save(tmp_path / "w", wells(dmso=0)), tmp_path / "r", umap=False).read_text(encoding="utf-8")
    assert "No position control" in page and "no score for k = 20" in page
    assert set(pd.read_csv(tmp_path / "r" / "metrics.csv").metric) == {"knn_accuracy", "knn_accuracy_not_same_plate"}


def test_positions_that_hold_other_compounds_on_each_plate_give_nothing_away(tmp_path: Path) -> None:
    table = wells(dmso=0)
    shifted = [f"B{(i + plate) % 6 + 1:02d}" for plate in range(4) for i in range(6)]
    metadata = table.metadata.assign(Metadata_Well=shifted)
    path = save(tmp_path / "w", WellsTable(metadata, table.profiles, {}))
    assert "positions do not give the labels away" in evaluate(path, tmp_path / "r", align=0.5, umap=False).read_text()


def test_chance_is_a_guess_among_all_labels_where_few_are_tested(tmp_path: Path) -> None:
    table = wells()
    names = table.metadata.Metadata_Compound.replace("compound-6", "compound-5")  # at two positions, alone
    path = save(tmp_path / "w", WellsTable(table.metadata.assign(Metadata_Compound=names), table.profiles, {}))
    page = evaluate(path, tmp_path / "r", umap=False).read_text(encoding="utf-8")
    row = page.partition("wells at the tested position do not vote")[2].partition("</tr>")[0]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", row)[-2:] == ["20.0", "8"]


def test_labels_and_controls_by_name(tmp_path: Path) -> None:
    table = wells()
    metadata = table.metadata.rename(columns={"Metadata_Compound": "Metadata_Guide"})
    path = save(tmp_path / "w", WellsTable(metadata, table.profiles, {}))
    with pytest.raises(UserError, match="Metadata_Guide"):
        evaluate(path, tmp_path / "r")
    evaluate(path, tmp_path / "r", label="Guide", control="Guide=DMSO", umap=False)
    metrics = pd.read_csv(tmp_path / "r" / "metrics.csv")
    assert set(metrics.n[metrics.k.notna()]) == {24, 12}  # wells
    assert set(metrics.n[metrics.k.isna()]) == {6, 3}  # labels, positions


def test_what_cannot_be_evaluated(tmp_path: Path) -> None:
    path = save(tmp_path / "w", wells(1))
    with pytest.raises(UserError, match="at least two plates"):
        evaluate(path, tmp_path / "r")
    with pytest.raises(UserError, match="Cannot make the folder"):
        evaluate(path, path)
    with pytest.raises(UserError, match="--clip"):
        evaluate(path, tmp_path / "r", clip=0)
    with pytest.raises(UserError, match="alpha"):
        evaluate(save(tmp_path / "w", wells()), tmp_path / "r", align=2.0)
    assert read_wells(path).info == {}
