from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from sslprofiler_core.plates import Channel, looks_like_plates, open_plates, read_site
from sslprofiler_core.plates.image_xpress import IMAGE_XPRESS

GUID = "07447158-AC76-4844-8431-E6A954BD1174"


def metaseries(setting: str, x: float, y: float) -> str:
    """What MetaXpress writes for a plane: the properties that are read."""
    return (
        "<MetaData><PlaneInfo>"
        '<prop id="spatial-calibration-state" type="bool" value="on"/>'
        '<prop id="spatial-calibration-x" type="float" value="0.656"/>'
        '<prop id="spatial-calibration-units" type="string" value="um"/>'
        f'<prop id="stage-position-x" type="float" value="{x}"/><prop id="stage-position-y" type="float" value="{y}"/>'
        f'<custom-prop id="x" type="string" value="y"/><prop id="_IllumSetting_" type="string" value="{setting}"/>'
        "</PlaneInfo></MetaData>"
    )


def write_plate(folder: Path, experiment: str = "Week 1_22123", described: bool = True, guid: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for column, well in enumerate(("B02", "B03")):
        for site in (1, 2):
            for channel, name in enumerate(("DAPI", "FITC", "TL 20"), 1):
                path = folder / f"{experiment}_{well}_s{site}_w{channel}{GUID if guid else ''}.tif"
                text = metaseries(name, 50_000 + 9000 * column + 600 * site, 700.0) if described else None
                plane = np.full((6, 8), 100 * channel + 10 * column + site, np.uint16)
                tifffile.imwrite(path, plane, description=text, metadata=None)
                (folder / f"{experiment}_{well}_s{site}_w{channel}_thumb{GUID}.tif").touch()
    return folder


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (f"Week1_150607_B02_s1_w1{GUID}.tif", (2, 2, 1, 1)),  # BBBC021
        ("IXMtest_B15_s8_w49DE56250-C587-48D8-8840-5A322A3F0177.tif", (2, 15, 8, 4)),  # BBBC022
        ("plate_AF48_s12_w3.TIF", (32, 48, 12, 3)),
        ("Exp_S12_s3_w1.tif", (19, 12, 3, 1)),
        ("B02_C03_w1.tif", (3, 3, 1, 1)),
        ("a b_A01_w2.tif", (1, 1, 1, 2)),
        ("A01_s1_w1.png", (1, 1, 1, 1)),
    ],
)
def test_a_name_says_where_a_plane_belongs(name: str, place: tuple[int, ...]) -> None:
    found, strays = IMAGE_XPRESS.index([name])
    ((plane,),) = found.values()
    assert (plane.row, plane.column, plane.site, plane.channel) == place
    assert not strays


def test_other_images_are_strays_and_thumbnails_are_not_looked_at() -> None:
    names = ["P_Z99_s1_w1.tif", "P_B02_s1_w1_thumb0.tif", "P_B02_s1.tif", "P_B02_s1_w1X.tif", "a.HTD"]
    found, strays = IMAGE_XPRESS.index(names)
    assert not found
    assert [name for name, _ in strays] == ["P_Z99_s1_w1.tif", "P_B02_s1.tif", "P_B02_s1_w1X.tif"]


@pytest.mark.parametrize("inner", ["", "TimePoint_1", "TimePoint_1/ZStep_1"])
def test_a_plate_opens_with_what_the_instrument_wrote(tmp_path: Path, inner: str) -> None:
    write_plate(tmp_path / "Plate 7" / inner)
    assert looks_like_plates(tmp_path / "Plate 7")
    (plate,) = open_plates([tmp_path], check=True)
    assert (plate.name, plate.layout) == ("Plate 7", "image_xpress")
    assert plate.channels == (
        Channel("DAPI", "fluorescence", 1),
        Channel("FITC", "fluorescence", 2),
        Channel("TL 20", "brightfield", 3),
    )
    assert plate.pixel_size_um == pytest.approx(0.656)
    assert [(site.well, site.site) for site in plate.sites] == [("B02", 1), ("B02", 2), ("B03", 1), ("B03", 2)]
    assert [site.position_um for site in plate.sites] == 2 * [pytest.approx((-300.0, 0.0)), pytest.approx((300.0, 0.0))]
    assert not plate.gaps
    assert read_site(plate.sites[3])[:, 0, 0].tolist() == [112, 212, 312]


def test_a_plate_that_says_nothing_opens_all_the_same(tmp_path: Path) -> None:
    (plate,) = open_plates([write_plate(tmp_path / "P1", described=False, guid=False)], check=True)
    assert [channel.name for channel in plate.channels] == ["ch1", "ch2", "ch3"]
    assert plate.sites[0].position_um is None


def test_gaps_and_duplicates_are_named(tmp_path: Path) -> None:
    root = write_plate(tmp_path / "P1", guid=False)
    lost = root / "Week 1_22123_B03_s2_w2.tif"
    lost.rename(root / f"Week 1_22123_B02_s2_w2{GUID}.tif")
    (plate,) = open_plates([root], check=True)
    assert len(plate.sites) == 3
    problems = {gap.path: gap.problem for gap in plate.gaps}
    assert "missing: B03 site 2 has 2 of its 3 channels" in problems[lost]
    assert any("duplicate" in problem for problem in problems.values())


def test_two_experiments_in_a_folder_are_two_plates(tmp_path: Path) -> None:
    write_plate(tmp_path / "all", "P_1")
    write_plate(tmp_path / "all", "P_2")
    plates = open_plates([tmp_path])
    assert [(plate.name, len(plate.sites)) for plate in plates] == [("P_1", 4), ("P_2", 4)]
