"""The instrument's XML of a simulated TIFF (tag 65500): the parts of Harmony's description that say something here."""

from __future__ import annotations

import math

from sslprofiler_core.plates.simulated_cells import PIXEL_SIZE_UM

_NAMESPACE = "http://www.perkinelmer.com/PEHH/HarmonyV5"
_LENS = "WPlan_Apochromat_20x/1.0_70mm"
# Light source (ID, kind) and each channel's: (light source, focus height in metres), ch1 to ch8.
_LIGHTS = (
    ("Transmission1", "Transmitted"),
    ("StdYellowLaser1", "Epifluorescence"),
    ("StdRedLaser1", "Epifluorescence"),
    ("StdUVLaser1", "Epifluorescence"),
    ("StdBlueLaser1", "Epifluorescence"),
)
_RECORDS = (
    ("StdRedLaser1", "-4E-06"),
    ("StdYellowLaser1", "-2E-06"),
    ("StdBlueLaser1", "-1E-06"),
    ("StdBlueLaser1", "-3E-06"),
    ("StdUVLaser1", "-2E-06"),
    ("Transmission1", "1E-06"),
    ("Transmission1", "-1E-05"),
    ("Transmission1", "-6E-06"),
)


def field_positions(sites: int, size: int) -> list[tuple[float, float]]:
    """Place a well's fields on a centred square grid without overlap, row by row from the top: (x, y) in metres."""
    side = math.ceil(math.sqrt(sites))
    pitch = size * PIXEL_SIZE_UM * 1e-6
    centre = (side - 1) / 2
    return [((k % side - centre) * pitch, (centre - k // side) * pitch) for k in range(sites)]


def harmony_head(names: tuple[str, ...], sites: int, size: int) -> str:
    """Write what all images of a simulation share: everything up to ``<Image>``.

    Parameters
    ----------
    names
        Channel names, ch1 first.
    sites, size
        Fields a well, and their side in pixels.
    """
    lights = "".join(
        f'<DiscreteWavelength Version="1"><ID>{name}</ID><IlluminationType>{kind}</IlluminationType>'
        "</DiscreteWavelength>"
        for name, kind in _LIGHTS
    )
    records = "".join(
        f'<Record Version="1"><FocusSetting><Height Unit="m">{height}</Height></FocusSetting><LightsourceSettings>'
        f"<DiscreteWLLightsourceSetting><LightsourceID>{light}</LightsourceID></DiscreteWLLightsourceSetting>"
        f'</LightsourceSettings><Channels><Channel Version="1"><Name>{name}</Name><CameraSetting>'
        "<CameraID>Camera2</CameraID><BinningX>4</BinningX><BinningY>4</BinningY></CameraSetting></Channel>"
        "</Channels></Record>"
        for name, (light, height) in zip(names, _RECORDS, strict=True)
    )
    fields = "".join(
        f'<Field><X Unit="m">{x:.9g}</X><Y Unit="m">{y:.9g}</Y></Field>' for x, y in field_positions(sites, size)
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<TiffImageDescription Version="1" xmlns="{_NAMESPACE}">'
        "<InstrumentDescription><Type>Simulated</Type>"
        '<Magnification Unit="">1.087</Magnification>'
        f'<Objectives><Objective Version="1"><ID>{_LENS}</ID><Magnification Unit="">20</Magnification>'
        '<NumAperture Unit="">1</NumAperture></Objective></Objectives>'
        '<Cameras><Camera Version="1"><ID>Camera2</ID><PixelSizeX Unit="m">0.0000065</PixelSizeX>'
        '<PixelSizeY Unit="m">0.0000065</PixelSizeY><MaxIntensity>65535</MaxIntensity></Camera></Cameras>'
        f"<Lightsources>{lights}</Lightsources></InstrumentDescription>"
        f'<DeviceExperiment xmlns="{_NAMESPACE}" Version="1"><PlateType Version="1"><StartCol>1</StartCol>'
        "<StartRow>1</StartRow><EndCol>24</EndCol><EndRow>16</EndRow></PlateType>"
        f'<Exposures><Exposure Version="1"><Objective>{_LENS}</Objective><Confocal>false</Confocal>{records}'
        "</Exposure></Exposures>"
        f'<Sublayouts><Sublayout Version="1"><Definition Version="1"><Lens>{_LENS}</Lens></Definition>{fields}'
        "</Sublayout></Sublayouts></DeviceExperiment>"
    )


def harmony_xml(head: str, row: int, column: int, field: int, record: int) -> bytes:
    """Complete the XML for one image: ``record`` is its channel's place in the list of records, from 1."""
    return (
        f'{head}<Image Version="1"><Row>{row}</Row><Col>{column}</Col><FieldID>{field}</FieldID><PlaneID>1</PlaneID>'
        f"<ExposureID>1</ExposureID><RecordID>{record}</RecordID><ChannelID>1</ChannelID></Image>"
        "</TiffImageDescription>"
    ).encode()
