"""The small protocol that a layout of files follows, and the layouts that are known.

A layout is one module: it reads file names (``index``), names a file that should be there (``name_of``), and reads
what the instrument wrote about a file (``describe``). Everything else is shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Plane:
    """One file: one channel of one site. ``order`` says which of two files for the same place comes first."""

    row: int
    column: int
    site: int
    channel: int
    order: tuple[int, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """What the instrument says about a channel; ``height_um`` is its focus height."""

    name: str
    group: str
    height_um: float | None


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What the instrument says in one file.

    Parameters
    ----------
    record
        The file's own channel.
    recorded
        All channels of the acquisition, by number.
    pixel_size_um
        Side of a pixel on the sample.
    positions_um
        Site number -> (x, y) in the well, x to the right, y upwards; empty when not known.
    """

    record: Record | None
    recorded: dict[int, Record]
    pixel_size_um: float | None
    positions_um: dict[int, tuple[float, float]]


class Layout(Protocol):
    """How files of one kind of plate are named and described."""

    name: str
    example: str

    def index(self, names: Sequence[str]) -> tuple[list[Plane], list[tuple[str, str]]]:
        """Read file names: the planes among them, and (name, problem) of images that are none."""
        ...

    def name_of(self, plane: Plane, channel: int) -> str:
        """Name the file that another channel of the plane's site should have."""
        ...

    def describe(self, path: Path) -> Acquisition | None:
        """Read what the instrument wrote in a file; None when it wrote nothing. HeaderError when unreadable."""
        ...


def known_layouts() -> tuple[Layout, ...]:
    """All layouts, the likeliest first."""
    from .phenix import PHENIX

    return (PHENIX,)
