"""What a single image file says about its channels, whoever wrote it: Harmony, OME-TIFF, MetaMorph or ImageJ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from xml.etree import ElementTree

from .harmony import HARMONY_TAG, parse_acquisition
from .headers import HeaderError, is_tiff, read_tag
from .layouts import Acquisition, Record

DESCRIPTION = 270

_OME_GROUPS = (
    (re.compile("bright|phase|dic|hoffman|oblique|transmitted", re.IGNORECASE), "brightfield"),
    (re.compile("fluor|epi|confocal|tirf|spinning|scanning", re.IGNORECASE), "fluorescence"),
)
_MICROMETRES = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3}


def describe_file(path: Path) -> Acquisition | None:
    """Read what an instrument wrote in one file; None when it wrote nothing that is known.

    Raises
    ------
    HeaderError
        For a file that can't be opened, is truncated or no image.
    """
    if not is_tiff(path):
        return None
    root = parse_xml(read_tag(path, HARMONY_TAG))
    if root is not None:
        return parse_acquisition(root)
    root = parse_xml(read_tag(path, DESCRIPTION))
    if root is None:
        return None
    if root.tag.endswith("OME"):
        return describe_ome(root)
    return describe_metaseries(root) if root.tag == "MetaData" else None


def parse_xml(data: bytes | None) -> ElementTree.Element | None:
    """Parse a tag's XML; None for anything else."""
    if data is None or not data.lstrip().startswith(b"<"):
        return None
    try:
        return ElementTree.fromstring(data.rstrip(b"\0 \r\n"))
    except ElementTree.ParseError:
        return None


def describe_ome(root: ElementTree.Element) -> Acquisition | None:
    """Read OME-XML: the channels of the first image, numbered from 1, and the size of its pixels."""
    pixels = root.find("./{*}Image/{*}Pixels")
    if pixels is None:
        return None
    recorded = {}
    for number, channel in enumerate(pixels.iterfind("./{*}Channel"), start=1):
        name = channel.get("Name") or channel.get("Fluor") or f"ch{number}"
        recorded[number] = Record(name, _ome_group(channel), None)
    only = recorded[1] if len(recorded) == 1 else None
    pixel_size = length_um(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "µm"))
    return Acquisition(only, recorded, pixel_size, {})


def _ome_group(channel: ElementTree.Element) -> str:
    for attribute in ("ContrastMethod", "IlluminationType", "AcquisitionMode"):
        text = channel.get(attribute, "")
        for pattern, group in _OME_GROUPS:
            if pattern.search(text):
                return group
    return "fluorescence" if channel.get("Fluor") or channel.get("EmissionWavelength") else "unknown"


def ome_position_um(root: ElementTree.Element) -> tuple[float, float] | None:
    """Read where the first plane lies on the stage: x to the right and y upwards, in micrometres."""
    plane = root.find("./{*}Image/{*}Pixels/{*}Plane")
    if plane is None:
        return None
    x = length_um(plane.get("PositionX"), plane.get("PositionXUnit", "µm"))
    y = length_um(plane.get("PositionY"), plane.get("PositionYUnit", "µm"))
    return None if x is None or y is None else (x, y)


def metaseries_properties(root: ElementTree.Element) -> dict[str, str]:
    """Read the properties that MetaMorph and MetaXpress write for a plane."""
    return {prop.get("id", ""): prop.get("value", "") for prop in root.iterfind("./PlaneInfo//prop")}


def describe_metaseries(root: ElementTree.Element) -> Acquisition | None:
    """Read MetaXpress's description of one plane: its channel is the illumination setting's name."""
    known = metaseries_properties(root)
    name = known.get("_IllumSetting_") or known.get("wavelength-name") or ""
    record = Record(name, "unknown", None) if name else None
    unit = known.get("spatial-calibration-units", "um")
    pixel_size = length_um(known.get("spatial-calibration-x"), unit)
    if known.get("spatial-calibration-state", "on").lower() in ("off", "false"):
        pixel_size = None
    return Acquisition(record, {}, pixel_size, {}) if record or pixel_size else None


def metaseries_position_um(root: ElementTree.Element) -> tuple[float, float] | None:
    """Read where a plane lies on the stage, in micrometres, y upwards."""
    known = metaseries_properties(root)
    x, y = (length_um(known.get(f"stage-position-{axis}"), "um") for axis in "xy")
    return None if x is None or y is None else (x, y)


def stage_positions(files: Mapping[int, Path]) -> dict[int, tuple[float, float]]:
    """Read where the files of one well's sites lie, from the mean of them all: empty when any of them does not say it.

    Which way a stage's axes run is not standardised: x is taken to run to the right and y upwards.
    """
    found: dict[int, tuple[float, float]] = {}
    for site, path in files.items():
        try:
            root = parse_xml(read_tag(path, DESCRIPTION)) if is_tiff(path) else None
        except HeaderError:
            return {}
        if root is None:
            return {}
        point = ome_position_um(root) if root.tag.endswith("OME") else metaseries_position_um(root)
        if point is None:
            return {}
        found[site] = point
    x, y = (fmean(point[axis] for point in found.values()) for axis in (0, 1)) if found else (0.0, 0.0)
    return {site: (point[0] - x, point[1] - y) for site, point in found.items()}


def length_um(text: str | None, unit: str) -> float | None:
    """Read a length in micrometres; None for no number or a unit that is no length ("reference frame", "pixel")."""
    factor = _MICROMETRES.get(unit.strip().lower())
    try:
        value = float(text or "")
    except ValueError:
        return None
    return factor * value if factor is not None else None
