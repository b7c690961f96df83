from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import open_plates
from sslprofiler_core.plates.types import Channel

from .conftest import RECORDS, MakePlate, harmony_xml, phenix_name, write_plane


def test_the_real_plates_open(cpjump1: Path) -> None:
    plates = open_plates([cpjump1 / "images"], check=True)
    assert [plate.name for plate in plates] == ["BR00117011", "BR00117012", "BR00117013"]
    assert [plate.wells for plate in plates] == [("M02",), ("A21", "D08", "N14"), ("D14", "G21")]
    for plate in plates:
        assert [channel.name for channel in plate.channels] == [
            "Alexa 647",
            "Alexa 568",
            "488 long",
            "Alexa 488",
            "HOECHST 33342",
            "Brightfield H",
            "Brightfield L",
            "Brightfield",
        ]
        assert [channel.group for channel in plate.channels] == 5 * ["fluorescence"] + 3 * ["brightfield"]
        assert plate.layout == "phenix"
        assert plate.shape == (1080, 1080)
        assert plate.pixel_size_um == pytest.approx(0.598, abs=5e-4)
        assert not plate.gaps
        for site in plate.sites:
            assert site.site == 5
            assert site.position_um == pytest.approx((-968.7, -322.9), abs=0.1)
            assert all(
                f"-ch{channel.number}sk" in p.name for channel, p in zip(plate.channels, site.paths, strict=True)
            )


def test_sites_come_by_well_and_number(make_plate: MakePlate) -> None:
    root = make_plate(wells=[(10, 2), (2, 10), (2, 3), (27, 1)], sites=3)
    (plate,) = open_plates([root])
    assert plate.wells == ("B03", "B10", "J02", "AA01")
    assert [site.site for site in plate.sites_of("B10")] == [1, 2, 3]
    assert plate.sites_of("A01") == ()
    assert plate.channels == (
        Channel("DNA", "fluorescence", 1),
        Channel("Mito", "fluorescence", 2),
        Channel("Brightfield", "brightfield", 3),
    )
    assert plate.pixel_size_um == pytest.approx(0.5)
    assert plate.shape == (12, 10)
    assert plate.sites[1].position_um == pytest.approx((100.0, 200.0))


def test_one_path_may_be_given_alone(make_plate: MakePlate) -> None:
    assert open_plates(str(make_plate())) == open_plates([make_plate("P2").parent / "P1"])


def test_a_missing_plane_is_a_gap_by_the_path_it_should_have(make_plate: MakePlate) -> None:
    root = make_plate()
    lost = root / phenix_name(2, 3, 1, 2)
    lost.unlink()
    (plate,) = open_plates([root])
    assert [(site.well, site.site) for site in plate.sites] == [("A01", 1), ("A01", 2), ("B03", 2)]
    (gap,) = plate.gaps
    assert gap.path == lost
    assert "missing" in gap.problem


def test_duplicates_keep_the_first_and_name_the_others(make_plate: MakePlate) -> None:
    root = make_plate()
    kept = root / phenix_name(1, 1, 1, 1)
    others = [root / phenix_name(1, 1, 1, 1, plane=2), kept.with_name(kept.name.replace("sk1", "sk2"))]
    for path in others:
        shutil.copyfile(kept, path)
    shutil.copyfile(kept, kept.with_suffix(".tif"))
    (plate,) = open_plates([root])
    assert len(plate.sites) == 4
    assert plate.sites[0].paths[0] == kept.with_suffix(".tif")  # by name, where nothing else decides
    assert {gap.path for gap in plate.gaps} == {*others, kept}
    assert all("duplicate" in gap.problem and kept.with_suffix(".tif").name in gap.problem for gap in plate.gaps)


def test_strays_are_gaps(make_plate: MakePlate) -> None:
    root = make_plate()
    (root / "overview.tif").write_bytes(b"")
    (root / "Index.xml").write_bytes(b"")
    (plate,) = open_plates([root])
    assert [gap.path.name for gap in plate.gaps] == ["overview.tif"]
    assert len(plate.sites) == 4


def test_a_channel_that_few_sites_have_does_not_cost_the_others(make_plate: MakePlate) -> None:
    root = make_plate()
    extra = root / phenix_name(1, 1, 1, 9)
    write_plane(extra, np.zeros((12, 10), np.uint16))
    (plate,) = open_plates([root])
    assert [channel.number for channel in plate.channels] == [1, 2, 3]
    assert len(plate.sites) == 4
    assert [gap.path for gap in plate.gaps] == [extra]


def test_a_plane_that_a_one_site_plate_lacks_is_known_from_the_other_plates(make_plate: MakePlate) -> None:
    for name in ("P1", "P2", "P3"):
        root = make_plate(name, wells=[(1, 1)], sites=1)
    lost = root / phenix_name(1, 1, 1, 2)
    lost.unlink()
    *_, plate = open_plates([root.parent])
    assert [channel.name for channel in plate.channels] == ["DNA", "Mito", "Brightfield"]
    assert plate.sites == ()
    assert [gap.path for gap in plate.gaps] == [lost]
    # Alone, the plate is one without this channel; that the instrument recorded it is said.
    (alone,) = open_plates([root])
    assert [channel.name for channel in alone.channels] == ["DNA", "Brightfield"]
    assert len(alone.sites) == 1
    assert [gap.path for gap in alone.gaps] == [lost]
    assert "Mito" in alone.gaps[0].problem


