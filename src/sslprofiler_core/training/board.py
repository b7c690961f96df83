"""A run's curves for TensorBoard, beside its own events."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import Any

from sslprofiler_core.errors import UserError

_KINDS = ("step", "health", "knn")


def require_tensorboard() -> None:
    """See that TensorBoard can be written.

    Raises
    ------
    UserError
        When it is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "train.tensorboard = true needs the package tensorboard, which is not installed. Install "
            "napari-sslprofiler[tensorboard], or leave the setting out."
        )


class Board:
    """Writes the numbers of events as scalars: losses, speed, health and nearest-neighbour checks.

    Parameters
    ----------
    folder
        Where to; made when the first event comes.
    step
        Steps done: what an earlier attempt wrote after it is not shown.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def add(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Add an event's numbers, where it has any."""
        if kind not in _KINDS:
            return
        for name, value in values.items():
            if name != "time" and isinstance(value, int | float) and not isinstance(value, bool):
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Write what is pending; a full disk has been told of by others."""
        with suppress(OSError):
            self._writer.close()
