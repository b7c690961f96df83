"""Small plates written file by file, as an instrument would, with or without its description."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

# name, kind of light, focus height in metres
RECORDS = (
    ("DNA", "Epifluorescence", -2e-6),
    ("Mito", "Epifluorescence", 1e-6),
    ("Brightfield", "Transmitted", 5e-6),
)
FIELDS = ((-1e-4, 2e-4), (1e-4, 2e-4), (1e-4, -2e-4))


def harmony_xml(record: int, records: Sequence[tuple[str, str, float]] = RECORDS, sublayouts: int = 1) -> bytes:
    """A description with what is read of Harmony's: 6.5 um x 2 / (20 x 1.3) = 0.5 um a pixel."""
    lights = "".join(
        f"<Laser><ID>L{i}</ID><IlluminationType>{kind}</IlluminationType></Laser>"
        for i, (_, kind, _) in enumerate(records)
    )
    recorded = "".join(
        f"<Record><FocusSetting><Height Unit='m'>{height}</Height></FocusSetting><LightsourceSettings><X>"
        f"<LightsourceID>L{i}</LightsourceID></X></LightsourceSettings><Channels><Channel><Name>{name}</Name>"
        "<CameraSetting><CameraID>C2</CameraID><BinningX>2</BinningX></CameraSetting></Channel></Channels></Record>"
        for i, (name, _, height) in enumerate(records)
    )
    fields = "".join(f"<Field><X>{x}</X><Y>{y}</Y></Field>" for x, y in FIELDS)
    return (
        "<TiffImageDescription xmlns='http://example.org/any'><InstrumentDescription><Magnification>1.3</Magnification>"
        "<Objectives><Objective><ID>5x</ID><Magnification>5</Magnification></Objective>"
        "<Objective><ID>20x</ID><Magnification>20</Magnification></Objective></Objectives>"
        "<Cameras><Camera><ID>C1</ID><PixelSizeX>1e-6</PixelSizeX></Camera>"
        f"<Camera><ID>C2</ID><PixelSizeX>6.5e-6</PixelSizeX></Camera></Cameras><Lightsources>{lights}</Lightsources>"
        "</InstrumentDescription><DeviceExperiment>"
        f"<Exposures><Exposure><Objective>20x</Objective>{recorded}</Exposure></Exposures>"
        f"<Sublayouts>{f'<Sublayout>{fields}</Sublayout>' * sublayouts}</Sublayouts></DeviceExperiment>"
        f"<Image><FieldID>1</FieldID><ExposureID>1</ExposureID><RecordID>{record}</RecordID></Image>"
        "</TiffImageDescription>"
    ).encode()


def write_plane(path: Path, plane: np.ndarray, xml: bytes | None = None, **options: object) -> None:
    """Write one TIFF."""
    extra = [] if xml is None else [(65500, 1, len(xml), xml, True)]
    tifffile.imwrite(path, plane, extratags=extra, metadata=None, **options)


def phenix_name(row: int, column: int, site: int, channel: int, plane: int = 1) -> str:
    return f"r{row:02d}c{column:02d}f{site:02d}p{plane:02d}-ch{channel}sk1fk1fl1.tiff"


MakePlate = Callable[..., Path]


@pytest.fixture
def make_plate(tmp_path: Path) -> MakePlate:
    """Write a plate: wells x sites x channels of small planes whose level says where they belong."""

    def make(
        name: str = "P1",
        wells: Sequence[tuple[int, int]] = ((1, 1), (2, 3)),
        sites: int = 2,
        channels: Sequence[int] = (1, 2, 3),
        records: Sequence[tuple[str, str, float]] | None = RECORDS,
        size: tuple[int, int] = (12, 10),
        dtype: type = np.uint16,
        folder: Path | None = None,
    ) -> Path:
        root = (folder or tmp_path / "images") / name
        root.mkdir(parents=True)
        for row, column in wells:
            for site in range(1, sites + 1):
                for channel in channels:
                    level = 100 * channel + 10 * row + column + site
                    plane = np.full(size, level % 256 if dtype is np.uint8 else level, dtype)
                    plane[0, 0] += 1
                    xml = None if records is None else harmony_xml(channel, records)
                    write_plane(root / phenix_name(row, column, site, channel), plane, xml)
        return root

    return make
