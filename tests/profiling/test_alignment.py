from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import align, align_plates


@pytest.fixture
def wells() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [(p, w) for p in ("P1", "P2", "P3") for w in ("A01", "A02", "B01")]
    frame = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well"])
    frame["profile"] = list(rng.normal(size=(9, 5)).astype(np.float32))
    return frame.sample(frac=1, random_state=3)


def formula(frame: pd.DataFrame, alpha: float, plates: set[str]) -> np.ndarray:
    """Paper 3.3.3 written out, in float64."""
    result = []
    for plate, well, z in frame[["Metadata_Plate", "Metadata_Well", "profile"]].itertuples(index=False):
        if plate not in plates:
            result.append(z.astype(np.float64))
            continue
        same = frame[(frame.Metadata_Well == well) & frame.Metadata_Plate.isin(plates)]
        centre = sum(row.astype(np.float64) for row in same.profile) / len(same)
        result.append(alpha * z.astype(np.float64) + (1 - alpha) * centre)
    return np.stack(result)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_it_is_the_papers_formula(wells: pd.DataFrame, alpha: float) -> None:
    before = wells.copy(deep=True)
    aligned = align_plates(wells, alpha)
    expected = formula(wells, alpha, {"P1", "P2", "P3"})
    np.testing.assert_allclose(np.stack(aligned["profile"]), expected, atol=1e-6)
    assert list(aligned.index) == list(before.index)
    np.testing.assert_array_equal(np.stack(wells["profile"]), np.stack(before["profile"]))


def test_only_the_named_plates_give_centres_and_move(wells: pd.DataFrame) -> None:
    aligned = align_plates(wells, 0.5, plates=["P1", "P3"])
    np.testing.assert_allclose(np.stack(aligned["profile"]), formula(wells, 0.5, {"P1", "P3"}), atol=1e-6)


def test_one_column_a_feature_is_the_same(wells: pd.DataFrame) -> None:
    values = np.stack(wells["profile"])
    wide = wells.drop(columns="profile").assign(Metadata_Dose=1.5, **{f"f{i}": values[:, i] for i in range(5)})
    aligned = align_plates(wide, 0.25)
    expected = np.stack(align_plates(wells, 0.25)["profile"])
    np.testing.assert_allclose(aligned[[f"f{i}" for i in range(5)]].to_numpy(), expected, atol=1e-6)
    assert (aligned.Metadata_Dose == 1.5).all()


def test_one_plate_does_not_move(wells: pd.DataFrame) -> None:
    one = wells[wells.Metadata_Plate == "P2"]
    np.testing.assert_allclose(np.stack(align_plates(one, 0.1)["profile"]), np.stack(one["profile"]), atol=1e-7)


def test_a_plate_counts_once_where_its_well_stands_twice() -> None:
    profiles = np.array([[0.0], [0.0], [3.0]])
    plates, wells = np.array(["P1", "P1", "P2"]), np.array(["A01"] * 3)
    np.testing.assert_allclose(align(profiles, plates, wells, 0.0), [[1.5]] * 3)


def test_the_centre_does_not_move(wells: pd.DataFrame) -> None:
    values = np.stack(wells["profile"]).astype(np.float64)
    plates, well = wells.Metadata_Plate.to_numpy(), wells.Metadata_Well.to_numpy()
    once = align(values, plates, well, 0.5)
    np.testing.assert_allclose(align(once, plates, well, 0.5), align(values, plates, well, 0.25), atol=1e-12)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range(wells: pd.DataFrame, alpha: float) -> None:
    with pytest.raises(UserError, match="alpha"):
        align_plates(wells, alpha)


def test_unknown_plates_and_columns(wells: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="P9"):
        align_plates(wells, 0.5, plates=["P9"])
    with pytest.raises(UserError, match="Metadata_Well"):
        align_plates(wells.drop(columns="Metadata_Well"), 0.5)
    with pytest.raises(UserError, match="profile"):
        align_plates(wells.drop(columns="profile"), 0.5)
