"""The loops of `rounded_search`, compiled: rows to bfloat16 with what that loses, and true distances to the near.

Importing this loads what an earlier process compiled; the first on a machine compiles for two or three seconds.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

BLOCK = 32
FAR = 1e38  # beyond any distance that is compared; with no infinities sums and maxima become vector instructions
# Products and differences stay as written, so that equal rows are at exactly 0: no "contract", no "arcp".
_FAST = {"reassoc", "nnan", "ninf", "nsz"}

_U16, _U32, _F = np.uint16, np.uint32, np.float32


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def round_rows(
    rows_RD: NDArray[np.float32],
    divisors_R: NDArray[np.float32],
    centre_D: NDArray[np.float32],
    rounded_RD: NDArray[np.uint16],
    squares_R: NDArray[np.float32],
    lost_R: NDArray[np.float32],
) -> None:
    """Round ``rows / divisors - centre`` to bfloat16 (its bits), with squared lengths and lengths of what is lost."""
    count, width = rows_RD.shape
    shifted = np.empty(width, np.float32)
    bits = shifted.view(np.uint32)
    back = np.empty(width, np.uint32)
    nearest = back.view(np.float32)
    for row in range(count):
        divisor = divisors_R[row]
        for i in range(width):
            shifted[i] = rows_RD[row, i] / divisor - centre_D[i]
        for i in range(width):
            upper = (bits[i] + _U32(0x7FFF) + ((bits[i] >> _U32(16)) & _U32(1))) >> _U32(16)
            rounded_RD[row, i] = _U16(upper)
            back[i] = upper << _U32(16)
        square = lost = _F(0.0)
        for i in range(width):
            square += shifted[i] * shifted[i]
            lost += (shifted[i] - nearest[i]) * (shifted[i] - nearest[i])
        squares_R[row] = square
        lost_R[row] = np.sqrt(lost)


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def rank_rows(
    products_QP: NDArray[np.uint16],
    queries_QD: NDArray[np.float32],
    query_divisors_Q: NDArray[np.float32],
    query_squares_Q: NDArray[np.float32],
    query_lost_Q: NDArray[np.float32],
    panel_PD: NDArray[np.float32],
    divisors_P: NDArray[np.float32],
    squares_P: NDArray[np.float32],
    lost_P: NDArray[np.float32],
    empty_P: NDArray[np.bool_],
    query_empty_Q: NDArray[np.bool_],
    cosine: bool,
    product_slack: float,
    slack: float,
    first: int,
    most: int,
    distances_Qk: NDArray[np.float32],
    indices_Qk: NDArray[np.int64],
    looked_Q: NDArray[np.int64],
) -> None:
    """Put the rows of a panel that are among the nearest in their places.

    Parameters
    ----------
    products_QP
        Of rounded rows, rounded to bfloat16 (its bits).
    product_slack, slack
        How much of ``|q| |d|`` the sum of a product may lose in float32, and of itself a sum of squares made here.
    first
        Number of the panel's first row.
    most
        Queries that want more true distances than this are left alone from then on.
    distances_Qk, indices_Qk, looked_Q
        The nearest so far, by (distance, index), ``FAR`` where there is none; true distances computed. Changed.
    """
    count, width = len(panel_PD), queries_QD.shape[1]
    k = distances_Qk.shape[1]
    blocks = -(-count // BLOCK)
    bits = np.empty(blocks * BLOCK, np.uint32)
    # 2 q.d - |d|^2, which is |q|^2 - |q - d|^2, and all that it may be too low by.
    upper = bits.view(np.float32)
    tops = np.empty(blocks, np.float32)
    query = np.empty(width, np.float32)
    lengths = np.sqrt(squares_P)
    kept = squares_P * _F(1.0 - slack)
    for q in range(len(queries_QD)):
        if looked_Q[q] > most:
            continue
        for i in range(width):
            query[i] = queries_QD[q, i] / query_divisors_Q[q]
        for j in range(count):
            bits[j] = _U32(products_QP[q, j]) << _U32(16)
        length = np.sqrt(query_squares_Q[q])
        by_lost = _F(2.01) * length
        by_length = _F(2.01) * query_lost_Q[q] + _F(2.01 * product_slack) * length
        for j in range(count):
            product = upper[j]
            upper[j] = (
                _F(2.0) * product + _F(2.0**-7) * abs(product) + by_lost * lost_P[j] + by_length * lengths[j] - kept[j]
            )
        upper[count:] = _F(-FAR)
        for block in range(blocks):
            top = upper[block * BLOCK]
            for j in range(block * BLOCK + 1, (block + 1) * BLOCK):
                top = max(top, upper[j])
            tops[block] = top
        done = _F(FAR)
        # The likely ones first; then, with a distance to beat, all that may beat it.
        for sweep in range(2):
            if sweep == 0 and distances_Qk[q, k - 1] < _F(FAR):
                continue
            if sweep == 1:
                least = _least(distances_Qk[q, k - 1], query_squares_Q[q], cosine, slack)
            elif blocks > k:
                least = np.partition(tops, blocks - k)[blocks - k]
            else:
                least = _F(-0.5 * FAR)
            for block in range(blocks):
                if tops[block] < least:
                    continue
                for j in range(block * BLOCK, min(block * BLOCK + BLOCK, count)):
                    if upper[j] < least or upper[j] >= done:
                        continue
                    if cosine and (empty_P[j] or query_empty_Q[q]):
                        far = _F(1.0)
                    else:
                        if looked_Q[q] >= most:
                            looked_Q[q] = most + 1
                            break
                        looked_Q[q] += 1
                        square = _F(0.0)
                        for i in range(width):
                            difference = query[i] - panel_PD[j, i] / divisors_P[j]
                            square += difference * difference
                        far = _F(0.5) * square if cosine else np.sqrt(square)
                    if _insert(distances_Qk[q], indices_Qk[q], far, first + j) and sweep == 1:
                        least = _least(distances_Qk[q, k - 1], query_squares_Q[q], cosine, slack)
            done = least


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _least(last: float, query_square: float, cosine: bool, slack: float) -> np.float32:
    """What ``|q|^2 - |q - d|^2`` must reach to be no farther than ``last``."""
    reach = _F(2.0) * last if cosine else last * last
    return query_square * _F(1.0 - slack) - reach * _F(1.0 + 2.0 * slack)


@njit(nogil=True, cache=True, fastmath=_FAST, error_model="numpy")
def _insert(distances_k: NDArray[np.float32], indices_k: NDArray[np.int64], far: float, index: int) -> bool:
    """Put one in its place by (distance, index); False if it is not among the nearest."""
    at = len(distances_k)
    while at > 0 and (distances_k[at - 1] > far or (distances_k[at - 1] == far and indices_k[at - 1] > index)):
        at -= 1
    if at == len(distances_k):
        return False
    for place in range(len(distances_k) - 1, at, -1):
        distances_k[place], indices_k[place] = distances_k[place - 1], indices_k[place - 1]
    distances_k[at], indices_k[at] = far, index
    return True
