"""UMAP's descent as one compiled loop (McInnes, Healy and Melville 2018, algorithm 5, in two dimensions).

Importing this loads what an earlier process compiled; the first on a machine compiles for a second or two.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_U = np.uint64


@njit(nogil=True, cache=True, fastmath=True, error_model="numpy")
def descend(
    places_N2: NDArray[np.float32],
    heads_E: NDArray[np.int32],
    tails_E: NDArray[np.int32],
    every_E: NDArray[np.float32],
    next_E: NDArray[np.float32],
    first: int,
    last: int,
    epochs: int,
    a: float,
    b: float,
    negatives: int,
    state_1: NDArray[np.uint64],
) -> None:
    """Move ``places_N2`` through epochs ``first`` to ``last`` of ``epochs``.

    Parameters
    ----------
    places_N2
        Changed in place.
    heads_E, tails_E
        Ends of the edges.
    every_E, next_E
        Epochs from one turn of an edge to the next, and the epoch of its next turn (changed).
    a, b
        Of the curve of closeness, see `umap_graph.curve`.
    negatives
        Random points that push a point away at each turn of an edge.
    state_1
        Of the generator (xorshift); changed.
    """
    count = _U(len(places_N2))
    word = state_1[0]
    fa, fb = np.float32(a), np.float32(b)
    one, four = np.float32(1.0), np.float32(4.0)
    for epoch in range(first, last):
        rate = np.float32(1.0 - epoch / epochs)
        for edge in range(len(heads_E)):
            if next_E[edge] > epoch:
                continue
            next_E[edge] += every_E[edge]
            i, j = heads_E[edge], tails_E[edge]
            x, y = places_N2[i, 0], places_N2[i, 1]
            dx, dy = x - places_N2[j, 0], y - places_N2[j, 1]
            square = dx * dx + dy * dy
            if square > np.float32(0.0):
                power = square**fb
                force = np.float32(-2.0) * fa * fb * power / (square * (fa * power + one))
                dx = rate * min(four, max(-four, force * dx))
                dy = rate * min(four, max(-four, force * dy))
                x, y = x + dx, y + dy
                places_N2[j, 0] -= dx
                places_N2[j, 1] -= dy
            for _ in range(negatives):
                word ^= word << _U(13)
                word ^= word >> _U(7)
                word ^= word << _U(17)
                k = np.int64((word >> _U(11)) % count)
                if k == i:
                    continue
                dx, dy = x - places_N2[k, 0], y - places_N2[k, 1]
                square = dx * dx + dy * dy
                if square > np.float32(0.0):
                    force = np.float32(2.0) * fb / ((np.float32(0.001) + square) * (fa * square**fb + one))
                    x += rate * min(four, max(-four, force * dx))
                    y += rate * min(four, max(-four, force * dy))
            places_N2[i, 0], places_N2[i, 1] = x, y
    state_1[0] = word