def test_a_plate_recorded_with_fewer_channels_keeps_its_own(make_plate: MakePlate) -> None:
    make_plate("P1")
    make_plate("P2")
    root = make_plate("P3", channels=(1, 2), records=RECORDS[:2])
    plates = open_plates([root.parent])
    assert [len(plate.channels) for plate in plates] == [3, 3, 2]
    assert all(not plate.gaps and len(plate.sites) == 4 for plate in plates)


def test_names_follow_the_record_not_the_number(make_plate: MakePlate) -> None:
    root = make_plate(channels=(), records=None)
    for number, record in ((1, 3), (2, 1), (3, 2)):
        write_plane(root / phenix_name(1, 1, 1, number), np.zeros((4, 4), np.uint16), harmony_xml(record))
    (plate,) = open_plates([root])
    assert [channel.name for channel in plate.channels] == ["Brightfield", "DNA", "Mito"]
    assert not plate.gaps


def test_without_a_description_names_are_numbers_and_groups_unknown(make_plate: MakePlate) -> None:
    (plate,) = open_plates([make_plate(records=None)])
    assert plate.channels == tuple(Channel(f"ch{i}", "unknown", i) for i in (1, 2, 3))
    assert plate.pixel_size_um is None
    assert plate.shape == (12, 10)
    assert plate.sites[0].position_um is None


def test_the_description_is_taken_from_the_first_readable_file(make_plate: MakePlate) -> None:
    root = make_plate()
    for channel in (1, 2, 3):
        (root / phenix_name(1, 1, 1, channel)).write_text("broken")
    (plate,) = open_plates([root])
    assert [channel.name for channel in plate.channels] == ["DNA", "Mito", "Brightfield"]
    assert plate.shape == (12, 10)


def test_a_plate_without_one_readable_file_opens_all_the_same(make_plate: MakePlate) -> None:
    root = make_plate()
    for path in root.iterdir():
        path.write_text("broken")
    (plate,) = open_plates([root], check=True)
    assert plate.shape is None
    assert plate.sites == ()
    assert len(plate.gaps) == 12


def test_checking_turns_bad_files_into_gaps(make_plate: MakePlate) -> None:
    root = make_plate(sites=3)
    text, cut, odd, deep = (root / phenix_name(1, 1, site, 1) for site in (1, 2, 3, 3))
    text.write_text("not an image")
    cut.write_bytes(cut.read_bytes()[:200])
    write_plane(odd, np.zeros((12, 9), np.uint16), harmony_xml(1))
    deep = root / phenix_name(2, 3, 1, 1)
    write_plane(deep, np.zeros((12, 10), np.uint8), harmony_xml(1))
    assert len(open_plates([root])[0].sites) == 6
    (plate,) = open_plates([root], check=True)
    assert [(site.well, site.site) for site in plate.sites] == [("B03", 2), ("B03", 3)]
    problems = {gap.path: gap.problem for gap in plate.gaps}
    assert "not a TIFF" in problems.pop(text)
    assert "truncated" in problems.pop(cut)
    assert problems.pop(odd) == "12 x 9 uint16; the plate's other files are 12 x 10 uint16"
    assert problems.pop(deep) == "12 x 10 uint8; the plate's other files are 12 x 10 uint16"
    assert not problems


def test_names_can_be_given(make_plate: MakePlate) -> None:
    (plate,) = open_plates([make_plate()], channels={1: "Nuclei"})
    assert plate.channels[0] == Channel("Nuclei", "fluorescence", 1)
    with pytest.raises(UserError, match="names channel 9, which no plate has"):
        open_plates([make_plate("P2")], channels={9: "X"})


def test_gallery_plates_open(make_plate: MakePlate, tmp_path: Path) -> None:
    make_plate("Images", folder=tmp_path / "batch" / "BR1__2020-Measurement1")
    (plate,) = open_plates([tmp_path / "batch"])
    assert plate.name == "BR1"
    assert plate.root.name == "Images"
    assert {site.plate for site in plate.sites} == {"BR1"}


def test_channels_of_a_site_are_of_one_depth(make_plate: MakePlate) -> None:
    wells = [(1, column) for column in range(1, 6)]
    root = make_plate(wells=wells, sites=1)
    for row, column in wells:
        for channel in (1, 2, 3):
            shutil.copyfile(
                root / phenix_name(row, column, 1, channel), root / phenix_name(row, column, 1, channel, plane=2)
            )
    missing = root / phenix_name(1, 2, 1, 2)
    missing.unlink()
    for channel in (1, 2, 3):  # a site that has one depth alone is whole
        (root / phenix_name(1, 5, 1, channel)).unlink()
    (plate,) = open_plates([root])
    assert plate.wells == ("A01", "A03", "A04", "A05")
    assert all("p02" in path.name for path in plate.sites[-1].paths)
    assert [gap.path for gap in plate.gaps if "missing" in gap.problem] == [missing]
