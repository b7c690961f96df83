"""Random numbers as functions of (seed, step, sample, view, purpose): nothing random needs saving.

A key is an int64. ``fold`` derives keys from keys, ``uniforms`` and ``normals`` turn a key into numbers. A number
depends on its own key alone, never on the batch it is drawn in, so the same sample gets the same parameters on every
machine, rank and device, and in a preview. The mixing function is SplitMix64's finaliser (Steele, Lea and Flood 2014),
a bijection of 64 bits; it is vectorised, which a numpy generator a sample would not be.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX2
    return bits ^ (bits >> np.uint64(31))


def _word(part: Any) -> NDArray[np.uint64]:
    if isinstance(part, str):
        digest = hashlib.blake2b(part.encode(), digest_size=8).digest()
        return np.array(int.from_bytes(digest, "little"), np.uint64)
    return np.asarray(part, np.int64).view(np.uint64)


def fold(key: int | np.int64 | Keys, *parts: int | str | np.int64 | Keys) -> Keys:
    """Derive keys from a key and what it is for.

    Parameters
    ----------
    key
        A seed or keys, int64, any shape.
    parts
        Integers, strings (a purpose such as ``"crop"``) or int64 arrays that broadcast with ``key``.

    Returns
    -------
    int64 array of the broadcast shape (zero-dimensional for scalars).
    """
    with np.errstate(over="ignore"):
        state = _mix(_word(key) + _GOLDEN)
        for part in parts:
            state = _mix((state ^ _word(part)) * _MIX1 + _GOLDEN)
    return np.asarray(state).view(np.int64)


def _bits(keys: Keys, count: int) -> NDArray[np.uint64]:
    counter = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    with np.errstate(over="ignore"):
        return _mix(_mix(np.asarray(keys, np.int64).view(np.uint64)[..., None] + counter))


def uniforms(keys: Keys, count: int) -> NDArray[np.float64]:
    """Draw uniform numbers in [0, 1): shape ``keys.shape + (count,)``, float64 with 53 random bits."""
    return (_bits(keys, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normals(keys: Keys, count: int) -> NDArray[np.float64]:
    """Draw standard normal numbers by Box and Muller: shape ``keys.shape + (count,)``, float64."""
    pairs = (count + 1) // 2
    u = uniforms(keys, 2 * pairs)
    radius = np.sqrt(-2.0 * np.log1p(-u[..., :pairs]))
    angle = 2.0 * np.pi * u[..., pairs:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)[..., :count]


def permutation(key: int | np.int64 | Keys, count: int) -> NDArray[np.int64]:
    """Shuffle ``range(count)`` by one key."""
    return np.argsort(uniforms(np.asarray(key, np.int64), count), kind="stable")
