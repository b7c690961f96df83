"""OME-Zarr plates (HCS), versions 0.4 and 0.5: ``PLATE.zarr/row/column/field/level``.

A plate that this program wrote lists its sites, channels and positions in the plate's own attributes (``sslprofiler``),
so that it opens with one read. Of any other, each well is asked for its fields, and one field for channels, pixel size
and axes, which the fields of a plate share; the first time point and the first z plane are taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sslprofiler_core.errors import UserError

from .headers import HeaderError
from .layouts import Acquisition, Listing, Plane, PlateFolder, Record
from .load_data import centre_in_wells
from .types import well_position
from .zarr_metadata import read_array_metadata, read_attributes, read_ome

OWN = "sslprofiler"  # the attribute that this program's stores carry

_MICROMETRES = {"micrometer": 1.0, "micrometre": 1.0, "nanometer": 1e-3, "millimeter": 1e3, "meter": 1e6, "um": 1.0}

Place = tuple[int, int, int]


class OmeZarr:
    """The layout of OME-Zarr plates, from whichever program, and of this program's plate stores."""

    name = "ome_zarr"
    example = "PLATE.zarr"

    def claims(self, listing: Listing) -> bool:
        """See ``Layout``."""
        return listing.zarr and "plate" in read_ome(listing.folder)

    def find(self, listing: Listing) -> list[PlateFolder]:
        """The plate that a folder is; see ``Layout``. Raises UserError for one that can't be read."""
        if not listing.zarr:
            return []
        try:
            plate = read_ome(listing.folder).get("plate")
            if not isinstance(plate, dict):
                return []
            own = read_attributes(listing.folder).get(OWN)
            found = _own_plate(listing.folder, own) if isinstance(own, dict) else _any_plate(listing.folder, plate)
        except OSError as error:
            raise UserError(f"Cannot read the plate {listing.folder}: {error.strerror or error}.") from error
        except (HeaderError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise UserError(
                f"{listing.folder} is an OME-Zarr plate whose metadata cannot be used: {error}. "
                "Write it anew, or take it out."
            ) from error
        return [found]

    def name_of(self, plane: Plane, channel: int) -> str:
        """The site's own array; see ``Layout``."""
        return plane.name

    def describe(self, path: Path) -> Acquisition | None:
        """Nothing more than ``find`` knows; see ``Layout``."""
        return None


OME_ZARR = OmeZarr()


def plate_name_of(root: Path) -> str:
    """Name a plate by its folder, without ".zarr" or ".ome.zarr"."""
    return root.absolute().name.removesuffix(".zarr").removesuffix(".ome") or root.name


def _own_plate(root: Path, own: Mapping[str, Any]) -> PlateFolder:
    records = {int(c["number"]): Record(str(c["name"]), str(c["group"]), None) for c in own["channels"]}
    planes, positions = [], {}
    for row, column, site, path, position in own["sites"]:
        place = (int(row), int(column), int(site))
        planes += [Plane(*place, number, (), str(path), k) for k, number in enumerate(records)]
        if position is not None:
            positions[place] = (float(position[0]), float(position[1]))
    return PlateFolder(str(own["plate"]), root, OME_ZARR, planes, [], records, positions, own.get("pixel_size_um"))


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a plate: where it lies, and its group's path from the plate."""

    place: Place
    path: str


@dataclass(frozen=True, slots=True)
class _Image:
    """What the fields of a plate share."""

    level: str
    strides: tuple[int, int]  # of a channel, and how many z planes and time points there are beside the first
    channels: tuple[Record, ...]
    pixel_size_um: float | None


def _any_plate(root: Path, plate: Mapping[str, Any]) -> PlateFolder:
    wells = [str(well["path"]) for well in plate["wells"]]
    strays: list[tuple[str, str]] = []
    fields: list[_Field] = []
    again = 0
    with ThreadPoolExecutor(8) as pool:  # a small file a well: threads hide the latency of a network disk
        listed = pool.map(lambda path: _fields_of(root, path), wells)
        for path, (images, later) in zip(wells, listed, strict=True):
            place = _well_place(path)
            if place is None:
                strays.append((path, "its path names no well: not used"))
            elif not images:
                strays.append((path, "missing: the well lists no images"))
            else:
                fields += [_Field((*place, number), f"{path}/{name}") for number, name in images]
                again += later
    if again:
        strays.append(("", f"{again} images are of later acquisitions of their wells: not used"))
    image = next((found for field in islice(fields, 20) if (found := _image(root / field.path))), None)
    if image is None:
        raise ValueError("none of its first 20 fields is an image")
    stride, beside = image.strides
    if beside > 1:
        strays.append(("", f"each site has {beside} z planes and time points: the first is used"))
    planes = [
        Plane(*field.place, number, (), f"{field.path}/{image.level}", stride * (number - 1))
        for field in fields
        for number in range(1, len(image.channels) + 1)
    ]
    records = dict(enumerate(image.channels, start=1))
    positions = _positions(root, fields)
    return PlateFolder(plate_name_of(root), root, OME_ZARR, planes, strays, records, positions, image.pixel_size_um)


def _fields_of(root: Path, well: str) -> tuple[list[tuple[int, str]], int]:
    """A well's fields as (number, path), numbers as the paths have them if all are numbers; and how many are not used.

    Of several acquisitions the first is used: another may be the same cells with other stains, or at another time.
    """
    listed = read_ome(root / well).get("well", {}).get("images", [])
    first = min((image.get("acquisition") or 0 for image in listed), default=0)
    used = [image for image in listed if (image.get("acquisition") or 0) == first]
    names = [str(image["path"]) for image in used]
    if all(name.isdecimal() for name in names):
        return [(int(name), name) for name in names], len(listed) - len(used)
    return list(enumerate(names)), len(listed) - len(used)


def _well_place(path: str) -> tuple[int, int] | None:
    row, _, column = path.partition("/")
    return well_position(f"{row}{column}")


def _image(group: Path) -> _Image | None:
    """Read a field's axes, channels and pixel size; None when it is no image."""
    ome = read_ome(group)
    scales = ome.get("multiscales")
    if not scales:
        return None
    level = scales[0]["datasets"][0]
    try:
        array = read_array_metadata(group / str(level["path"]))
    except HeaderError:
        return None
    axes = [axis["name"] if isinstance(axis, dict) else str(axis) for axis in scales[0]["axes"]]
    leading = dict(zip(axes[:-2], array.shape[:-2], strict=True))
    count = leading.get("c", 1)
    after = axes[axes.index("c") + 1 : -2] if "c" in axes else []
    stride = math.prod(leading[axis] for axis in after)
    labels = ome.get("omero", {}).get("channels", [])
    records = tuple(_record(labels[k] if k < len(labels) else {}, k + 1) for k in range(count))
    spacing = _transforms(scales[0], level, "scale")
    unit = scales[0]["axes"][-1].get("unit", "micrometer") if isinstance(scales[0]["axes"][-1], dict) else "micrometer"
    factor = _MICROMETRES.get(unit)
    pixel_size = factor * spacing[-1] if factor and spacing else None
    return _Image(str(level["path"]), (stride, math.prod(leading.values()) // count), records, pixel_size)


def _record(label: Mapping[str, Any], number: int) -> Record:
    return Record(str(label.get("label") or f"ch{number}"), "unknown", None)


def _transforms(scale: Mapping[str, Any], level: Mapping[str, Any], kind: str) -> list[float] | None:
    """A level's scale or translation, that of the whole image applied."""
    found = None
    for holder in (level, scale):
        for transform in holder.get("coordinateTransformations", []):
            if transform.get("type") == kind:
                values = [float(value) for value in transform[kind]]
                if found is None:
                    found = values
                elif kind == "scale":
                    found = [a * b for a, b in zip(found, values, strict=True)]
                else:
                    found = [a + b for a, b in zip(found, values, strict=True)]
    return found


def _positions(root: Path, fields: Sequence[_Field]) -> dict[Place, tuple[float, float]]:
    """Positions of the fields of the fullest well, taken for all: a plate is scanned alike in each."""
    wells: dict[tuple[int, int], list[_Field]] = {}
    for field in fields:
        wells.setdefault(field.place[:2], []).append(field)
    known = dict(_translations(root, max(wells.values(), key=len)))
    centred = {place[2]: point for place, point in centre_in_wells(known).items()}
    return {field.place: centred[field.place[2]] for field in fields if field.place[2] in centred}


def _translations(root: Path, fields: Sequence[_Field]) -> Iterator[tuple[Place, tuple[float, float]]]:
    for field in fields:
        scales = read_ome(root / field.path).get("multiscales")
        if not scales:
            continue
        moved = _transforms(scales[0], scales[0]["datasets"][0], "translation")
        axis = scales[0]["axes"][-1]
        factor = _MICROMETRES.get(axis.get("unit", "micrometer") if isinstance(axis, dict) else "micrometer")
        if moved is not None and factor:
            yield field.place, (factor * moved[-1], -factor * moved[-2])  # an image's y runs down, a position's up
