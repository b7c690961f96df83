"""Schedules: values at the places that the paper and DINOv2 name."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from sslprofiler_core.recipes import load_recipe
from sslprofiler_core.training.schedules import cosine, step_settings

RECIPE = load_recipe("paper-vits14")
STEPS = 1000


def test_learning_rate_warms_up_over_ten_of_a_hundred_epochs_then_falls_to_its_end() -> None:
    rates = [step_settings(RECIPE, step, STEPS).lr for step in range(STEPS)]
    assert rates[0] == pytest.approx(2e-5 / 100)
    assert rates[49] == pytest.approx(1e-5)
    assert rates[99] == rates[100] == pytest.approx(2e-5) == max(rates)
    assert rates[550] == pytest.approx((2e-5 + 1e-6) / 2, rel=1e-3)
    assert rates[-1] == pytest.approx(1e-6, rel=1e-2)
    assert all(later < earlier for earlier, later in pairwise(rates[100:]))


def test_momentum_weight_decay_and_teacher_temperature_at_their_ends() -> None:
    first, last = step_settings(RECIPE, 0, STEPS), step_settings(RECIPE, STEPS - 1, STEPS)
    assert (first.momentum, first.weight_decay, first.teacher_temperature) == pytest.approx((0.992, 0.04, 0.04))
    assert last.momentum == pytest.approx(1.0, abs=1e-6)
    assert last.weight_decay == pytest.approx(0.4, abs=1e-5)
    assert step_settings(RECIPE, 150, STEPS).teacher_temperature == pytest.approx(0.055)
    assert step_settings(RECIPE, 300, STEPS).teacher_temperature == last.teacher_temperature == 0.07


def test_the_last_layer_is_frozen_for_the_first_hundredth() -> None:
    assert step_settings(RECIPE, 9, STEPS).last_layer_lr == 0.0
    assert step_settings(RECIPE, 10, STEPS).last_layer_lr == step_settings(RECIPE, 10, STEPS).lr


def test_cosine_against_its_formula() -> None:
    for fraction in (0.0, 0.2, 0.7, 1.0):
        assert cosine(3.0, 1.0, fraction) == pytest.approx(1 + 2 * math.cos(math.pi * fraction / 2) ** 2)


def test_a_run_of_one_step_has_settings() -> None:
    assert step_settings(load_recipe("tiny"), 0, 1).lr > 0
