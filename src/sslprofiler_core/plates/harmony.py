"""Harmony's description of an acquisition: XML in TIFF tag 65500 of each file that the instrument wrote.

Checked on CPJUMP1's files: ``Image/RecordID`` counts the ``Record`` elements from 1, and a record names its channel,
its focus height and its light source; the light source's ``IlluminationType`` gives the group. The ``Field`` list is in
the order of the field numbers: field 1 is the one nearest the well's centre, the others follow row by row from the
top, alternately to the right and to the left. CPJUMP1's nine fields lie scattered on a 4 x 4 grid, not on a 3 x 3 one.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from .headers import read_tag
from .layouts import Acquisition, Record

HARMONY_TAG = 65500
_GROUPS = {"Transmitted": "brightfield", "Epifluorescence": "fluorescence"}


def read_acquisition(path: Path) -> Acquisition | None:
    """Read what Harmony says about one file's channel, pixel size and field positions.

    Returns
    -------
    None for a TIFF without the tag, or with a tag that is not Harmony's XML.

    Raises
    ------
    headers.HeaderError
        For a file that can't be opened, is truncated or not a TIFF.
    """
    data = read_tag(path, HARMONY_TAG)
    if data is None:
        return None
    try:
        root = ElementTree.fromstring(data.rstrip(b"\0 \r\n"))
    except ElementTree.ParseError:
        return None
    return parse_acquisition(root)


def parse_acquisition(root: ElementTree.Element) -> Acquisition | None:
    """Read Harmony's XML tree; None when it records no channel. Namespaces are ignored: they change by version."""
    exposures = root.findall(".//{*}Exposures/{*}Exposure")
    exposure_number = int(_number(root, "./{*}Image/{*}ExposureID") or 1)
    number = int(_number(root, "./{*}Image/{*}RecordID") or 0)
    if not 1 <= exposure_number <= len(exposures):
        return None
    exposure = exposures[exposure_number - 1]
    elements = exposure.findall("./{*}Record")
    if not 1 <= number <= len(elements):
        return None
    own = elements[number - 1]
    recorded = {k: record for k, element in enumerate(elements, 1) if (record := _record(root, element))}
    return Acquisition(recorded.get(number), recorded, _pixel_size_um(root, exposure, own), _positions_um(root))


def _record(root: ElementTree.Element, element: ElementTree.Element) -> Record | None:
    name = _text(element, ".//{*}Channel/{*}Name")
    height = _number(element, "./{*}FocusSetting/{*}Height")
    if not name:
        return None
    return Record(name, _group(root, element), None if height is None else 1e6 * height)


def _text(element: ElementTree.Element, path: str) -> str | None:
    text = element.findtext(path)
    return text.strip() if text else None


def _number(element: ElementTree.Element, path: str) -> float | None:
    try:
        return float(_text(element, path) or "")
    except ValueError:
        return None


def _group(root: ElementTree.Element, record: ElementTree.Element) -> str:
    source = _text(record, ".//{*}LightsourceSettings//{*}LightsourceID")
    for light in root.iterfind(".//{*}Lightsources/*"):
        if source is not None and _text(light, "./{*}ID") == source:
            return _GROUPS.get(_text(light, "./{*}IlluminationType") or "", "unknown")
    return "unknown"


def _pixel_size_um(
    root: ElementTree.Element, exposure: ElementTree.Element, record: ElementTree.Element
) -> float | None:
    """Sensor pixel x binning / (objective x tube magnification); TIFF's XResolution is the sensor's, not the sample's.

    CPJUMP1: 6.5 um x 2 / (20 x 1.087) = 0.598 um, and its field pitch of 645.8 um / 1080 pixels agrees.
    """
    camera_id = _text(record, ".//{*}CameraSetting/{*}CameraID")
    binning = _number(record, ".//{*}CameraSetting/{*}BinningX")
    tube = _number(root, "./{*}InstrumentDescription/{*}Magnification")
    objective_id = _text(exposure, "./{*}Objective")
    sensor = magnification = None
    for camera in root.iterfind(".//{*}Cameras/{*}Camera"):
        if _text(camera, "./{*}ID") == camera_id:
            sensor = _number(camera, "./{*}PixelSizeX")
    for objective in root.iterfind(".//{*}Objectives/{*}Objective"):
        if _text(objective, "./{*}ID") == objective_id:
            magnification = _number(objective, "./{*}Magnification")
    if not (sensor and binning and tube and magnification):
        return None
    return 1e6 * sensor * binning / (magnification * tube)


def _positions_um(root: ElementTree.Element) -> dict[int, tuple[float, float]]:
    layouts = root.findall(".//{*}Sublayouts/{*}Sublayout")
    if len(layouts) != 1:  # several: wells differ, and the XML's well list would have to be followed
        return {}
    positions = {}
    for number, field in enumerate(layouts[0].iterfind("./{*}Field"), start=1):
        x, y = _number(field, "./{*}X"), _number(field, "./{*}Y")
        if x is None or y is None:
            return {}
        positions[number] = (1e6 * x, 1e6 * y)
    return positions
