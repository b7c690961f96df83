"""Counting pixels by level as one compiled loop: see ``intensity``, which has the same counts without it.

Importing this compiles, or loads what an earlier process compiled: see ``compiled``.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(
    ["void(uint8[:, ::1], int64[::1])", "void(uint16[:, ::1], int64[::1])"],
    nogil=True,
    cache=True,
    error_model="numpy",
)
def add_levels(plane: NDArray[np.uint16] | NDArray[np.uint8], counts: NDArray[np.int64]) -> None:
    """Add a plane's pixels of each level to ``counts``, which has a place for every level of the plane's type."""
    # Neighbours are often of one level: two tables, so that a count need not wait for the one just before.
    even, odd = np.zeros(len(counts), np.uint32), np.zeros(len(counts), np.uint32)
    for y in range(plane.shape[0]):
        whole = plane.shape[1] & ~1
        for x in range(0, whole, 2):
            even[plane[y, x]] += np.uint32(1)
            odd[plane[y, x + 1]] += np.uint32(1)
        for x in range(whole, plane.shape[1]):
            even[plane[y, x]] += np.uint32(1)
    for level in range(len(counts)):
        counts[level] += np.int64(even[level]) + np.int64(odd[level])
