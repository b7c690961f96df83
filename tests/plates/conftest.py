"""Small plates written file by file, as an instrument would, with or without its description."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from .object_store import BUCKET, make_bucket, put_plate

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


@pytest.fixture(scope="session")
def screen(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites of each plate's first two wells: folders of 32 files, which a server in Python can serve at once."""
    images = tmp_path_factory.mktemp("screen") / "images"
    for plate in sorted((simulated / "images").iterdir()):
        (images / plate.name).mkdir(parents=True)
        names = sorted(path.name for path in plate.glob("*.tiff"))
        wells = sorted({name[:6] for name in names})[:2]
        for name in names:
            if name[:6] in wells and name[6:9] in ("f01", "f02"):
                shutil.copy(plate / name, images / plate.name)
    return images


@pytest.fixture(scope="session")
def object_store(screen: Path) -> Iterator[str]:
    """The address of an S3 server with the gallery's bucket, which has these plates by the gallery's keys."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    make_bucket(endpoint, BUCKET)
    for folder in sorted(screen.iterdir()):
        put_plate(endpoint, folder, folder.name)
    yield endpoint
    server.stop()


@pytest.fixture
def cloud(object_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same, for a user without credentials and with an empty cache, who is not kept waiting."""
    from sslprofiler_core.plates import remote, remote_store

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store)
    monkeypatch.setenv("SSLPROFILER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SSLPROFILER_CACHE_GB", raising=False)
    monkeypatch.setattr(remote_store, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(remote_store, "LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(remote_store, "OBJECT_TRIES", 4)
    monkeypatch.setattr(remote_store, "LISTING_TRIES", 3)
    yield object_store
    remote.forget_stores()
