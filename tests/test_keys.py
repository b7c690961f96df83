"""Keys: numbers depend on their own key alone, and look random."""

from __future__ import annotations

import numpy as np
from scipy import stats

from sslprofiler_core import keys


def test_numbers_do_not_depend_on_the_batch() -> None:
    several = keys.fold(3, "crop", np.arange(50))
    np.testing.assert_array_equal(keys.uniforms(several, 7)[13], keys.uniforms(several[13:14], 7)[0])
    np.testing.assert_array_equal(keys.normals(several, 7)[13], keys.normals(several[13:14], 7)[0])
    assert int(keys.fold(3, "crop", 13)) == several[13]


def test_purposes_and_order_of_parts_matter() -> None:
    drawn = {int(keys.fold(0, *parts)) for parts in (("a", 1), ("b", 1), (1, "a"), (1, 2), (2, 1), (1,), (2,))}
    assert len(drawn) == 7


def test_fixed_values_guard_against_a_change_that_would_break_resumed_runs() -> None:
    expected = [-6754966202006119739, -2696530877372997654, -2820008933418620560]
    assert keys.fold(np.array([0, 1, -1]), 5).tolist() == expected


def test_uniforms_are_uniform_and_independent_along_keys_and_counters() -> None:
    u = keys.uniforms(keys.fold(1, np.arange(400)), 500)
    assert u.min() >= 0 and u.max() < 1
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())[0, 1]) < 0.01


def test_normals_are_normal() -> None:
    z = keys.normals(keys.fold(2, np.arange(300)), 501)
    assert z.shape == (300, 501)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3


def test_permutations_permute() -> None:
    assert sorted(keys.permutation(9, 20).tolist()) == list(range(20))
