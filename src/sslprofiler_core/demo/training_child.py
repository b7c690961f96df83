"""A training that stops, with its checkpoint, when the process that started it is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading


def main() -> int:
    """Run ``sslprofiler`` with this process's arguments, watching standard input, which the parent holds open."""
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    from sslprofiler_core.cli import main as sslprofiler

    return sslprofiler(sys.argv[1:])


def _stop_with_parent() -> None:
    # Nothing is ever written there: reading ends when the parent does, however it ended. (Not through sys.stdin, whose
    # lock the interpreter wants when this process ends first.)
    os.read(0, 1)
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
