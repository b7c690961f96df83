"""The renderer's process: ``python -m napari_sslprofiler.preview.server``, requests on stdin, previews on stdout.

Each message is its length (8 bytes, little-endian) and a pickle. Its own package writes both ends; nothing else does.
It ends when stdin does, so it never outlives its window.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import traceback
from typing import IO, Any


def send(stream: IO[bytes], message: Any) -> None:
    """Write a message."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(len(data).to_bytes(8, "little"))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read a message; EOFError when the other end is gone."""
    length = int.from_bytes(_exactly(stream, 8), "little")
    return pickle.loads(_exactly(stream, length))


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if data is None or len(data) < count:
        raise EOFError
    return data


def main() -> None:
    """Serve until stdin ends."""
    # What a library prints must not get among the messages.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    import torch

    from napari_sslprofiler.preview.render import Sites, render
    from sslprofiler_core.errors import UserError

    # The window and its event loop keep a core where there are several.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    sites = Sites()
    send(out, ("ready", os.getpid()))
    threading.Thread(target=_warm, daemon=True).start()
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        try:
            answer: tuple[str, Any] = ("done", render(request, sites))
        except UserError as error:
            answer = ("refused", str(error))
        except MemoryError:
            answer = ("refused", "There is not enough memory for this preview. Choose a smaller size.")
        except Exception:
            answer = ("broken", traceback.format_exc())
        send(out, answer)


def _warm() -> None:
    """Load what the first large noisy view would wait for: the compiled loop of the noise."""
    import torch

    from sslprofiler_core.augment import microscope_noise

    microscope_noise(torch.zeros(1, 8, 256, 256), keys_B=[0])  # a small image takes another way


if __name__ == "__main__":
    main()
