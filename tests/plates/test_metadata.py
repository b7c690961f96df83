from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import load_metadata, open_plates

from .conftest import MakePlate

MAP = "well_position\tbroad_sample\tsolvent\nA01\tBRD-1\tDMSO\nA02\t\tDMSO\nB3\tBRD-2\tDMSO\n"
COMPOUNDS = "broad_sample\tpert_iname\tcontrol_type\tgene\nBRD-1\taspirin\t\tPTGS1\nBRD-2\t\tposcon\t\n"
BARCODES = "Assay_Plate_Barcode,Plate_Map_Name\n0012,library\nP2,library\nP3,other\n"
EXPERIMENT = (
    "Batch\tPlate_Map_Name\tAssay_Plate_Barcode\tCell_type\tCell_line\tTime\r\n"
    "day_1_again\tlibrary\t0012\tU2OS\tParental\t96\r\n"
    "day_1\tlibrary\t0012\tU2OS\tParental\t48\r\n"
    "day_1\tlibrary\tP2\tA549\tParental\t24\r\n"
)
CPJUMP1 = {
    "library.txt": MAP,
    "compounds.tsv": COMPOUNDS,
    "barcodes.csv": BARCODES,
    "experiment.tsv": EXPERIMENT,
    "README.md": "read me",
}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode())
    return folder


def row(table: pd.DataFrame, plate: str, well: str) -> dict[str, str]:
    rows = table[(table["Metadata_Plate"] == plate) & (table["Metadata_Well"] == well)]
    assert len(rows) == 1
    return {name.removeprefix("Metadata_"): value for name, value in rows.iloc[0].dropna().items()}


def test_real_metadata_agrees_with_the_public_profiles_in_all_wells(cpjump1: Path) -> None:
    paths = sorted((cpjump1 / "profiles").glob("*.csv.gz"))
    ours = load_metadata(cpjump1 / "metadata", [path.name.split(".")[0] for path in paths])
    assert ours.attrs["warnings"] == []
    public = pd.concat(
        pd.read_csv(path, dtype=str, usecols=lambda name: name.startswith("Metadata_")) for path in paths
    )
    assert len(public) == len(ours) == 4 * 384
    both = public.merge(ours, on=["Metadata_Plate", "Metadata_Well"], suffixes=("_public", ""), validate="1:1")
    assert len(both) == len(public)
    compared = [name for name in public if f"{name}_public" in both and name != "Metadata_pubchem_cid"]
    assert {"Metadata_broad_sample", "Metadata_pert_iname", "Metadata_control_type"} <= set(compared)
    for name in compared:
        assert (both[name].fillna("") == both[f"{name}_public"].fillna("")).all(), name
    # The profiles rounded compound numbers to five digits.
    numbers = both[["Metadata_pubchem_cid", "Metadata_pubchem_cid_public"]].astype(float).dropna()
    assert ((numbers.iloc[:, 0] / numbers.iloc[:, 1] - 1).abs() < 1e-4).all()
    assert (ours["Metadata_Compound"] == "DMSO").sum() == 4 * 64
    assert set(ours["Metadata_CellType"]) == {"U2OS"}
    assert set(ours["Metadata_Cell_line"]) == {"Parental"}
    assert set(ours["Metadata_Batch"]) == {"2020_11_04_CPJUMP1"}


def test_real_plates_of_design_have_their_compounds(cpjump1: Path) -> None:
    table = load_metadata(cpjump1 / "metadata", open_plates([cpjump1 / "images"]))
    expected = {
        ("BR00117012", "D08"): "FK-866",
        ("BR00117012", "N14"): "NVS-PAK1-1",
        ("BR00117012", "A21"): "dexamethasone",
        ("BR00117013", "D14"): "DMSO",
        ("BR00117013", "G21"): "TC-S-7004",
        ("BR00117011", "M02"): "LY2109761",
    }
    for (plate, well), compound in expected.items():
        known = row(table, plate, well)
        assert (known["Compound"], known["CellType"], known["Time"]) == (compound, "U2OS", "48")


