from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import open_plates, read_site

from .conftest import write_plane


def write(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plane = np.full((6, 8), level, np.uint16)
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(plane))
    else:
        write_plane(path, plane)


@pytest.mark.parametrize(
    ("pattern", "form"),
    [
        ("{plate}/{well}_{site}_{channel}.tif", "P{p}/B0{w}_{s}_c{c}.tif"),
        ("{plate}/{well}_s{site}_w{channel}.png", "P{p}/b{w}_s0{s}_w{c}.png"),
        ("{plate}/r{row}c{column}/f{site}-{channel} *.tif", "P{p}/r02c0{w}/f{s}-c{c} (x).tif"),
        ("*/{plate}/{row}/{column}/{channel}/{site}.tif", "a b/P{p}/B/{w}/c{c}/{s}.tif"),
        ("{channel}/{plate}-{well}-{site}-{any}.tif", "c{c}/P{p}-B{w}-{s}-é.tif"),
        ("{plate}/{plate}_{well}_{site}_{channel}.tif", "P{p}/P{p}_B0{w}_{s}_c{c}.tif"),
        ("[1]/{plate}.{well}.{site}.{channel}.tif", "[1]/P{p}.B{w}.{s}.c{c}.tif"),
    ],
)
def test_a_pattern_says_where_a_plane_belongs(tmp_path: Path, pattern: str, form: str) -> None:
    for p in (1, 2):
        for w in (3, 4):
            for s in (1, 2):
                for c in (1, 2, 10):
                    write(tmp_path / form.format(p=p, w=w, s=s, c=c), 1000 * p + 100 * w + 10 * s + c)
    write(tmp_path / "P1" / "notes.tif", 1)
    plates = open_plates([tmp_path / pattern], check=True)
    assert [(plate.name, plate.layout) for plate in plates] == [("P1", "pattern"), ("P2", "pattern")]
    for p, plate in enumerate(plates, 1):
        assert [(site.well, site.site) for site in plate.sites] == [("B03", 1), ("B03", 2), ("B04", 1), ("B04", 2)]
        numbers = [1, 2, 10] if "w{channel}" in pattern else [1, 2, 3]  # labels that are no numbers count by order
        assert [channel.number for channel in plate.channels] == numbers
        assert read_site(plate.sites[3])[:, 0, 0].tolist() == [1000 * p + 420 + c for c in (1, 2, 10)]
        assert not plate.gaps
        assert open_plates([plate.root]) == [plate]  # a plate's root opens it again


def test_a_pattern_below_the_plates_names_them_by_their_folder(tmp_path: Path) -> None:
    write(tmp_path / "My plate" / "A01.tif", 7)
    (plate,) = open_plates([tmp_path / "My plate" / "{well}.tif"])
    assert (plate.name, [channel.name for channel in plate.channels]) == ("My plate", ["ch1"])
    assert read_site(plate.sites[0]).shape == (1, 6, 8)


def test_without_a_channel_files_hold_all_of_them(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 99, (3, 6, 8)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x A01 1 y.tif", image, photometric="minisblack")
    (plate,) = open_plates([tmp_path / "x {well} {site} y.tif"], check=True)
    np.testing.assert_array_equal(read_site(plate.sites[0]), image)


def test_names_are_the_labels_and_groups_follow_them(tmp_path: Path) -> None:
    for label in ("DNA", "zebra", "Bright Field"):
        write(tmp_path / "P1" / f"A01_1_{label}.tif", 3)
    (plate,) = open_plates([tmp_path / "{plate}" / "{well}_{site}_{channel}.tif"])
    found = [(channel.number, channel.name, channel.group) for channel in plate.channels]
    assert found == [(1, "Bright Field", "brightfield"), (2, "DNA", "fluorescence"), (3, "zebra", "unknown")]


def test_gaps_and_duplicates_are_named(tmp_path: Path) -> None:
    for well in ("A01", "B02", "ZZ99"):
        for label in ("a", "b"):
            write(tmp_path / f"{well}_z1_{label}.tif", 3)
    write(tmp_path / "A01_z0_b.tif", 4)
    (tmp_path / "B02_z1_a.tif").unlink()
    (plate,) = open_plates([tmp_path / "{well}_z{z}_{channel}.tif"], check=True)
    assert [site.well for site in plate.sites] == ["A01"]
    assert read_site(plate.sites[0])[:, 0, 0].tolist() == [3, 4]  # the lowest z plane that a channel has
    problems = {gap.path.name: gap.problem for gap in plate.gaps}
    assert set(problems) == {"A01_z1_b.tif", "B02_z1_a.tif", "ZZ99_z1_a.tif", "ZZ99_z1_b.tif"}
    assert "missing: B02 site 1 has 1 of its 2 channels" in problems["B02_z1_a.tif"]


def test_hidden_files_are_left_out_unless_the_pattern_says_the_dot(tmp_path: Path) -> None:
    for name in ("P1_A01_1_a.tif", "._P1_A01_1_a.tif", "..P1_A01_1_a.tif"):
        write(tmp_path / name, 3)
    (plate,) = open_plates([tmp_path / "*{plate}_{well}_{site}_{channel}.tif"])
    assert (plate.name, plate.gaps, plate.sites[0].paths[0].name) == ("P1", (), "P1_A01_1_a.tif")
    (plate,) = open_plates([tmp_path / "._{plate}_{well}_{site}_{channel}.tif"])
    assert plate.sites[0].paths[0].name == "._P1_A01_1_a.tif"


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{plate}/{site}.tif", "says not where the well is"),
        ("{plate}/{well}_{wave}.tif", r"has a field \{wave\}.*Use \{plate\}"),
        ("{plate}/{well}.tif", "No file is named like .*{well}.tif. Check the pattern, with quotes"),
        ("{well}_{site}_{channel}.tif", "names a well of a plate .the first: .*Q99_1_a.tif"),
    ],
)
def test_a_pattern_that_does_not_work_says_why(tmp_path: Path, pattern: str, words: str) -> None:
    write(tmp_path / "Q99_1_a.tif", 3)
    with pytest.raises(UserError, match=words):
        open_plates([tmp_path / pattern])


def test_a_label_has_one_number_on_all_plates(tmp_path: Path) -> None:
    for plate, labels in (("P1", ("c1", "c2", "c3")), ("P2", ("c2", "c3"))):
        for label in labels:
            write(tmp_path / plate / f"A01_1_{label}.tif", int(label[1]))
    plates = open_plates([tmp_path / "{plate}" / "{well}_{site}_{channel}.tif"])
    found = {plate.name: [(channel.number, channel.name) for channel in plate.channels] for plate in plates}
    assert found == {"P1": [(1, "c1"), (2, "c2"), (3, "c3")], "P2": [(2, "c2"), (3, "c3")]}
    assert [read_site(plate.sites[0])[-1, 0, 0] for plate in plates] == [3, 3]
