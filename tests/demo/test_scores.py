from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sslprofiler_core.demo import words
from sslprofiler_core.demo.features import centred_per_plate
from sslprofiler_core.demo.scores import Difference, Results, measure, paired_difference
from sslprofiler_core.evaluation import Score


def score(correct: list[bool], rows: list[int] | None = None) -> Score:
    count = len(correct)
    return Score(
        "knn_accuracy",
        1,
        "cosine",
        "none",
        "all",
        "all",
        np.array(rows if rows is not None else range(count)),
        np.array(["a"] * count),
        np.zeros(count, np.int64),
        np.array(correct),
    )


def test_the_difference_is_paired_by_well() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random(60) < 0.6, rng.random(60) < 0.4
    turned = rng.permutation(60)
    found = paired_difference(score(one.tolist()), score(other[turned].tolist(), turned.tolist()))
    test = stats.ttest_rel(one.astype(float), other.astype(float))
    assert found.value == pytest.approx(one.mean() - other.mean())
    assert found.errors == pytest.approx(test.statistic)
    assert found.wells == 60
    with pytest.raises(ValueError, match="same wells"):
        paired_difference(score([True, False]), score([True, False], [1, 2]))


@pytest.mark.parametrize(
    ("value", "error", "verdict"),
    [(0.2, 0.05, "better"), (0.1, 0.05, "level"), (-0.2, 0.05, "worse"), (0.0, 0.0, "level"), (0.5, 0.0, "better")],
)
def test_verdicts_want_more_than_two_standard_errors(value: float, error: float, verdict: str) -> None:
    assert Difference(value, error, 100).verdict == verdict


class Fixed:
    """Results whose differences are given: (untrained, intensity, texture)."""

    def __init__(self, *values: float) -> None:
        self.values = dict(zip(("untrained", "intensity", "texture"), values, strict=True))

    def difference(self, features: str, other: str) -> Difference:
        return Difference(self.values[other], 0.05, 144)

    def score(self, features: str) -> Any:
        return SimpleNamespace(value=0.5)


@pytest.mark.parametrize(
    ("values", "sentences"),
    [
        ((0.3, 0.2, -0.2), ["Training helped", "beat hand-made intensity", "do not reach hand-made texture"]),
        ((-0.3, 0.0, 0.05), ["Training hurt", "are level, within two standard errors, with hand-made intensity"]),
        ((0.05, 0.2, 0.3), ["cannot be seen to have helped", "beat hand-made intensity", "and hand-made texture"]),
    ],
)
def test_sentences_follow_the_numbers(values: tuple[float, ...], sentences: list[str]) -> None:
    text, longer = (" ".join(words.verdicts(cast(Results, Fixed(*values)), full)) for full in (False, True))
    behind = "do not reach" in text
    assert ("`sslprofiler demo --full`" in text) == behind
    assert "--full" not in longer
    for sentence in sentences:
        assert sentence in text
    claims = ("Training helped", "Training hurt", "cannot be seen")
    assert sum(claim in text for claim in claims) == 1


def wells() -> pd.DataFrame:
    rows = [
        (f"P{plate}", f"A{well:02d}", f"c{well}" if well > 4 else "DMSO", f"L{plate % 2}")
        for plate in range(4)
        for well in range(1, 13)
    ]
    return pd.DataFrame(rows, columns=[f"Metadata_{n}" for n in ("Plate", "Well", "Compound", "CellType")])


def test_all_features_are_scored_alike() -> None:
    metadata = wells()
    rng = np.random.default_rng(0)
    truth = pd.factorize(metadata["Metadata_Compound"])[0]
    good = np.eye(128)[truth] + 0.01 * rng.normal(size=(len(metadata), 128))
    noise = rng.normal(size=(len(metadata), 5))
    # Shifted plates: only centred profiles find their own kind.
    shifts = 20 * rng.normal(size=(4, good.shape[1]))
    shifted = good + shifts[pd.factorize(metadata["Metadata_Plate"])[0]]
    networks = {name: {"both": v, "fluorescence": v} for name, v in (("trained", good), ("untrained", noise))}
    results = measure(metadata, networks, {"intensity": shifted, "texture": noise}, seed=0)
    assert results.labels == 8 and results.chance == pytest.approx(1 / 8)
    assert results.score("trained").value == 1.0
    assert results.score("intensity").value < 0.9 < results.score("intensity", centred=True).value
    assert results.difference("trained", "untrained").verdict == "better"
    assert results.difference("untrained", "texture").value == 0.0
    row = results.row("untrained", 5, channels="fluorescence")
    assert row.low <= row.value <= row.high and row.n == 32
    # Positions give compounds away: random features score high when tested wells are moved too.
    aligned = results.aligned.set_index(["metric", "alignment", "train"])["value"]
    assert aligned["knn_accuracy_random_features", "transductive", "all"] > 0.9
    assert aligned["knn_accuracy_random_features", "training", "all"] < 0.5
    assert "position_control" in set(results.numbers.metric)


def test_centring_takes_each_plate_to_zero() -> None:
    metadata = wells()
    profiles = np.random.default_rng(1).normal(size=(len(metadata), 3)) + 5
    centred = centred_per_plate(profiles, metadata)
    for plate in metadata["Metadata_Plate"].unique():
        own = (metadata["Metadata_Plate"] == plate).to_numpy()
        np.testing.assert_allclose(centred[own].mean(0), 0, atol=1e-6)
        np.testing.assert_allclose(centred[own] - centred[own][0], profiles[own] - profiles[own][0], atol=1e-5)
