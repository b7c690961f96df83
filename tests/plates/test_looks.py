from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from sslprofiler_core.plates import looks_like_plates

from .conftest import MakePlate


def test_plates_look_like_plates(make_plate: MakePlate, cpjump1: Path) -> None:
    root = make_plate()
    assert looks_like_plates(root)
    assert looks_like_plates(root.parent)
    assert looks_like_plates(cpjump1)
    make_plate("Images", folder=root.parent / "b" / "images" / "BR1__2020-Measurement1")
    assert looks_like_plates(root.parent / "b")


def test_a_table_looks_like_plates_by_its_first_line(tmp_path: Path) -> None:
    table = tmp_path / "anything.csv"
    table.write_text("FileName_OrigDNA,Metadata_Well\nx.tif,A01\n")
    assert looks_like_plates(table)
    table.write_text("Metadata_Well,Metadata_broad_sample\nA01,x\n")
    assert not looks_like_plates(table)
    table.write_bytes(b"\xff\xfe\0\0")
    assert not looks_like_plates(table)


@pytest.mark.parametrize("names", [["holiday.jpg", "cat.tif"], [], ["notes.txt"], ["stack_t001.tif", "stack_t002.tif"]])
def test_other_folders_do_not(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert not looks_like_plates(tmp_path)
    assert not looks_like_plates(tmp_path / "nowhere")


def test_a_folder_of_many_files_is_told_in_a_moment(tmp_path: Path) -> None:
    for k in range(3000):
        (tmp_path / f"frame {k}.dat").touch()
    start = time.thread_time()
    assert not looks_like_plates(tmp_path)
    assert time.thread_time() - start < 0.05


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sslprofiler_core.plates import looks_like_plates; "
        f"looks_like_plates(Path({str(tmp_path)!r})); "
        "print({'torch', 'pandas', 'zarr', 'numpy', 'tifffile', 'imagecodecs'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
