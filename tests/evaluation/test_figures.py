from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cosine

from sslprofiler_core.evaluation.figures import (
    accuracy_bars,
    accuracy_per_label,
    loss_curves,
    replicate_similarities,
    replicate_similarity,
    transfer_matrix,
)


def test_bars_are_as_high_as_their_values() -> None:
    frame = pd.DataFrame(
        [
            ("ours", "k = 1", 0.5, 0.4, 0.7),
            ("ours", "k = 5", 0.25, np.nan, np.nan),
            ("random", "k = 1", 0.01, 0.0, 0.02),
        ],
        columns=["series", "group", "value", "low", "high"],
    )
    axes = accuracy_bars(frame, chance=0.02, title="t", hatched=["random"]).axes[0]
    assert sorted(round(bar.get_height(), 6) for bar in axes.patches if np.isfinite(bar.get_height())) == [
        1.0,
        25.0,
        50.0,
    ]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "random", "chance"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["k = 1", "k = 5"]
    assert axes.get_ylim()[1] > 70


def test_a_matrix_puts_training_on_rows() -> None:
    frame = pd.DataFrame(
        {"train": ["A", "A", "B", "all"], "test": ["A", "B", "A", "all"], "value": [0.5, 0.25, 0.125, 0.9]}
    )
    axes = transfer_matrix(frame).axes[0]
    assert [text.get_text() for text in axes.texts] == ["50.0", "25.0", "12.5", "–"]


@pytest.mark.parametrize("labels", [5, 60])
def test_labels_come_best_first(labels: int) -> None:
    names = np.repeat([f"c{i}" for i in range(labels)], 4)
    correct = np.tile([True, True, True, False], labels)
    correct[:4] = True
    correct[-4:] = False
    axes = accuracy_per_label(names, correct, chance=0.1).axes[0]
    if labels == 5:
        assert [round(bar.get_width()) for bar in axes.patches] == [100, 75, 75, 75, 0]
        assert axes.get_yticklabels()[0].get_text() == "c0"
    else:
        assert axes.get_title("right") == "always right: 1, never: 1"


def test_similarities_are_of_pairs_on_different_plates() -> None:
    rng = np.random.default_rng(0)
    profiles = rng.normal(size=(8, 5))
    plates, labels = np.repeat(["P1", "P2"], 4), np.array(["a", "b", "c", "d"] * 2)
    same, different = replicate_similarities(profiles, labels, plates)
    centred = np.concatenate([profiles[:4] - profiles[:4].mean(0), profiles[4:] - profiles[4:].mean(0)])
    np.testing.assert_allclose(sorted(same), sorted(1 - cosine(centred[i], centred[i + 4]) for i in range(4)))
    assert len(different) == 12
    assert len(replicate_similarities(profiles, labels, plates, most=4)[1]) <= 4
    axes = replicate_similarity(same, different, title="t").axes[0]
    assert axes.get_title(loc="left") == "t"
    assert len(replicate_similarity(same, np.empty(0)).axes) == 1


def test_losses_have_a_panel_a_run() -> None:
    table = pd.DataFrame({"step": range(9), "loss": np.linspace(3, 1, 9), "ibot": [np.nan, *range(8)]})
    figure = loss_curves({"fluorescence": table, "brightfield": table}, columns=["loss", "ibot", "absent"], smooth=3)
    assert len(figure.axes) == 2
    lines = figure.axes[0].get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), table.loss)
    assert len(lines) == 4
