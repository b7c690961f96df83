"""Thumbnails' block means as one compiled loop: see ``thumbnails``, which has the same values without it.

Importing this compiles, or loads what an earlier process compiled: see ``compiled``.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_U = np.uint32


@njit("void(uint16[:, :, ::1], uint16[:, :, ::1], uint32)", nogil=True, cache=True, error_model="numpy")
def average_blocks(image_CHW: NDArray[np.uint16], means_Chw: NDArray[np.uint16], factor: np.uint32) -> None:
    """Average blocks of ``factor`` x ``factor`` pixels into ``means_Chw``, rounding half up; fewer at the far edges."""
    channels, height, width = image_CHW.shape
    sums = np.empty(width, np.uint32)
    for channel in range(channels):
        for row in range(means_Chw.shape[1]):
            top = row * factor
            bottom = min(top + factor, height)
            sums[:] = 0
            for y in range(top, bottom):
                for x in range(width):
                    sums[x] += _U(image_CHW[channel, y, x])
            for column in range(means_Chw.shape[2]):
                left = column * factor
                right = min(left + factor, width)
                total = _U(0)
                for x in range(left, right):
                    total += sums[x]
                count = _U((bottom - top) * (right - left))
                means_Chw[channel, row, column] = _U(total + count // _U(2)) // count