def test_plates_in_several_batches_have_one_row_a_well_and_a_warning(cpjump1: Path) -> None:
    table = load_metadata(cpjump1 / "metadata")
    assert not table.duplicated(["Metadata_Plate", "Metadata_Well"]).any()
    lists, left_out = table.attrs["warnings"]
    assert "8 plates several times with different Time_delay, Times_imaged, Number_of_images" in lists
    assert "27 plates left out" in left_out


def test_a_folder_of_four_files_is_merged(tmp_path: Path) -> None:
    table = load_metadata(write(tmp_path / "m", CPJUMP1))
    assert list(table.columns[:4]) == ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_CellType"]
    assert list(table["Metadata_Plate"]) == 3 * ["0012"] + 3 * ["P2"]
    assert list(table["Metadata_Well"]) == 2 * ["A01", "A02", "B03"]
    assert row(table, "0012", "A01") == {
        "Plate": "0012",
        "Well": "A01",
        "Compound": "aspirin",
        "CellType": "U2OS",
        "broad_sample": "BRD-1",
        "solvent": "DMSO",
        "Plate_Map_Name": "library",
        "Batch": "day_1",
        "Cell_line": "Parental",
        "Time": "48",
        "pert_iname": "aspirin",
        "gene": "PTGS1",
    }
    assert row(table, "P2", "A02")["control_type"] == "negcon"
    assert row(table, "P2", "A02")["Compound"] == "DMSO"
    assert "broad_sample" not in row(table, "P2", "A02")
    assert row(table, "P2", "B03")["Compound"] == "BRD-2"
    assert row(table, "P2", "B03")["control_type"] == "poscon"


def test_a_plate_map_alone_holds_for_every_plate_given(tmp_path: Path) -> None:
    path = write(tmp_path / "m", {"library.txt": MAP}) / "library.txt"
    table = load_metadata(path, ["P1", "P2"])
    assert len(table) == 6
    assert list(table["Metadata_Compound"]) == 2 * ["BRD-1", "DMSO", "BRD-2"]
    assert table["Metadata_CellType"].isna().all()
    with pytest.raises(UserError, match="names no plates"):
        load_metadata(path)


def test_several_maps_need_a_table_that_says_which(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {"a.txt": MAP, "b.txt": MAP})
    with pytest.raises(UserError, match="several plate maps"):
        load_metadata(folder, ["P1"])
    write(folder, {"plates.csv": "Assay_Plate_Barcode,Plate_Map_Name\nP1,b\n"})
    assert len(load_metadata(folder)) == 3


def test_a_table_of_plates_is_enough_for_opened_plates(tmp_path: Path, make_plate: MakePlate) -> None:
    path = write(tmp_path / "m", {"e.tsv": EXPERIMENT}) / "e.tsv"
    make_plate("0012")
    plates = open_plates([make_plate("P2").parent])
    table = load_metadata(path, plates)
    assert [tuple(r) for r in table.iloc[:, [0, 1, 3]].to_numpy()] == [
        ("0012", "A01", "U2OS"),
        ("0012", "B03", "U2OS"),
        ("P2", "A01", "A549"),
        ("P2", "B03", "A549"),
    ]
    assert [w for w in table.attrs["warnings"] if "no table" in w] == []
    with pytest.raises(UserError, match="names no wells"):
        load_metadata(path, ["P2"])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_plain_tables_are_keyed_by_plate_and_well_or_one_of_them(tmp_path: Path, separator: str) -> None:
    def plain(text: str) -> str:
        return text.replace(",", separator)

    files = {
        "a.csv": plain("Metadata_Plate,Metadata_Well,Metadata_Compound\nP1,A1,x\nP1,A02,DMSO\n"),
        "b.csv": plain("Metadata_Well,Metadata_Dose\nA01,0.10\nA02,\n"),
        "c.csv": plain("Metadata_Plate,Metadata_CellType,feature\nP1,U2OS,1\n"),
    }
    table = load_metadata(write(tmp_path / "m", files))
    assert row(table, "P1", "A01") == {
        "Plate": "P1",
        "Well": "A01",
        "Compound": "x",
        "CellType": "U2OS",
        "Dose": "0.10",
    }
    assert row(table, "P1", "A02")["control_type"] == "negcon"
    assert "Metadata_feature" not in table


