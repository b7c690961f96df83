from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sslprofiler_core.evaluation.bootstrap import label_interval
from sslprofiler_core.evaluation.folds import plate_folds, splits


@settings(max_examples=50)
@given(
    plates=st.lists(st.integers(0, 12), min_size=1, max_size=80),
    lines=st.integers(1, 3),
    count=st.integers(2, 6),
    seed=st.integers(0, 9),
)
def test_every_well_is_tested_once_and_no_plate_is_on_both_sides(
    plates: list[int], lines: int, count: int, seed: int
) -> None:
    plate = np.array(plates)
    line = np.array([f"L{p % lines}" for p in plates])
    tested = np.zeros(len(plate), int)
    for training, testing in splits(plate, line, "all", "all", count, seed):
        assert not set(plate[training]) & set(plate[testing])
        assert (training | testing).all()
        tested += testing
    assert (tested == (1 if len(set(plates)) > 1 else 0)).all()


def test_folds_share_plates_and_lines_fairly() -> None:
    plate = np.repeat(np.arange(20), 3)
    line = np.where(plate < 10, "A", "B")
    folds = plate_folds(plate, line, 5, 0)
    for fold in range(5):
        assert len(set(plate[folds == fold])) == 4
        assert len(set(plate[(folds == fold) & (line == "A")])) == 2
    assert len(set(plate_folds(plate[:15], line[:15], 5, 0))) == 5


def test_intervals_are_of_labels_not_wells() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), 20)
    clumped = np.repeat(rng.random(100) < 0.5, 20)
    low, high = label_interval(clumped, labels)
    p = clumped.mean()
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(p * (1 - p) / 100), rel=0.15)
    single = label_interval(clumped, np.arange(2000))
    assert (single[1] - single[0]) < 0.35 * (high - low)
    assert label_interval(np.ones(8, bool), labels[:8]) == (1.0, 1.0)
    assert label_interval(clumped, labels) == (low, high) != label_interval(clumped, labels, 1)
