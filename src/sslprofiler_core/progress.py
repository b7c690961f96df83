"""One progress bar for all long work: on stderr, with a rate and an ETA."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: int | None, label: str, unit: str, initial: int = 0) -> tqdm[Any]:
    """Open a progress bar; use it as a context manager and call ``update(n)``.

    Parameters
    ----------
    total
        How many units the work has, None when unknown.
    label, unit
        What is done, and in what it is counted (singular: ``"site"``).
    initial
        Units already done by an earlier, interrupted call.
    """
    # A log file gets a line every ten seconds, a terminal ten a second.
    interval = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(
        total=total,
        desc=label,
        unit=f" {unit}",
        initial=initial,
        mininterval=interval,
        dynamic_ncols=True,
        file=sys.stderr,
    )