def test_a_partly_annotated_screen_is_allowed_with_a_warning(tmp_path: Path, make_plate: MakePlate) -> None:
    folder = write(tmp_path / "m", CPJUMP1)
    make_plate("0012", wells=[(1, 1), (5, 5)])
    make_plate("P3")
    plates = open_plates([make_plate("P9").parent])
    table = load_metadata(folder, plates)
    assert row(table, "0012", "E05") == {"Plate": "0012", "Well": "E05", "CellType": "U2OS"} | {
        key: row(table, "0012", "A01")[key] for key in ("Plate_Map_Name", "Batch", "Cell_line", "Time")
    }
    assert row(table, "P9", "A01") == {"Plate": "P9", "Well": "A01"}
    warnings = "\n".join(table.attrs["warnings"])
    assert "1 imaged well of plate 0012 in no table (the first: E05)" in warnings
    assert "Plate P3 has the plate map other, which is not in" in warnings
    assert "Plate P9 is not in" in warnings


def test_no_plate_covered_is_an_error_that_names_the_plate_and_the_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "m", CPJUMP1)
    with pytest.raises(UserError, match=r"Plate P9 is not in .*barcodes\.csv"):
        load_metadata(folder, ["P9"])
    with pytest.raises(UserError, match="Plate P3 has the plate map other"):
        load_metadata(folder, ["P3"])


@pytest.mark.parametrize(
    ("files", "name", "words"),
    [
        ({}, "nowhere", "There is no metadata file or folder"),
        ({}, "", "has no table of plates or wells"),
        ({"a.csv": "x,y\n1,2\n"}, "a.csv", "has no column for plates or wells"),
        ({"a.csv": ""}, "a.csv", "no column names"),
        ({"a.csv": "Metadata_Plate,Metadata_Well\nP1,Z99\n"}, "a.csv", "'Z99' is not a well"),
        ({"a.csv": "well_position,x\nA01,1\nA01,2\n"}, "a.csv", "two rows for A01 that differ"),
        ({"a.csv": "Metadata_Well,Metadata_Plate,Metadata_Plate\nA1,1,2\n"}, "a.csv", "two columns for Metadata_Plate"),
        ({"a.csv": "well_position,Cell_type,CellType\nA1,1,2\n"}, "a.csv", "two columns for Metadata_CellType"),
        ({"a.csv": COMPOUNDS}, "a.csv", "has no table of plates or wells"),
        (
            {"a.csv": "Metadata_Well,Metadata_Compound\nA01,x\nA02,1,4-dioxane\n"},
            "a.csv",
            "3 values in row 3, but 2 col",
        ),
        (
            {"a.csv": "Well,Compound\nA01,1,4-dioxane\n"},
            "a.csv",
            "3 values in row 2, but 2 columns. Put values .* quotes",
        ),
        ({"a.csv": 'Well,Compound\nA01,"x\nA02,y\n'}, "a.csv", "unexpected end of data"),
    ],
)
def test_errors_say_what_to_do(tmp_path: Path, files: dict[str, str], name: str, words: str) -> None:
    folder = write(tmp_path / "m", files)
    with pytest.raises(UserError, match=words) as error:
        load_metadata(folder / name, ["P1"])
    assert str(error.value).count("\n") <= 1


