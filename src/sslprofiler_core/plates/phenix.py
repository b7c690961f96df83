"""Files as Harmony names them on Opera Phenix and Operette instruments: ``rRRcCCfFFpPP-chNskNfkNflN.tiff``.

r: plate row, c: column, f: field (our site), p: z plane, ch: channel, sk: time point, fk and fl: kinetic and lifetime.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .harmony import read_acquisition
from .layouts import IMAGE_SUFFIXES, Acquisition, Listing, Plane, PlateFolder, plate_name
from .types import MAX_COLUMNS, MAX_ROWS

_NAME = re.compile(
    r"r(\d{2,})c(\d{2,})f(\d{2,})p(\d{2,})-ch(\d+)sk(\d+)fk(\d+)fl(\d+)\.tiff?", re.IGNORECASE | re.ASCII
)
_CHANNEL = re.compile(r"(-ch)\d+(sk)", re.IGNORECASE)


class Phenix:
    """The layout of CPJUMP1 and of most Cell Painting data in the public gallery."""

    name = "phenix"
    example = "r04c08f05p01-ch1sk1fk1fl1.tiff"

    def claims(self, listing: Listing) -> bool:
        """See ``Layout``."""
        return any(map(_NAME.fullmatch, listing.files))

    def find(self, listing: Listing) -> list[PlateFolder]:
        """One plate a folder; see ``Layout``."""
        planes, strays = self.index(listing.files)
        return [PlateFolder(plate_name(listing.folder), listing.folder, self, planes, strays)] if planes else []

    def index(self, names: Sequence[str]) -> tuple[list[Plane], list[tuple[str, str]]]:
        """Read file names: the planes among them, and (name, problem) of images that are none."""
        planes, strays = [], []
        match = _NAME.fullmatch
        for name in names:
            found = match(name)
            if found is None:
                if name.lower().endswith(IMAGE_SUFFIXES):
                    strays.append((name, f"its name is not like {self.example}: not used"))
                continue
            row, column, site, plane, channel, sk, fk, fl = map(int, found.groups())
            if not (1 <= row <= MAX_ROWS and 1 <= column <= MAX_COLUMNS):
                strays.append((name, f"no plate has row {row}, column {column}: not used"))
                continue
            planes.append(Plane(row, column, site, channel, (plane, sk, fk, fl), name))
        return planes, strays

    def name_of(self, plane: Plane, channel: int) -> str:
        """Name another channel of the plane's site; see ``Layout``."""
        return _CHANNEL.sub(rf"\g<1>{channel}\g<2>", plane.name)

    def describe(self, path: Path) -> Acquisition | None:
        """Read Harmony's XML; see ``Layout``."""
        return read_acquisition(path)


PHENIX = Phenix()
