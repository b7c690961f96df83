"""The small protocol that a layout of files follows, and the layouts that are known.

A layout is one module. It looks at a folder's listing and says which plates are there (``find``), names a file that
should be there (``name_of``), and reads what the instrument wrote about a file (``describe``). All else is shared.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sslprofiler_core.errors import UserError

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".flex", ".bmp")
TIFF_SUFFIXES = (".tif", ".tiff")
# The only layout to look for where nothing else says so: in this process and those that it starts.
LAYOUT_VARIABLE = "SSLPROFILER_LAYOUT"


@dataclass(frozen=True, slots=True)
class Plane:
    """One channel of one site.

    ``order`` says which of two planes for the same place comes first. ``name`` is the file's path from the plate's root
    (or an absolute one), ``plane`` which of the file's planes it is, None when the file holds one.
    """

    row: int
    column: int
    site: int
    channel: int
    order: tuple[int, ...]
    name: str
    plane: int | None = None


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


@dataclass(frozen=True, slots=True)
class Listing:
    """A folder's own entries, hidden ones left out, each list sorted; ``zarr`` when it is a Zarr group or array."""

    folder: Path
    files: Sequence[str]
    folders: Sequence[str]
    zarr: bool = False


@dataclass(frozen=True, slots=True)
class PlateFolder:
    """A plate as its layout found it.

    Parameters
    ----------
    root
        What ``Plane.name`` starts from, and what a message names: the folder, or the table that lists the files.
    planes, strays
        Its planes, and (name, problem) of files that are not used, or that are planes and can't be.
    records
        Channels by number, where the layout itself names them.
    positions_um
        (row, column, site) -> (x, y) of the site's centre in its well, x to the right, y upwards.
    pixel_size_um
        Side of a pixel on the sample, where the layout itself says it.
    """

    name: str
    root: Path
    layout: Layout
    planes: list[Plane]
    strays: list[tuple[str, str]] = field(default_factory=list)
    records: Mapping[int, Record] = field(default_factory=dict)
    positions_um: Mapping[tuple[int, int, int], tuple[float, float]] = field(default_factory=dict)
    pixel_size_um: float | None = None


class Layout(Protocol):
    """How files of one kind of plate are named and described."""

    @property
    def name(self) -> str:
        """What ``inspect`` calls it, and ``layout=`` chooses it by."""
        ...

    @property
    def example(self) -> str:
        """A name that a file of it may have, for messages."""
        ...

    def claims(self, listing: Listing) -> bool:
        """Whether a folder looks like this layout, from a few of its names: cheap, and it may be wrong."""
        ...

    def find(self, listing: Listing) -> list[PlateFolder]:
        """Find the plates whose files a folder holds; empty when it is none of this layout's."""
        ...

    def name_of(self, plane: Plane, channel: int) -> str:
        """Name the file that another channel of the plane's site should have."""
        ...

    def describe(self, path: Path) -> Acquisition | None:
        """Read what the instrument wrote in a file; None when it wrote nothing. HeaderError when unreadable."""
        ...


def known_layouts() -> tuple[Layout, ...]:
    """All layouts that are recognised, the most telling first: a table or metadata goes before names."""
    from .image_xpress import IMAGE_XPRESS
    from .load_data import LOAD_DATA
    from .multichannel import MULTICHANNEL_TIFF
    from .ome_zarr import OME_ZARR
    from .phenix import PHENIX

    return (OME_ZARR, LOAD_DATA, PHENIX, IMAGE_XPRESS, MULTICHANNEL_TIFF)


def layout_named(name: str) -> Layout:
    """Look a layout up by name; UserError lists the names."""
    for layout in known_layouts():
        if layout.name == name:
            return layout
    names = ", ".join(layout.name for layout in known_layouts())
    raise UserError(f"There is no layout {name!r}. Choose one of {names}.")


@contextmanager
def only_layout(name: str | None) -> Iterator[None]:
    """Within it, look for this layout alone, whatever is opened; None looks for all. UserError for an unknown name."""
    before = os.environ.get(LAYOUT_VARIABLE)
    if name is not None:
        os.environ[LAYOUT_VARIABLE] = layout_named(name).name
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(LAYOUT_VARIABLE, None)
        else:
            os.environ[LAYOUT_VARIABLE] = before


def plate_name(folder: Path) -> str:
    """Name a plate by its folder, or by the one around it where that is only called ``Images``.

    The gallery's ``<plate>__<time>-Measurement1`` goes by the part before ``__``.
    """
    folder = folder.absolute()
    name = folder.name if folder.name.lower() != "images" else folder.parent.name or folder.name
    return name.partition("__")[0] or name
