from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.evaluation.products import Positions, Products, still
from sslprofiler_core.evaluation.search import ROUNDING
from sslprofiler_core.profiling import align

Floats = NDArray[np.float64]


def profiles(wells: int = 60, width: int = 40, seed: int = 0) -> NDArray[np.float32]:
    """Far from zero, of very different lengths, as features that nobody standardised are."""
    rng = np.random.default_rng(seed)
    return np.float32(rng.normal(size=(wells, width)) * rng.exponential(size=(wells, 1)) + 30.0)


def centred(values: Floats, mean: NDArray[np.float32]) -> Floats:
    return values - mean.astype(np.float64)


@pytest.mark.parametrize("keep", [True, False])
def test_products_are_of_centred_rows(keep: bool) -> None:
    values = profiles(1100)  # more than one tile
    products = Products(values, keep)
    own = centred(values.astype(np.float64), products.mean)
    exact = own @ own.T
    size = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    rows = np.array([5, 3, 1099])
    assert np.abs(products.rows(rows).numpy() - exact[rows]).max() < ROUNDING * size[rows].max()
    np.testing.assert_allclose(products.squares, np.diag(exact), rtol=1e-12)
    np.testing.assert_allclose(products.among(rows), exact[np.ix_(rows, rows)], rtol=1e-12)
    # The offsets put the mean back.
    raw = values.astype(np.float64) @ values.astype(np.float64).T
    np.testing.assert_allclose(exact + products.offsets[:, None] + products.offsets[None], raw, rtol=1e-6)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("alpha", [0.5, 0.0, 1.0])
def test_moved_rows_are_aligned_profiles(alpha: float, training: bool) -> None:
    values = profiles()
    plates, wells = np.repeat(["P0", "P1", "P2", "P3"], 15), np.tile([f"A{i:02d}" for i in range(15)], 4)
    wells[[0, 16]] = "A07"  # a well twice on its plate
    moving = plates != "P2" if training else None
    products = Products(values)
    rows = Positions(products, plates, wells).moved(alpha, moving)
    aligned = align(values.astype(np.float64), plates, wells, alpha, moving)
    every = np.arange(60)
    np.testing.assert_allclose(rows.exact(every), aligned, rtol=1e-12)
    own = centred(aligned, products.mean)
    np.testing.assert_allclose(rows.squares, (own**2).sum(axis=1), rtol=1e-10)
    tested, others = np.flatnonzero(plates == "P2"), np.flatnonzero(plates != "P2")
    exact = own[tested] @ own[others].T
    bound = ROUNDING * (rows.squares[tested][:, None] + rows.squares[others])
    assert (np.abs(rows.block(tested, others).numpy() - exact) < bound).all()
    raw = rows.squares + 2 * rows.offsets
    np.testing.assert_allclose(raw, (aligned**2).sum(axis=1), rtol=1e-10)


def test_queries_that_move_need_every_row_to_move() -> None:
    plates, wells = np.repeat(["P0", "P1"], 3), np.tile(["A01", "A02", "A03"], 2)
    rows = Positions(Products(profiles(6)), plates, wells).moved(0.5, plates == "P0")
    with pytest.raises(ValueError, match="not all rows"):
        rows.block(np.array([0]), np.array([1]))
    assert still(rows.products).block(np.array([0]), np.array([1, 2])).shape == (1, 2)


def test_what_is_refused() -> None:
    values = profiles(6)
    with pytest.raises(UserError, match="alpha = 2"):
        Positions(Products(values), np.repeat("P", 6), np.repeat("A01", 6)).moved(2.0)
    values[2, 2] = np.inf
    with pytest.raises(UserError, match="empty or infinite"):
        Products(values)
