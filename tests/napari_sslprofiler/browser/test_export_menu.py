"""Export, annotate and copy from the window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from qtpy.QtGui import QGuiApplication

from napari_sslprofiler.browser.annotate import annotations_path
from napari_sslprofiler.browser.export_menu import AnnotationDialog, TakeAway
from napari_sslprofiler.browser.state import BrowserState, open_table

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


@pytest.fixture
def state(blank_state: Callable[..., BrowserState]) -> BrowserState:
    wells = [f"A{i + 1:02d}" for i in range(6)]
    return blank_state(pd.DataFrame({"Metadata_Plate": ["P"] * 6, "Metadata_Well": wells}))


@pytest.fixture
def menu(state: BrowserState, qtbot: QtBot) -> TakeAway:
    made = TakeAway(state)
    qtbot.addWidget(made)
    qtbot.waitUntil(lambda: not made.busy and made.keeper.annotations is not None)
    return made


def test_the_selection_is_exported(menu: TakeAway, state: BrowserState, tmp_path: Path, qtbot: QtBot) -> None:
    state.select([1, 4])
    said: list[str] = []
    menu.said.connect(said.append)
    menu.export(tmp_path / "some", ending=".csv")
    qtbot.waitUntil(lambda: not menu.busy and said[-1].startswith("exported"))
    assert pd.read_csv(tmp_path / "some.csv")["Metadata_Well"].tolist() == ["A02", "A05"]
    assert said[-1] == "exported 2 rows to some.csv"
    state.clear_selection()
    state.isolate([0])
    menu.export(tmp_path / "none" / "x.csv")
    qtbot.waitUntil(lambda: "Cannot write" in said[-1])
    menu.refresh()
    assert menu._export_action.text() == "Export 1 shown well …"


def test_annotations_are_columns_and_stay(menu: TakeAway, state: BrowserState, qtbot: QtBot) -> None:
    state.select([0, 2])
    menu.annotate("Phenotype", "round")
    assert list(state.values("Metadata_Phenotype")) == ["round", None, "round", None, None, None]
    state.colour_by("Metadata_Phenotype")
    qtbot.waitUntil(lambda: not menu.busy)
    table = state.table
    assert table is not None and annotations_path(table.path).exists()
    dialog = AnnotationDialog(menu.keeper.annotations, 2)
    qtbot.addWidget(dialog)
    assert dialog.column.currentText() == "Phenotype" and dialog.value.itemText(0) == "round"
    # Opened again, they are there.
    other = BrowserState()
    again = TakeAway(other)
    qtbot.addWidget(again)
    other.table = open_table(table.path)
    qtbot.waitUntil(lambda: "Metadata_Phenotype" in other.column_names)
    assert list(other.values("Metadata_Phenotype"))[2] == "round"
    menu.keeper.undo()
    assert "Metadata_Phenotype" not in state.column_names
    qtbot.waitUntil(lambda: not menu.busy)
    assert not annotations_path(table.path).exists()


def test_a_column_of_the_table_is_left_alone(menu: TakeAway, state: BrowserState) -> None:
    said: list[str] = []
    menu.said.connect(said.append)
    menu.annotate("Well", "x")
    assert "left alone" in said[-1]


def test_code_is_copied(menu: TakeAway, state: BrowserState) -> None:
    state.select([3])
    menu.copy_code()
    code = QGuiApplication.clipboard().text()
    assert "read_parquet" in code and "A04" in code
