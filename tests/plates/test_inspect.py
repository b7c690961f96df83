from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import format_inspection, inspect_plates, read_plane

from .conftest import MakePlate, phenix_name


def test_the_real_plates_have_the_known_totals(cpjump1: Path) -> None:
    report = inspect_plates([cpjump1 / "images"], metadata=cpjump1 / "metadata")
    assert report["totals"] == {"plates": 3, "wells": 6, "sites": 6, "channels": 8, "planes": 48, "gaps": 0}
    assert report["gaps"] == []
    assert json.loads(json.dumps(report)) == report
    plate = report["plates"][1]
    assert (plate["name"], plate["layout"], plate["shape"], plate["dtype"]) == (
        "BR00117012",
        "phenix",
        [1080, 1080],
        "uint16",
    )
    assert plate["sites_per_well"] == {"1": 3}
    assert plate["metadata"] == {
        "cell_types": ["U2OS"],
        "times": ["48"],
        "compounds": ["FK-866", "NVS-PAK1-1", "dexamethasone"],
        "wells_without_compound": 0,
    }
    channel = plate["channels"][4]
    assert (channel["number"], channel["name"], channel["group"]) == (5, "HOECHST 33342", "fluorescence")
    files = sorted((cpjump1 / "images" / "BR00117012").glob("*-ch5*"))
    pixels = np.concatenate([tifffile.imread(path).ravel() for path in files]).astype(np.float64)
    expected = np.percentile(pixels, (0.1, 50, 99.9))
    np.testing.assert_allclose(list(channel["percentiles"].values()), expected, atol=0.05)
    assert list(channel["percentiles"]) == ["0.1", "50", "99.9"]


def test_a_deleted_a_truncated_and_a_text_plane_are_each_named(cpjump1: Path, tmp_path: Path) -> None:
    root = tmp_path / "images"
    shutil.copytree(cpjump1 / "images", root, copy_function=shutil.copyfile)
    deleted = root / "BR00117011" / "r13c02f05p01-ch3sk1fk1fl1.tiff"
    truncated = root / "BR00117012" / "r04c08f05p01-ch5sk1fk1fl1.tiff"
    text = root / "BR00117013" / "r04c14f05p01-ch8sk1fk1fl1.tiff"
    for path in (deleted, truncated, text):
        path.parent.chmod(0o755)
    deleted.unlink()
    truncated.write_bytes(truncated.read_bytes()[:1_000_000])
    text.write_text("these are not pixels")
    report = inspect_plates([root])
    assert report["totals"] == {"plates": 3, "wells": 6, "sites": 6, "channels": 8, "planes": 45, "gaps": 3}
    problems = {gap["path"]: gap["problem"] for gap in report["gaps"]}
    assert "missing" in problems[str(deleted)]
    assert "truncated" in problems[str(truncated)]
    assert "not a TIFF" in problems[str(text)]
    assert [plate["complete_sites"] for plate in report["plates"]] == [0, 2, 1]
    assert all(len(channel["percentiles"]) == 3 for plate in report["plates"] for channel in plate["channels"][3:7])
    printed = format_inspection(report)
    assert all(str(path) in printed for path in (deleted, truncated, text))


def test_damaged_pixels_are_found_when_asked_for(make_plate: MakePlate) -> None:
    root = make_plate(wells=[(1, column) for column in range(1, 6)], sites=4)
    path = root / phenix_name(1, 5, 4, 2)
    plane = tifffile.imread(path)
    tifffile.imwrite(path, plane, compression="zlib", metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        start = tif.pages.first.dataoffsets[0]
    data[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(data))
    assert inspect_plates([root], sites=1)["totals"]["gaps"] in (0, 1)
    report = inspect_plates([root], pixels=True)
    assert [gap["path"] for gap in report["gaps"]] == [str(path)]
    assert report["gaps"][0]["problem"].startswith("damaged: ")
    assert report["totals"]["planes"] == 59
    assert report["plates"][0]["complete_sites"] == 19
    with pytest.raises(UserError, match="Run `sslprofiler inspect --pixels` to find"):
        read_plane(path)


def test_every_kind_of_gap_is_counted_and_the_rest_reported(make_plate: MakePlate) -> None:
    root = make_plate(sites=3)
    shutil.copyfile(root / phenix_name(1, 1, 1, 1), root / phenix_name(1, 1, 1, 1, plane=2))
    (root / "stray.png").touch()
    (root / phenix_name(1, 1, 2, 3)).unlink()
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "x.tif").touch()
    report = inspect_plates([root.parent])
    assert report["totals"] == {"plates": 1, "wells": 2, "sites": 6, "channels": 3, "planes": 17, "gaps": 4}
    assert report["plates"][0]["gaps"] == 3


def test_unequal_wells_are_counted(make_plate: MakePlate) -> None:
    root = make_plate(wells=[(1, 1), (1, 2)], sites=3)
    for channel in (1, 2, 3):
        (root / phenix_name(1, 1, 3, channel)).unlink()
    report = inspect_plates([root])
    assert report["plates"][0]["sites_per_well"] == {"2": 1, "3": 1}
    assert report["gaps"] == []
    assert "2 to 3" in format_inspection(report)


def test_the_sample_changes_percentiles_alone(make_plate: MakePlate) -> None:
    root = make_plate(sites=4)
    one, two = inspect_plates([root], sites=1, seed=0), inspect_plates([root], sites=8, seed=0)
    assert one["totals"] == two["totals"]
    assert two == inspect_plates([root], sites=100, seed=5)
    assert one["plates"][0]["channels"][0]["percentiles"] != two["plates"][0]["channels"][0]["percentiles"]


def test_notes_say_what_the_metadata_lacks(make_plate: MakePlate, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("Metadata_Plate,Metadata_Well,Metadata_Compound\nP1,A01,x\n")
    report = inspect_plates([make_plate()], metadata=path)
    assert report["plates"][0]["metadata"]["wells_without_compound"] == 1
    assert "B03" in report["notes"][0]
    assert report["notes"][0] in format_inspection(report)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_percentiles_are_in_raw_units(make_plate: MakePlate, dtype: type) -> None:
    report = inspect_plates([make_plate(wells=[(1, 1)], sites=1, dtype=dtype)])
    assert report["plates"][0]["channels"][0]["percentiles"]["50"] == 112
    assert report["plates"][0]["dtype"] == np.dtype(dtype).name
