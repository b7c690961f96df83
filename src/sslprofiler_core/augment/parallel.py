"""Parts of a batch side by side on a CPU: one thread of Python a part, and torch single-threaded in each.

Torch's own threads meet at a barrier after every operation. The operations of a view are short, and where another
program has one of the cores, its barriers are most of the time: 8 views of 5 x 518 x 518 took 0.9 s on two such cores,
0.13 s on one thread, and 0.07 s this way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch

_lock = threading.Lock()


def run_parts(work: Callable[[slice], None], parts: Sequence[slice], threads: int) -> None:
    """Do the work for every part, on as many threads as given; the first error is raised when all have ended."""
    if threads == 1 or len(parts) == 1:
        for part in parts:
            work(part)
        return
    with _lock:
        pool = _pool(threads)
    mode = torch.inference_mode if torch.is_inference_mode_enabled() else torch.no_grad  # each thread has its own
    running = [pool.submit(_in_mode, mode, work, part) for part in parts]
    errors = [error for future in running if (error := future.exception()) is not None]
    if errors:
        raise errors[0]


def _in_mode(mode: Callable[[], Any], work: Callable[[slice], None], part: slice) -> None:
    with mode():
        work(part)


@lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    """Start threads in which torch has one thread."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="views")
    started, before = threading.Barrier(threads), torch.get_num_threads()

    def start() -> None:
        torch.get_num_threads()  # a thread's first call takes over the process's number
        torch.set_num_threads(1)
        started.wait()

    for future in [pool.submit(start) for _ in range(threads)]:
        future.result()
    torch.set_num_threads(before)  # which threads that are made later take over
    return pool
