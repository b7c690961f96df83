"""A training that stops, with its checkpoint, when the process that started it is gone."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from sslprofiler_core.errors import UserError


def main() -> int:
    """Train with the settings in this process's one argument, JSON of `train`'s parameters.

    Standard input is held open by the parent, and watched.
    """
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    from sslprofiler_core.training import train

    try:
        outcome = train(**json.loads(sys.argv[1]))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if outcome.reason == "finished" else 143


def _stop_with_parent() -> None:
    # Nothing is ever written there: reading ends when the parent does, however it ended. (Not through sys.stdin, whose
    # lock the interpreter wants when this process ends first.)
    os.read(0, 1)
    if hasattr(signal, "pthread_kill"):  # wakes the main thread, whatever it waits for
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
