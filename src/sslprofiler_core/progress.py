"""One progress bar for all long work: on stderr, with a rate and an ETA; lines of JSON for a program that watches."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from tqdm import tqdm

# Set to "json" by a program that started this one and shows its progress itself.
FORMAT_VARIABLE = "SSLPROFILER_PROGRESS"


class _Lines(tqdm):  # type: ignore[type-arg]  # generic in its stubs alone
    """A bar whose every drawing is one line: ``{"progress": label, "unit": ..., "done": n, "total": n}``."""

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        line = {
            "progress": self.desc.removesuffix(": "),
            "unit": self.unit.strip(),
            "done": self.n,
            "total": self.total,
        }
        print(json.dumps(line), file=sys.stderr, flush=True)

    def clear(self, nolock: bool = False) -> None:
        """Nothing to clear: lines stay."""


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
    if os.environ.get(FORMAT_VARIABLE) == "json":
        return _Lines(total=total, desc=label, unit=unit, initial=initial, mininterval=0.2, file=sys.stderr)
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
