"""Microscope noise for a CPU as one compiled loop: the formulas of ``noise``, a block of pixels at a time in registers.

Operation by operation, torch reads and writes memory some eighty times a pixel, and holds Python's lock at each start
and end, so that threads wait for each other. The counts are the same as there; normals differ by rounding.

Importing this compiles, or loads what an earlier process compiled: a second or three. ``noise`` does so for large
images alone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

_BLOCK = 512
_U, _I, _F = np.uint32, np.int32, np.float32  # numba would widen every operation's result


@njit
def _word(index: np.uint32, multiplier: np.uint32, offset: np.uint32, inner: np.uint32) -> np.uint32:
    x = _U(_U(index * multiplier) + offset)
    x = _U(_U(x ^ (x >> _U(16))) * _U(0x7FEB352D))
    x = _U(_U(_U(x ^ (x >> _U(15))) ^ inner) * _U(0x846CA68B))
    return _U(x ^ (x >> _U(16)))


@njit
def _radius(word: np.uint32) -> np.float32:
    """sqrt(-2 ln u), u = (upper 24 bits + 1/2) / 2^24; with u = 2^e m, m in [sqrt(1/2), sqrt(2)), ln m as a series."""
    value = _F(_I(word >> _U(8))) + _F(0.5)
    bits = np.float32(value).view(np.int32)
    exponent = _I((bits - _I(0x3F3504F3)) >> _I(23))  # 0x3F3504F3: sqrt(1/2)'s bits, one above
    mantissa = np.int32(bits - _I(exponent << _I(23))).view(np.float32)
    s = _F((mantissa - _F(1.0)) / (mantissa + _F(1.0)))  # ln m = 2 (s + s^3 / 3 + s^5 / 5 + ...), |s| < 0.172
    q = _F(s * s)
    series = _F(_F(_F(_F(_F(_F(1 / 9) * q) + _F(1 / 7)) * q + _F(1 / 5)) * q + _F(1 / 3)) * q)
    log = _F(_F(2.0) * (s + _F(s * series))) + _F(_F(exponent - _I(24)) * _F(math.log(2.0)))
    return _F(np.sqrt(max(_F(_F(-2.0) * log), _F(0.0))))


@njit
def _cosine_sine(word: np.uint32) -> tuple[np.float32, np.float32]:
    """Cosine and sine of word / 2^32 turns: the nearest quarter turn, and Taylor's series about it."""
    turn = _I(word)
    quarter = _I((turn + _I(0x20000000)) >> _I(30))
    x = _F(_F(_I(turn - _I(quarter << _I(30)))) * _F(math.pi / 2 * 2.0**-30))
    q = _F(x * x)
    sine = _F(_F(_F(_F(_F(_F(1 / 362880) * q) - _F(1 / 5040)) * q + _F(1 / 120)) * q - _F(1 / 6)) * q)
    sine = _F(x + _F(x * sine))
    cosine = _F(_F(_F(_F(_F(_F(-1 / 3628800) * q) + _F(1 / 40320)) * q - _F(1 / 720)) * q + _F(1 / 24)) * q - _F(0.5))
    cosine = _F(_F(1.0) + _F(q * cosine))
    across = sine if quarter & _I(1) else cosine
    down = cosine if quarter & _I(1) else sine
    return (-across if (quarter + _I(1)) & _I(2) else across), (-down if quarter & _I(2) else down)


@njit(nogil=True, cache=True, error_model="numpy")
def add_noise(
    image_PN: NDArray[np.float32],
    first_P: NDArray[np.uint32],
    salts_S3: NDArray[np.uint32],
    steps_G: NDArray[np.float32],
    bits_G: NDArray[np.int32],
    offset_G: NDArray[np.int32],
    start_G: NDArray[np.int32],
    first: NDArray[np.int32],
    threshold: NDArray[np.int32],
    jump: NDArray[np.int32],
    step: np.float32,
    shot: np.float32,
    dark: np.float32,
    read: np.float32,
) -> None:
    """Add noise to one sample's pixels in [0, 1], in place.

    Parameters
    ----------
    image_PN
        One plane, or two that share pairs of normals.
    first_P
        Index of each plane's first pixel in the sample.
    salts_S3
        Constants of the streams: the grids', then of the rest, the radius and the turn.
    steps_G, bits_G, offset_G, start_G, first, threshold, jump
        The grids' tables, as in ``noise.NoiseTables``.
    step
        The last grid's step as a rate.
    shot, dark, read
        Strengths.
    """
    planes, pixels = image_PN.shape
    grids, has_first = len(steps_G), bool(first.any())
    rest, level = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.int32)
    word, other = np.empty(_BLOCK, np.uint32), np.empty(_BLOCK, np.uint32)
    photons, normal = np.empty((2, _BLOCK), np.float32), np.empty((2, _BLOCK), np.float32)
    for start in range(0, pixels, _BLOCK):
        count = min(_BLOCK, pixels - start)
        for plane in range(planes):
            index = _U(first_P[plane] + _U(start))
            for i in range(count):
                rest[i] = image_PN[plane, start + i]
                photons[plane, i] = _F(0.0)
            for grid in range(grids):
                a, b, c = salts_S3[grid]
                steps, bits = steps_G[grid], bits_G[grid]
                mask, shift = _I((_I(1) << bits) - _I(1)), _U(_I(32) - bits)
                fraction = _U(_U(0xFFFFFFFF) >> _U(bits))
                for i in range(count):
                    word[i] = _word(_U(index + _U(i)), a, b, c)
                for i in range(count):
                    scaled = _F(rest[i] * steps)
                    level[i] = _I(scaled)
                    rest[i] = _F(scaled - _F(level[i]))
                for i in range(count):
                    column = _I(_I(word[i] >> shift) & mask)
                    cell = offset_G[grid] + (np.int64(level[i]) << bits) + column
                    more = jump[cell] if _I(word[i] & fraction) >= threshold[cell] else _I(0)
                    photons[plane, i] += _F(column + more)
                if has_first:
                    for i in range(count):
                        photons[plane, i] += _F(first[start_G[grid] + level[i]])
            a, b, c = salts_S3[grids]
            for i in range(count):
                uniform = _F(_F(_I(_word(_U(index + _U(i)), a, b, c) & _U(0x7FFFFFFF))) * _F(2.0**-31))
                rate = _F(rest[i] * step)
                square = _F(rate * rate)
                cube = _F(square * rate)
                one = _F(_F(rate - _F(_F(0.5) * square)) + _F(cube * _F(1.0 / 6.0)))
                two = _F(_F(square * _F(0.5)) - _F(cube * _F(1.0 / 3.0)))
                three = _F(cube * _F(1.0 / 6.0))
                photons[plane, i] += _F(one > uniform) + _F(two > uniform) + _F(three > uniform)
        a, b, c = salts_S3[grids + 1]
        d, e, f = salts_S3[grids + 2]
        index = _U(first_P[0] + _U(start))
        for i in range(count):
            word[i] = _word(_U(index + _U(i)), a, b, c)
            other[i] = _word(_U(index + _U(i)), d, e, f)
        for i in range(count):
            radius = _F(read * _radius(word[i]))
            cosine, sine = _cosine_sine(other[i])
            normal[0, i] = _F(cosine * radius)
            normal[1, i] = _F(sine * radius)
        for plane in range(planes):
            for i in range(count):
                value = _F(_F(normal[plane, i] + dark) + _F(photons[plane, i] * shot))
                image_PN[plane, start + i] = min(max(value, _F(0.0)), _F(1.0))
