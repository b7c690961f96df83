from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.evaluation.checks import check_wells, first_equal
from sslprofiler_core.profiling import WellsTable


def table(plates: int = 3, wells: int = 4, width: int = 100) -> WellsTable:
    rows = [(f"P{p}", f"A{w + 1:02d}") for p in range(plates) for w in range(wells)]
    values = np.random.default_rng(0).normal(size=(len(rows), width)).astype(np.float32)
    return WellsTable(pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well"]), values, {})


def changed(wells: WellsTable, metadata: pd.DataFrame | None = None) -> WellsTable:
    return WellsTable(wells.metadata if metadata is None else metadata, wells.profiles, {})


def test_a_sound_table_passes_as_it_is() -> None:
    wells = table()
    assert check_wells(wells) == (wells, [], [])


def test_rows_that_repeat_a_row_are_left_out() -> None:
    wells = table()
    twice = WellsTable(
        pd.concat([wells.metadata] * 2, ignore_index=True), np.concatenate([wells.profiles, wells.profiles]), {}
    )
    kept, warnings, notes = check_wells(twice)
    pd.testing.assert_frame_equal(kept.metadata, wells.metadata)
    np.testing.assert_array_equal(kept.profiles, wells.profiles)
    assert warnings == [] and "12 rows repeat" in notes[0]


def test_wells_that_stand_twice_with_other_values_stay() -> None:
    wells = table()
    wells.metadata.loc[1, "Metadata_Well"] = "A01"
    kept, warnings, notes = check_wells(wells)
    assert len(kept.metadata) == 12 and warnings == [] and "1 wells stand in the table more than once" in notes[0]


def test_a_plate_under_two_names_is_a_warning() -> None:
    wells = table()
    wells.profiles[4:8] = wells.profiles[:4]
    _, warnings, _ = check_wells(wells)
    assert "4 profiles stand on two plates (P0 and P1)" in warnings[0]
    wells.profiles[0:8] = 0.0  # empty profiles, which equal each other, are not one plate
    assert check_wells(wells)[1] == []


def test_rows_that_agree_in_most_values_are_not_equal() -> None:
    values = np.zeros((3, 1000), np.float32)
    values[1, 7] = 1.0
    assert first_equal(values).tolist() == [0, 1, 0]


def test_constant_features_are_noted_and_constant_profiles_refused() -> None:
    wells = table()
    wells.profiles[:, :3] = 2.0
    assert "3 of 100 features are the same in all wells" in check_wells(wells)[2][0]
    wells.profiles[:] = 2.0
    with pytest.raises(UserError, match="All profiles are the same"):
        check_wells(wells)


@pytest.mark.parametrize("name", ["Metadata_Plate", "Metadata_Well"])
def test_wells_without_place_are_refused(name: str) -> None:
    wells = table()
    metadata = wells.metadata.astype(object)
    metadata.loc[[2, 5], name] = None
    with pytest.raises(UserError, match=f"2 of 12 wells have no {name}"):
        check_wells(changed(wells, metadata))
