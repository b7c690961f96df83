"""What a plate is made of. Small frozen values: a plate of 3,456 sites is indexed in a fraction of a second."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# A 1536-well plate, the largest standard (ANSI/SLAS 4-2004), has rows A to AF and columns 1 to 48.
MAX_ROWS, MAX_COLUMNS = 32, 48

_WELL = re.compile(r"([A-Za-z]{1,2})0*([1-9]\d?)")


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of a plate.

    Parameters
    ----------
    name
        As the instrument or the channels file has it ("Alexa 647"), unique on its plate.
    group
        "fluorescence", "brightfield" or "unknown".
    number
        The layout's own (``ch1`` is 1).
    """

    name: str
    group: str
    number: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A file that is missing or not used, and why."""

    path: Path
    problem: str


class Source(NamedTuple):
    """Where the pixels of one channel of one site lie.

    Parameters
    ----------
    path
        A file, or the folder of a Zarr array.
    plane
        Which of its planes, counted from 0 over pages and samples (TIFF) or over the leading axes (Zarr), the last of
        them fastest; None when the file holds this one plane.
    """

    path: Path
    plane: int | None


@dataclass(frozen=True, slots=True)
class Site:
    """One field of view, with all its channels: a file each, or planes of one file.

    Parameters
    ----------
    plate, well
        Names, the well as "D08".
    site
        The field number of the layout; of a tiled plate, see ``tile_plate``.
    paths
        The file of each channel, in the order of ``Plate.channels``; the same one again where a file holds several.
    position_um
        Where the site's centre lies in its well: micrometres to the right of and above the well's centre.
    tile
        (row, column, n) when this is a pseudo-site: one piece of the n x n that the site was cut into.
    planes
        Which plane of its file each channel is (see ``Source``); empty when each file holds one.
    """

    plate: str
    well: str
    site: int
    paths: tuple[Path, ...]
    position_um: tuple[float, float] | None = None
    tile: tuple[int, int, int] | None = None
    planes: tuple[int, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where each channel's pixels lie."""
        planes = self.planes or (None,) * len(self.paths)
        return tuple(map(Source, self.paths, planes))


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate's complete sites, by well and site number, and what is wrong with the rest.

    Parameters
    ----------
    name, root, layout
        The plate's name, its folder (of a LoadData table, the table), and the layout that its files follow ("phenix").
    channels
        By number.
    sites
        Those with all channels, by (well, site).
    pixel_size_um
        Side of a pixel on the sample in micrometres; None when the files don't say.
    shape
        (height, width) of a site in pixels, read from one file; None when no file was readable.
    gaps
        Missing planes, files that are not used, and why.
    """

    name: str
    root: Path
    layout: str
    channels: tuple[Channel, ...]
    sites: tuple[Site, ...]
    pixel_size_um: float | None
    shape: tuple[int, int] | None
    gaps: tuple[Gap, ...]

    @property
    def wells(self) -> tuple[str, ...]:
        """Names of the wells with at least one complete site, in order."""
        return tuple(dict.fromkeys(site.well for site in self.sites))

    def sites_of(self, well: str) -> tuple[Site, ...]:
        """Return the complete sites of one well, in order; empty for a well that has none."""
        return tuple(site for site in self.sites if site.well == well)


def well_name(row: int, column: int) -> str:
    """Name a well: (4, 8) is "D08", (27, 1) is "AA01"; rows and columns count from 1."""
    letters = chr(64 + row) if row <= 26 else "A" + chr(64 + row - 26)
    return f"{letters}{column:02d}"


def well_position(name: str) -> tuple[int, int] | None:
    """Read a well's name in any usual spelling ("D08", "d8"): (row, column) from 1, None when it is no well."""
    match = _WELL.fullmatch(name.strip())
    if match is None:
        return None
    row = 0
    for letter in match[1].upper():
        row = 26 * row + ord(letter) - 64
    column = int(match[2])
    return (row, column) if row <= MAX_ROWS and column <= MAX_COLUMNS else None
