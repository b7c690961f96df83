"""The download of a real well, from a bucket on this machine with the gallery's keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_sslprofiler.gallery_download import PLATE, download_well
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import load_metadata, open_plates

from ..plates.conftest import cloud, object_store, screen
from ..plates.object_store import Fault, put_plate, remove_plate

__all__ = ["cloud", "object_store", "screen"]  # fixtures


@pytest.fixture
def gallery(cloud: str, screen: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a bucket that has the well's first two sites under their real names, and another well's."""
    made = tmp_path / "renamed"
    made.mkdir()
    source = sorted(screen.iterdir())[0]
    wells = sorted({path.name[:6] for path in source.iterdir()})
    for path in source.iterdir():
        well = "r04c08" if path.name.startswith(wells[0]) else "r05c01"
        (made / f"{well}{path.name[6:]}").write_bytes(path.read_bytes())
    root = put_plate(cloud, made, PLATE)
    yield cloud
    remove_plate(cloud, root, made)  # every server of this process has the same buckets


def test_the_well_arrives_whole_once(gallery: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = tmp_path / "sample"
    with Fault(gallery) as proxy:
        images = download_well(folder, lambda done, total: told.append((done, total)), endpoint=proxy.endpoint)
        assert len(proxy.images()) == 16
    assert told[1] == (0, 16) and told[-1] == (16, 16)
    (plate,) = open_plates([images])
    assert plate.name == PLATE and plate.wells == ("D08",) and len(plate.sites) == 2
    assert load_metadata(folder / "metadata", [plate])["Metadata_Compound"].tolist() == ["FK-866"]
    assert download_well(folder, lambda done, total: None, endpoint="http://127.0.0.1:9") == images  # nobody there


def test_no_network_is_said_with_what_to_do(cloud: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Check the network.*Simulated plates works"):
        download_well(tmp_path, lambda done, total: None, endpoint="http://127.0.0.1:9")
    assert not list(tmp_path.rglob("*.tiff"))
