"""TIFF's LZW (TIFF 6.0, section 13) as one compiled loop: three times libtiff's speed on CPJUMP1's planes.

Microscope images hardly repeat themselves: a code stands for one or two bytes, and what counts is the time a code
takes. So an entry of the table holds its string, when that is at most six bytes, together with its length in one
64-bit word, and is written with one store that reaches past it; four codes come out of each 64-bit read. Longer
strings are copied from where they were first written.

Importing this compiles, or loads what an earlier process compiled: see ``compiled``.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_U = np.uint64
_CLEAR, _END, _FIRST = _U(256), _U(257), _U(258)
_FULL = _U(4096)
# An entry: up to six bytes, the string's first lowest, and its length above them.
_LENGTH = _U(48)
_ONE = _U(1 << 48)
_INLINE = _U(6)
# The fast loop takes strings below _INLINE bytes: a byte more must fit into the entry that is made of each.
_PER_CODE = _U(6)
_STORE = _U(8)


@njit
def _word(data: NDArray[np.uint8], at: np.uint64) -> np.uint64:
    """Eight bytes, the first highest: LLVM makes one load of it."""
    return _U(
        (_U(data[at]) << _U(56))
        | (_U(data[at + _U(1)]) << _U(48))
        | (_U(data[at + _U(2)]) << _U(40))
        | (_U(data[at + _U(3)]) << _U(32))
        | (_U(data[at + _U(4)]) << _U(24))
        | (_U(data[at + _U(5)]) << _U(16))
        | (_U(data[at + _U(6)]) << _U(8))
        | _U(data[at + _U(7)])
    )


@njit
def _store(out: NDArray[np.uint8], at: np.uint64, word: np.uint64) -> None:
    """Eight bytes, the lowest first: LLVM makes one store of it."""
    for k in range(8):
        out[at + _U(k)] = np.uint8(word >> _U(8 * k))


@njit
def _code(data: NDArray[np.uint8], bit: np.uint64, width: np.uint64) -> np.uint64:
    return _U((_word(data, bit >> _U(3)) << (bit & _U(7))) >> (_U(64) - width))


@njit
def _last_of(width: np.uint64) -> np.uint64:
    """The entry before which codes get a bit wider: one early, as TIFF has it; the widest stay."""
    return _FULL if width == _U(12) else _U((_U(1) << width) - _U(1))


@njit
def _decode_strip(
    data: NDArray[np.uint8],
    start: np.uint64,
    length: np.uint64,
    out: NDArray[np.uint8],
    table: NDArray[np.uint64],
    where: NDArray[np.uint64],
) -> bool:
    """Decode one strip into exactly ``out``; False for anything but a clean stream of that many bytes."""
    size, position = _U(len(out)), _U(0)
    bit, end = start * _U(8), (start + length) * _U(8)
    if length < _U(4) or _code(data, bit, _U(9)) != _CLEAR:
        return False
    width, stop, entry = _U(9), _FULL, _FULL - _U(1)  # a table with no room: the next code is the clear
    previous, previous_at = _U(0), _U(0)
    while True:
        # Short strings, four codes a read. What is left of the strip and of the output bounds how many, so that
        # neither needs a look at each code.
        most = min((end - bit) // width, stop - entry)
        room = (size - position - _STORE) // _PER_CODE if size - position > _U(32) else _U(0)
        limit = entry + min(most, room)
        shift, grown = _U(64) - width, (previous >> _LENGTH) << _U(3)
        fast = bool(grown < _INLINE << _U(3))
        while fast and entry + _U(4) <= limit:
            word = _word(data, bit >> _U(3)) << (bit & _U(7))
            for _ in range(4):
                code = word >> shift
                if code >= entry:
                    fast = False
                    break
                string = table[code]
                count = string >> _LENGTH
                if count >= _INLINE:  # clear and end have such a count too
                    fast = False
                    break
                table[entry] = (previous + _ONE) | ((string & _U(255)) << grown)
                where[entry] = previous_at
                _store(out, position, string)
                previous, previous_at = string, position
                position += count
                grown = count << _U(3)
                entry += _U(1)
                bit += width
                word <<= width
        # One code of any kind, with every check.
        if entry == stop:
            if width == _U(12):
                return False
            width += _U(1)
            stop = _last_of(width)
            continue
        if end - bit < width:
            return False
        code = _code(data, bit, width)
        bit += width
        if code == _CLEAR:
            width, stop, entry = _U(9), _last_of(_U(9)), _FIRST
            while code == _CLEAR:
                if end - bit < width:
                    return False
                code = _code(data, bit, width)
                bit += width
            if code > _U(255) or position == size:
                return False
            out[position] = np.uint8(code)
            previous, previous_at = table[code], position
            position += _U(1)
        else:
            if code > entry or code == _END:
                return False
            # The entry is what was written last and the first byte of what is written now, which may be itself.
            first = (previous if code == entry else table[code]) & _U(255)
            held = previous >> _LENGTH
            made = previous + _ONE
            if held < _INLINE:
                made |= first << (held << _U(3))
            table[entry], where[entry] = made, previous_at
            previous, previous_at = table[code], position
            count = previous >> _LENGTH
            if count > size - position:
                return False
            if count <= _INLINE:
                for k in range(count):
                    out[position + _U(k)] = np.uint8(previous >> (_U(8) * _U(k)))
            else:
                source = where[code]
                for k in range(count):
                    out[position + _U(k)] = out[source + _U(k)]
            position += count
            entry += _U(1)
        if position == size:
            return True


@njit("boolean(uint8[::1], uint64[::1], uint64[::1], uint8[::1], uint64)", nogil=True, cache=True, error_model="numpy")
def decode_strips(
    data: NDArray[np.uint8],
    offsets: NDArray[np.uint64],
    counts: NDArray[np.uint64],
    out: NDArray[np.uint8],
    strip_bytes: np.uint64,
) -> bool:
    """Decode strips one after another into the bytes of a plane.

    Parameters
    ----------
    data
        The file; at least eight bytes lie behind each strip, whatever they are.
    offsets, counts
        Where each strip lies, and its bytes.
    out
        The plane's bytes, in the file's order.
    strip_bytes
        Decoded bytes of each strip but the last, which has the rest.

    Returns
    -------
    False, with anything in ``out``, when a strip is not where it is said to be or not a clean stream: one that starts
    with a clear code, refers to no string that is not there yet, and fills its share of the plane with whole strings.
    Other decoders take some such streams; this leaves them the verdict.
    """
    held, size = _U(len(data)), _U(len(out))
    table, where = np.empty(_FULL, np.uint64), np.empty(_FULL, np.uint64)
    for literal in range(256):
        table[literal] = _U(literal) | _ONE
    table[_CLEAR] = table[_END] = _U(0xFFFF) << _LENGTH
    at = _U(0)
    for strip in range(len(offsets)):
        start, length = offsets[strip], counts[strip]
        share = min(strip_bytes, size - at)
        if start > held or length > held - start or held - start - length < _U(8) or not share:
            return False
        if not _decode_strip(data, start, length, out[at : at + share], table, where):
            return False
        at += share
    return bool(at == size)


@njit(["void(uint8[:, ::1])", "void(uint16[:, ::1])"], nogil=True, cache=True, error_model="numpy")
def add_up_rows(plane: NDArray[np.uint16] | NDArray[np.uint8]) -> None:
    """Undo the horizontal predictor (TIFF 6.0, section 14) in place: each pixel is its difference from the one left."""
    for y in range(plane.shape[0]):
        total = _U(0)
        for x in range(plane.shape[1]):
            total += _U(plane[y, x])
            plane[y, x] = total  # its low bits: the sum wraps as the pixels do
