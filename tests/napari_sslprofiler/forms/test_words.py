from __future__ import annotations

import pytest

from napari_sslprofiler.forms import words


@pytest.mark.parametrize(
    ("key", "description", "label"),
    [
        ("flip", "Probability of each flip", "Flip (probability)"),
        ("augment.elastic_alpha", "Elastic magnitude alpha in site pixels", "Elastic alpha (site px)"),
        ("memory_gb", "Decoded sites kept in memory while training, in GB", "Memory (GB)"),
        ("lr_final", "Learning rate at the end", "Learning rate final"),
        ("ibot", "lambda1, the weight of iBOT", "iBOT"),
        ("checkpoint_minutes", "Minutes between checkpoints", "Checkpoint minutes"),
        ("never_seen", "", "Never seen"),
    ],
)
def test_keys_become_words_with_their_unit(key: str, description: str, label: str) -> None:
    assert words.label_of(key, description) == label


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.4, "0.4"),
        (4 / 3, "1.33"),
        (2e-5, "2e-05"),
        (65536, "65,536"),
        (1200.0, "1,200"),
        (True, "on"),
        ((0.32, 1.0), "0.32 – 1"),
        ("fan_in", "1 / fan-in"),
        (0, "0"),
    ],
)
def test_values_are_short(value: object, text: str) -> None:
    assert words.value_text(value) == text


def test_a_validators_message_becomes_a_sentence() -> None:
    assert words.as_sentence("Value error, crop must ascend within 0 to 1") == "Crop must ascend within 0 to 1."
