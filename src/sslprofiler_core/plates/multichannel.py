"""One TIFF a site with all its channels: OME-TIFF, ImageJ's, or plain pages; ``A01_s1.ome.tif``.

A name holds the well and, where a well has several, the site: ``A01.tif``, ``P1_A01_2.tif``, ``P1_A01_f02.ome.tiff``.
The first time point and the first z plane are taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from .described import DESCRIPTION, describe_file, parse_xml
from .headers import HeaderError, read_header, read_tag
from .image_xpress import positions_of
from .layouts import IMAGE_SUFFIXES, Acquisition, Listing, Plane, PlateFolder, plate_name
from .types import well_position

_WORD = r"(?:site|s|field|fov|f|pos)"
_NAME = re.compile(
    r"(?:(?P<plate>.*?)[_\-. ])??(?P<well>A[A-F]\d{1,2}|[A-P]\d{1,2})"
    rf"(?:(?:[_\-. ]+{_WORD}?|{_WORD})[_\-]?(?P<site>\d+))?(?:\.ome)?\.tiff?",
    re.IGNORECASE | re.ASCII,
)
_TRIES = 20


class MultichannelTiff:
    """The layout of plates with one file a site."""

    name = "multichannel_tiff"
    example = "A01_s1.ome.tif (all channels in one file)"

    def claims(self, listing: Listing) -> bool:
        """See ``Layout``; reads one file's header."""
        names = [name for name in listing.files if _place(name)]
        return bool(names) and channel_planes(listing.folder / names[0]) is not None

    def find(self, listing: Listing) -> list[PlateFolder]:
        """One plate a folder, or one a prefix of the names where a folder holds several; see ``Layout``."""
        named: dict[str, list[tuple[str, tuple[int, int, int]]]] = {}
        strays = []
        for name in listing.files:
            if place := _place(name):
                match = _NAME.fullmatch(name)
                named.setdefault((match and match["plate"]) or "", []).append((name, place))
            elif name.lower().endswith(IMAGE_SUFFIXES):
                strays.append((name, "its name is not like A01_s1.ome.tif: not used"))
        plates = []
        for prefix, files in named.items():
            numbers = planes_of_first(listing.folder / name for name, _ in files)
            if numbers is None:
                continue
            planes = [
                Plane(*place, channel, (), name, number)
                for name, place in files
                for channel, number in enumerate(numbers, start=1)
            ]
            plate = plate_name(listing.folder) if len(named) == 1 else prefix or plate_name(listing.folder)
            folder = listing.folder
            plates.append(PlateFolder(plate, folder, self, planes, strays, positions_um=positions_of(folder, planes)))
            strays = []
        return plates

    def name_of(self, plane: Plane, channel: int) -> str:
        """The site's own file; see ``Layout``."""
        return plane.name

    def describe(self, path: Path) -> Acquisition | None:
        """Read OME-XML; see ``Layout``."""
        return describe_file(path)


MULTICHANNEL_TIFF = MultichannelTiff()


def _place(name: str) -> tuple[int, int, int] | None:
    match = _NAME.fullmatch(name)
    position = match and well_position(match["well"])
    return (*position, int(match["site"] or 1)) if match and position else None


def planes_of_first(paths: Iterable[Path]) -> list[int] | None:
    """The plane numbers of the channels in the first file that can be read; None when it holds a single plane."""
    for path in islice(paths, _TRIES):
        try:
            return channel_planes(path, strict=True)
        except HeaderError:
            continue
    return None


def channel_planes(path: Path, strict: bool = False) -> list[int] | None:
    """Tell which planes of a file are its channels (at the first z plane and time point).

    Returns
    -------
    None for a file with a single plane, one whose description does not fit its planes (an OME-TIFF whose other planes
    lie in other files), and unless ``strict`` one that can't be read.

    Raises
    ------
    HeaderError
        For a file that can't be read, when ``strict``.
    """
    try:
        planes = read_header(path, 0).planes
        if planes == 1:
            return None
        channels, stride, total = _described_axes(path, planes)
    except HeaderError:
        if strict:
            raise
        return None
    return [stride * k for k in range(channels)] if total == planes else None


def _described_axes(path: Path, planes: int) -> tuple[int, int, int]:
    """Number of channels, the step between two of them in planes, and how many planes there should be."""
    text = read_tag(path, DESCRIPTION) or b""
    root = parse_xml(text)
    pixels = root.find("./{*}Image/{*}Pixels") if root is not None else None
    if pixels is not None:
        sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "CZT"}
        order = [axis for axis in pixels.get("DimensionOrder", "XYCZT") if axis in sizes]
        stride = 1
        for axis in order[: order.index("C")]:
            stride *= sizes[axis]
        return sizes["C"], stride, sizes["C"] * sizes["Z"] * sizes["T"]
    if text.startswith(b"ImageJ="):
        found = dict(re.findall(r"^(channels|slices|frames)=(\d+)", text.decode("latin-1"), re.MULTILINE))
        sizes = {key: int(found.get(key, 1)) for key in ("channels", "slices", "frames")}
        total = sizes["channels"] * sizes["slices"] * sizes["frames"]
        if total == planes:  # ImageJ's order: channels fastest
            return sizes["channels"], 1, total
    return planes, 1, planes
