"""Files as MetaXpress names them on ImageXpress instruments: ``Experiment_B02_s1_w1.tif``, often with a GUID after it.

s: site, w: wavelength (our channel). ``TimePoint_1`` and ``ZStep_1`` folders belong to the plate above them. Checked on
the names of BBBC021 and BBBC022 (public image sets of ImageXpress Micro instruments).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .described import describe_file, stage_positions
from .layouts import IMAGE_SUFFIXES, Acquisition, Listing, Plane, PlateFolder, plate_name
from .types import well_position

_NAME = re.compile(
    r"(?:(?P<experiment>.*?)_)?(?P<well>[A-Z]\d{2}|A[A-F]\d{2})(?:_s(?P<site>\d+))?(?P<wave>_w(?P<channel>\d+))"
    r"(?:[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12})?\.(?:tiff?|png)",
    re.IGNORECASE | re.ASCII,
)
_THUMBNAIL = re.compile(r"_thumb", re.IGNORECASE)
_INNER = re.compile(r"(?:TimePoint|ZStep)_\d+", re.IGNORECASE)


class ImageXpress:
    """The layout of MetaXpress exports."""

    name = "image_xpress"
    example = "Experiment_B02_s1_w1.tif"

    def claims(self, listing: Listing) -> bool:
        """See ``Layout``."""
        return any(map(_NAME.fullmatch, listing.files))

    def find(self, listing: Listing) -> list[PlateFolder]:
        """One plate a folder, or one an experiment where a folder holds several; see ``Layout``."""
        found, strays = self.index(listing.files)
        folder = listing.folder
        plates = []
        for experiment, planes in found.items():
            name = plate_name(_plate_folder(folder)) if len(found) == 1 else experiment or plate_name(folder)
            plates.append(PlateFolder(name, folder, self, planes, strays, positions_um=positions_of(folder, planes)))
            strays = []
        return plates

    def index(self, names: Sequence[str]) -> tuple[dict[str, list[Plane]], list[tuple[str, str]]]:
        """Read file names: the planes by experiment, and (name, problem) of images that are none."""
        found: dict[str, list[Plane]] = {}
        strays = []
        for name in names:
            match = _NAME.fullmatch(name)
            position = match and well_position(match["well"])
            if match and position:
                plane = Plane(*position, int(match["site"] or 1), int(match["channel"]), (), name)
                found.setdefault(match["experiment"] or "", []).append(plane)
            elif name.lower().endswith(IMAGE_SUFFIXES) and not _THUMBNAIL.search(name):
                strays.append((name, f"its name is not like {self.example}: not used"))
        return found, strays

    def name_of(self, plane: Plane, channel: int) -> str:
        """Name another channel of the plane's site, less its GUID; see ``Layout``."""
        match = _NAME.fullmatch(plane.name)
        return f"{plane.name[: match.start('wave')]}_w{channel}{Path(plane.name).suffix}" if match else plane.name

    def describe(self, path: Path) -> Acquisition | None:
        """Read MetaXpress's description; see ``Layout``."""
        known = describe_file(path)
        return known and Acquisition(known.record, {}, known.pixel_size_um, {})


IMAGE_XPRESS = ImageXpress()


def _plate_folder(folder: Path) -> Path:
    folder = folder.absolute()
    while _INNER.fullmatch(folder.name):
        folder = folder.parent
    return folder


def positions_of(root: Path, planes: Sequence[Plane]) -> dict[tuple[int, int, int], tuple[float, float]]:
    """Stage positions of the fullest well's sites, taken for all wells: a plate is scanned alike in each."""
    sites = {(plane.row, plane.column, plane.site): plane.name for plane in reversed(planes)}
    wells = Counter((row, column) for row, column, _ in sites)
    if not wells:
        return {}
    fullest = max(sorted(wells), key=wells.__getitem__)
    files = {site: root / name for (row, column, site), name in sites.items() if (row, column) == fullest}
    known = stage_positions(files)
    return {place: known[place[2]] for place in sites if place[2] in known}