@pytest.mark.parametrize(
    "columns", ["Plate,Well,Compound,,", "Plate,Well,Compound", "Metadata_Plate,Metadata_Well,Metadata_Compound"]
)
def test_empty_rows_and_cells_that_a_spreadsheet_leaves_are_nothing(tmp_path: Path, columns: str) -> None:
    text = f"\ufeff{columns}\r\n P1 ,A1,x,,\r\n,,,,\r\n\r\nP1,A02\r\n ,, ,,\r\n".replace(",", ";")
    table = load_metadata(write(tmp_path / "m", {"a.csv": text}) / "a.csv", ["P1"])
    assert list(table["Metadata_Well"]) == ["A01", "A02"]
    assert table["Metadata_Compound"][0] == "x"
    assert table["Metadata_Compound"].isna()[1]
    assert list(table.columns) == ["Metadata_Plate", "Metadata_Well", "Metadata_Compound", "Metadata_CellType"]


def test_text_in_another_encoding_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("Well,Dose\nA01,5 µM\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"no text in UTF-8\. Save it as CSV UTF-8"):
        load_metadata(path)


def test_binary_files_are_no_tables(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match="Cannot read the metadata file"):
        load_metadata(path)


def test_a_table_that_says_nothing_is_named_in_the_warnings(tmp_path: Path) -> None:
    table = load_metadata(write(tmp_path / "m", CPJUMP1 | {"notes.csv": "a,b\n1,2\n"}), ["P2"])
    assert table.attrs["warnings"] == ["notes.csv has no column for plates, wells or broad_sample: not used."]


def test_tables_that_disagree_about_a_well_are_named_in_the_warnings(tmp_path: Path) -> None:
    head = "Metadata_Plate,Metadata_Well,Metadata_Compound,Metadata_Dose\n"
    files = {
        "a.csv": head + "P1,A01,x,1\nP1,A02,x,\nP2,A01,x,\n",
        "b.csv": head + "P1,A1,y,1\nP1,A2,x,2\nP2,A1,z,\n",
    }
    table = load_metadata(write(tmp_path / "m", files), ["P1"])
    assert row(table, "P1", "A01")["Compound"] == "x"
    assert table.attrs["warnings"] == [
        "Tables say different things of 1 well (the first: P1 A01, Compound 'x' and 'y'): what comes first is used."
    ]


def test_an_empty_cell_hides_no_other_tables_value_but_an_empty_sample_is_solvent(tmp_path: Path) -> None:
    files = {
        "a.csv": "Metadata_Plate,Metadata_Well,Metadata_Dose,Metadata_broad_sample\nP1,A01,,\nP1,A02,3,BRD-1\n",
        "b.csv": "Metadata_Plate,Metadata_Well,Metadata_Dose,Metadata_broad_sample\nP1,A01,2,BRD-2\nP1,A03,,\n",
    }
    table = load_metadata(write(tmp_path / "m", files), ["P1"])
    assert [row(table, "P1", well)["Dose"] for well in ("A01", "A02")] == ["2", "3"]
    assert [row(table, "P1", well)["Compound"] for well in ("A01", "A02", "A03")] == ["DMSO", "BRD-1", "DMSO"]


def test_a_map_without_samples_goes_by_its_name_too(tmp_path: Path) -> None:
    files = {
        "one.csv": "Metadata_Well,Metadata_Compound\nA01,aspirin\n",
        "two.csv": "Metadata_Well,Metadata_Compound\nA02,taxol\n",
        "all.csv": "Metadata_Well,Metadata_Row_Label\nA01,first\n",
        "plates.csv": "Assay_Plate_Barcode,Plate_Map_Name\nP1,one\nP2,two\n",
    }
    table = load_metadata(write(tmp_path / "m", files), ["P1", "P2"])
    named = table[table["Metadata_Compound"].notna()]
    found = set(zip(named["Metadata_Plate"], named["Metadata_Well"], named["Metadata_Compound"], strict=True))
    assert found == {("P1", "A01", "aspirin"), ("P2", "A02", "taxol")}
    assert set(table.loc[table["Metadata_Row_Label"] == "first", "Metadata_Plate"]) == {"P1", "P2"}
