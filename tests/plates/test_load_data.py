from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Channel, open_plates, read_site

from .conftest import MakePlate, harmony_xml, phenix_name, write_plane

CHANNELS = ("DNA", "ER", "Brightfield")


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_of(
    folder: Path, written: str, plate: str = "P1", wells: Sequence[str] = ("A01", "B03"), sites: int = 2
) -> list[dict[str, object]]:
    """Write images and say where they are: ``written`` is what PathName says."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for well in wells:
        for site in range(1, sites + 1):
            row: dict[str, object] = {"Metadata_Plate": plate, "Metadata_Well": well, "Metadata_Site": site}
            for number, channel in enumerate(CHANNELS, 1):
                name = f"{well} {site} ü{number}.tif"
                write_plane(folder / name, np.full((9, 7), 100 * number + site, np.uint16))
                row |= {f"FileName_Orig{channel}": name, f"PathName_Orig{channel}": written}
                row |= {f"FileName_Illum{channel}": "x.npy", f"PathName_Illum{channel}": "/illum"}
            rows.append(row)
    return rows


@pytest.mark.parametrize("given", ["folder", "table", "gz"])
def test_a_table_says_where_each_plane_is(tmp_path: Path, given: str) -> None:
    table = write_table(
        tmp_path / "tables" / "load_data.csv", rows_of(tmp_path / "raw images", str(tmp_path / "raw images"))
    )
    if given == "gz":
        (tmp_path / "my table.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
        table = tmp_path / "my table.csv.gz"
    (plate,) = open_plates([table.parent if given == "folder" else table], check=True)
    assert (plate.name, plate.layout, plate.root) == ("P1", "load_data", table)
    assert plate.channels == (
        Channel("DNA", "fluorescence", 1),
        Channel("ER", "fluorescence", 2),
        Channel("Brightfield", "brightfield", 3),
    )
    assert [(site.well, site.site) for site in plate.sites] == [("A01", 1), ("A01", 2), ("B03", 1), ("B03", 2)]
    assert not plate.gaps
    assert plate.shape == (9, 7)
    image = read_site(plate.sites[1])
    assert image[:, 0, 0].tolist() == [102, 202, 302]


@pytest.mark.parametrize("written", ["raw", "./raw", "/home/ubuntu/bucket/2020/raw/", r"C:\\data\\raw", ""])
def test_images_are_found_though_the_table_was_written_elsewhere(tmp_path: Path, written: str) -> None:
    folder = tmp_path / "screen" / "raw"
    rows = rows_of(folder, written)
    table = write_table((folder if not written else tmp_path / "screen") / "load_data.csv", rows)
    (plate,) = open_plates([table], check=True)
    assert len(plate.sites) == 4
    assert not plate.gaps


def test_a_folder_with_a_table_below_the_images_own_is_found(tmp_path: Path) -> None:
    written = "/home/ubuntu/bucket/projects/cpg/images/B1/images/P1__2020-Measurement1/Images/"
    rows = rows_of(tmp_path / "cpg" / "images" / "B1" / "images" / "P1__2020-Measurement1" / "Images", written)
    table = write_table(tmp_path / "cpg" / "workspace" / "load_data_csv" / "B1" / "P1" / "load_data.csv", rows)
    (plate,) = open_plates([table.parent])
    assert len(plate.sites) == 4


def test_file_urls_are_read_and_others_refused(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "raw", "")
    for row in rows:
        for channel in CHANNELS:
            del row[f"PathName_Orig{channel}"]
            row[f"URL_Orig{channel}"] = (tmp_path / "raw" / str(row[f"FileName_Orig{channel}"])).as_uri()
    table = write_table(tmp_path / "load_data.csv", rows)
    assert len(open_plates([table], check=True)[0].sites) == 4
    for row in rows:
        row["URL_OrigER"] = "https://example.org/x/y.tiff"
    with pytest.raises(UserError, match=r"load_data\.csv names images on a server \(https://.*Download them"):
        open_plates([write_table(table, rows)])


def test_nothing_there_names_the_table_and_says_what_to_do(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "raw", "/gone/away")
    table = write_table(tmp_path / "tables" / "load_data.csv", rows)
    with pytest.raises(UserError) as error:
        open_plates([table.parent])
    assert str(table) in str(error.value)
    assert "/gone/away/A01 1 ü1.tif" in str(error.value)
    assert "Correct its PathName" in str(error.value)


def test_what_is_wrong_with_some_rows_is_a_gap(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "raw", "raw", sites=3)
    (tmp_path / "raw" / "A01 1 ü2.tif").unlink()
    rows[1]["FileName_OrigER"] = ""
    rows[3]["Metadata_Well"] = "rubbish"
    rows.append(rows[4])
    table = write_table(tmp_path / "load_data.csv", rows)
    (plate,) = open_plates([table], check=True)
    assert [(site.well, site.site) for site in plate.sites] == [("A01", 3), ("B03", 2), ("B03", 3)]
    problems = sorted(gap.problem for gap in plate.gaps)
    assert sum("duplicate" in problem for problem in problems) == 3
    assert any("row 2 of load_data.csv names it" in problem for problem in problems)
    assert any("A01 site 2 has 2 of its 3 channels" in problem for problem in problems)
    assert any("row 5: Metadata_Well is 'rubbish'" in problem for problem in problems)
    assert len(problems) == 6


def test_a_table_of_two_plates_is_two_plates(tmp_path: Path) -> None:
    rows = [row for name in ("P2", "P1") for row in rows_of(tmp_path / name, name, plate=name)]
    plates = open_plates([write_table(tmp_path / "load_data.csv", rows)], check=True)
    assert [plate.name for plate in plates] == ["P1", "P2"]
    assert all(len(plate.sites) == 4 and not plate.gaps for plate in plates)


@pytest.mark.parametrize(("unit", "offset"), [(1e-6, 0.0), (1.0, 0.0), (1.0, 60_000.0), (1e-6, 0.06)])
def test_positions_are_micrometres_from_the_wells_centre(tmp_path: Path, unit: float, offset: float) -> None:
    rows = rows_of(tmp_path / "raw", "raw")
    for k, row in enumerate(rows):
        row["Metadata_PositionX"], row["Metadata_PositionY"] = offset + unit * (-300, 300)[k % 2], offset + unit * 50
        row["Metadata_ImageResolutionX"] = 5.98e-7
    (plate,) = open_plates([write_table(tmp_path / "load_data.csv", rows)])
    assert plate.pixel_size_um == pytest.approx(0.598)
    y = 0.0 if offset else 50.0
    assert plate.sites[0].position_um == pytest.approx((-300.0, y), abs=1e-3)
    assert plate.sites[1].position_um == pytest.approx((300.0, y), abs=1e-3)


def test_groups_and_pixel_size_come_from_the_files_where_the_instrument_wrote_them(make_plate: MakePlate) -> None:
    root = make_plate(wells=[(1, 1)], sites=1)
    row: dict[str, object] = {"Metadata_Plate": "P1", "Metadata_Well": "A1", "Metadata_Site": 1}
    for name, channel in (("Zebra", 3), ("Lion", 1)):
        row |= {f"FileName_Orig{name}": phenix_name(1, 1, 1, channel), f"PathName_Orig{name}": str(root)}
        write_plane(root / phenix_name(1, 1, 1, channel), np.zeros((4, 4), np.uint16), harmony_xml(channel))
    (plate,) = open_plates([write_table(root.parent / "t" / "load_data.csv", [row])])
    assert plate.channels == (Channel("Zebra", "brightfield", 1), Channel("Lion", "fluorescence", 2))
    assert plate.pixel_size_um == pytest.approx(0.5)
    assert not plate.gaps


@pytest.mark.parametrize(("separator", "end"), [(";", "\r\n"), ("\t", "\n"), (",", ",,\n")])
def test_a_table_as_a_spreadsheet_writes_it_is_read(tmp_path: Path, separator: str, end: str) -> None:
    table = write_table(tmp_path / "load_data.csv", rows_of(tmp_path / "raw", "raw"))
    head, *rows = table.read_text(encoding="utf-8").replace(",", separator).splitlines()
    table.write_text("\ufeff" + "".join([head, end.lstrip(","), *(row + end for row in rows)]), encoding="utf-8")
    (plate,) = open_plates([table], check=True)
    assert (plate.name, len(plate.sites), plate.gaps) == ("P1", 4, ())


def test_a_table_without_a_well_or_in_another_encoding_says_so(tmp_path: Path) -> None:
    rows = [row | {"Metadata_Well": "", "Well": row["Metadata_Well"]} for row in rows_of(tmp_path / "raw", "raw")]
    table = write_table(tmp_path / "load_data.csv", rows)
    with pytest.raises(
        UserError, match=r"No row of .*load_data\.csv names .*\(row 2: Metadata_Well is '', which is no"
    ):
        open_plates([table])
    table.write_bytes(table.read_text(encoding="utf-8").encode("latin-1"))
    with pytest.raises(UserError, match=r"load_data\.csv: no text in UTF-8\. Save it"):
        open_plates([table])


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\0\0\0", "FileName_IllumDNA\nx.npy\n"])
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "load_data.csv").write_text(text)
    with pytest.raises(UserError, match=r"load_data\.csv"):
        open_plates([tmp_path])


def test_the_real_plates_open_by_a_table(cpjump1: Path, tmp_path: Path) -> None:
    root = cpjump1 / "images" / "BR00117012"
    names = ("Mito", "AGP", "RNA", "ER", "DNA", "HighZBF", "LowZBF", "Brightfield")
    rows = []
    for well, row, column in (("A21", 1, 21), ("D08", 4, 8), ("N14", 14, 14)):
        line: dict[str, object] = {"Metadata_Plate": "BR00117012", "Metadata_Well": well, "Metadata_Site": 5}
        for number, name in enumerate(names, 1):
            line[f"FileName_Orig{name}"] = phenix_name(row, column, 5, number)
            line[f"PathName_Orig{name}"] = str(root)
        rows.append(line)
    (plate,) = open_plates([write_table(tmp_path / "load_data.csv", rows)], check=True)
    (phenix,) = open_plates([root])
    assert [channel.name for channel in plate.channels] == list(names)
    assert [channel.group for channel in plate.channels] == [channel.group for channel in phenix.channels]
    assert plate.pixel_size_um == phenix.pixel_size_um
    assert [site.paths for site in plate.sites] == [site.paths for site in phenix.sites]
    np.testing.assert_array_equal(read_site(plate.sites[0], [4]), read_site(phenix.sites[0], [4]))


def test_a_folder_whose_first_files_are_missing_is_found(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "raw", "/cluster/raw")
    (tmp_path / "raw" / str(rows[0]["FileName_OrigDNA"])).unlink()
    (plate,) = open_plates([write_table(tmp_path / "load_data.csv", rows)])
    assert len(plate.sites) == 3
    assert len(plate.gaps) == 1


def test_one_folder_is_not_taken_for_two(tmp_path: Path) -> None:
    rows = [
        *rows_of(tmp_path / "Images", "/cluster/P1/Images", "P1"),
        *rows_of(tmp_path / "Images", "/cluster/P2/Images", "P2"),
    ]
    with pytest.raises(UserError, match="in /cluster/P1/Images and in /cluster/P2/Images, but only"):
        open_plates([write_table(tmp_path / "load_data.csv", rows)])


def test_rows_and_columns_count_from_one(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "raw", "raw", wells=("A01", "B03", "C05"))
    for row, at in zip(rows, ("1", "1", "2", "2", "0", "0"), strict=True):
        row |= {"Metadata_Well": "", "Metadata_Row": at, "Metadata_Col": "3"}
    (plate,) = open_plates([write_table(tmp_path / "load_data.csv", rows)])
    assert plate.wells == ("A03", "B03")
    assert sum("row 0 and column 3 are no well" in gap.problem for gap in plate.gaps) == 2


def test_a_column_without_a_name_is_no_files(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "raw", "raw")
    for number, row in enumerate(rows):
        for channel in CHANNELS:
            path = tmp_path / "raw" / str(row.pop(f"FileName_Orig{channel}"))
            row.pop(f"PathName_Orig{channel}")
            row[f"URL_Orig{channel}"] = path.as_uri()
        row[""] = number  # the index that pandas writes
    (plate,) = open_plates([write_table(tmp_path / "load_data.csv", rows)])
    assert len(plate.sites) == 4
