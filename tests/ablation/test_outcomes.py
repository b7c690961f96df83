"""Means over seeds and plates, and differences that are paired."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.ablation.outcomes import difference_of, mean_of


def table(rights: list[int], metric: str = "knn_accuracy") -> pd.DataFrame:
    plates = [f"P{number}" for number in range(len(rights))]
    return pd.DataFrame({"metric": metric, "k": 1, "alignment": "none", "plate": plates, "right": rights, "n": 10})


def test_a_mean_is_right_over_tested_and_its_interval_holds_it() -> None:
    mean = mean_of([table([4, 6]), table([5, 9])], "knn_accuracy", 1)
    assert mean is not None and mean.value == pytest.approx(24 / 40)
    assert 0.4 <= mean.low < mean.value < mean.high <= 0.9
    assert mean_of([table([4, 6])], "position_control", 1) is None and mean_of([], "knn_accuracy", 1) is None


def test_the_interval_is_that_of_drawn_seeds_and_plates() -> None:
    grid = np.array([[4, 6, 2], [5, 9, 7]])
    mean = mean_of([table(list(row)) for row in grid], "knn_accuracy", 1)
    random = np.random.default_rng(1)
    draws = [grid[random.integers(0, 2, 2)][:, random.integers(0, 3, 3)].mean() / 10 for _ in range(20_000)]
    assert mean is not None
    np.testing.assert_allclose([mean.low, mean.high], np.quantile(draws, [0.025, 0.975]), atol=0.03)


def test_what_two_rows_have_in_common_cancels() -> None:
    base = [table([1, 9, 5]), table([2, 8, 4])]
    more = [each.assign(right=each["right"] + 1) for each in base]
    found = difference_of(more, base, 1)
    assert found is not None and found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1) and found.high == pytest.approx(0.1)
    assert difference_of([table([1, 2])], [table([1, 2, 3])], 1) is None
