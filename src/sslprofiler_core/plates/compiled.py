"""The compiled loops over pixels, loaded once a process reads enough to earn what loading them costs.

numba takes half a second to import, and seconds to compile, once on a machine. So whatever has such a loop can also do
without it, to the same values: it does so for the first planes of a process, while a thread loads the loops, and for
all planes where numba does not run or has nowhere to keep what it compiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from threading import Thread
from typing import Any

# Large planes read with libraries before the loops are loaded: a few sites, as one looks at them.
_FROM = 32
_LARGE = 2**16
_READ = count(1)


@dataclass(frozen=True, slots=True)
class Loops:
    """The compiled loops: see ``lzw_kernel``, ``means_kernel`` and ``levels_kernel``."""

    decode_strips: Callable[..., Any]
    add_up_rows: Callable[..., Any]
    average_blocks: Callable[..., Any]
    add_levels: Callable[..., Any]


_LOADED: list[Loops] = []


def loops_for(pixels: int) -> Loops | None:
    """The loops, for a plane of so many pixels; None for small ones, and where and while there are none.

    The planes that ask are counted: from the 32nd large one on, a thread loads the loops.
    """
    if pixels < _LARGE:
        return None
    if _LOADED:
        return _LOADED[0]
    if next(_READ) == _FROM:
        # Not a daemon: a process that ends in the middle of compiling would take LLVM down with it.
        Thread(target=load_loops, name="compiled").start()
    return None


@lru_cache(maxsize=1)
def load_loops() -> Loops | None:
    """Load the loops now; None where numba does not run, or has nowhere to keep what it compiles."""
    try:
        from .levels_kernel import add_levels
        from .lzw_kernel import add_up_rows, decode_strips
        from .means_kernel import average_blocks
    except Exception:  # whatever keeps numba from running here: the libraries do the work
        return None
    loops = Loops(decode_strips, add_up_rows, average_blocks, add_levels)
    _LOADED.append(loops)
    return loops
