from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from sslprofiler_core.plates.harmony import parse_acquisition, read_acquisition

from .conftest import FIELDS, harmony_xml, write_plane


def test_the_real_files_say_channel_group_focus_pixel_size_and_positions(cpjump1: Path) -> None:
    folder = cpjump1 / "images" / "BR00117012"
    expected = {
        1: ("Alexa 647", "fluorescence", -4.0),
        5: ("HOECHST 33342", "fluorescence", -2.0),
        6: ("Brightfield H", "brightfield", 1.0),
        7: ("Brightfield L", "brightfield", -10.0),
        8: ("Brightfield", "brightfield", -6.0),
    }
    for number, (name, group, height) in expected.items():
        acquisition = read_acquisition(folder / f"r04c08f05p01-ch{number}sk1fk1fl1.tiff")
        assert acquisition is not None
        assert acquisition.record is not None
        assert (acquisition.record.name, acquisition.record.group) == (name, group)
        assert acquisition.record.height_um == pytest.approx(height)
        assert acquisition.recorded[number] is acquisition.record
        assert len(acquisition.recorded) == 8
    assert acquisition.pixel_size_um == pytest.approx(6.5 * 2 / (20 * 1.087))
    positions = np.array([acquisition.positions_um[number] for number in range(1, 10)])
    # The pitch of the fields is what 1,080 pixels measure, so the pixel size is right; and the numbering is Harmony's:
    # first the field nearest the centre, then row by row from the top, to the right and to the left in turn.
    pitch = positions[8, 0] - positions[7, 0]
    assert abs(pitch) == pytest.approx(1080 * acquisition.pixel_size_um, rel=1e-3)
    assert np.hypot(*positions[0]) == pytest.approx(np.hypot(*positions.T).min())
    rows = np.round((positions[1:, 1].max() - positions[1:, 1]) / abs(pitch)).astype(int)
    assert (np.diff(rows) >= 0).all()
    for row in range(4):
        steps = np.diff(positions[1:][rows == row, 0])
        assert (steps * (-1) ** row > 0).all()


def test_the_real_files_number_channels_and_sites_as_their_names_do(cpjump1: Path) -> None:
    for path in sorted((cpjump1 / "images").glob("*/*.tiff"))[::5]:
        with tifffile.TiffFile(path) as tif:
            root = ElementTree.fromstring(tif.pages.first.tags[65500].value)
        assert f"f{int(root.findtext('./{*}Image/{*}FieldID')):02d}p" in path.name
        assert f"-ch{root.findtext('./{*}Image/{*}RecordID')}sk" in path.name


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    write_plane(path, np.zeros((4, 4), np.uint16), harmony_xml(3))
    acquisition = read_acquisition(path)
    assert acquisition is not None
    assert acquisition.record is not None
    assert (acquisition.record.name, acquisition.record.group) == ("Brightfield", "brightfield")
    assert acquisition.record.height_um == pytest.approx(5.0)
    assert acquisition.pixel_size_um == pytest.approx(0.5)
    assert acquisition.positions_um[3] == pytest.approx((1e6 * FIELDS[2][0], 1e6 * FIELDS[2][1]))


def test_positions_are_not_guessed_when_wells_have_different_ones() -> None:
    acquisition = parse_acquisition(ElementTree.fromstring(harmony_xml(1, sublayouts=2)))
    assert acquisition is not None
    assert acquisition.positions_um == {}


def test_an_unknown_light_is_an_unknown_group() -> None:
    acquisition = parse_acquisition(ElementTree.fromstring(harmony_xml(1, [("X", "Ultrasound", 0.0)])))
    assert acquisition is not None
    assert acquisition.record is not None
    assert acquisition.record.group == "unknown"


@pytest.mark.parametrize("xml", [None, b"not XML at all", b"<a><b/></a>", harmony_xml(9), harmony_xml(0)])
def test_no_description_or_a_broken_one_is_none(tmp_path: Path, xml: bytes | None) -> None:
    path = tmp_path / "x.tif"
    write_plane(path, np.zeros((4, 4), np.uint16), xml)
    assert read_acquisition(path) is None
