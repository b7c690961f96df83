from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates.folders import find_plate_folders
from sslprofiler_core.plates.layouts import plate_name

NAME = "r01c01f01p01-ch1sk1fk1fl1.tiff"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def names(*paths: Path) -> list[str]:
    return [plate.name for plate in find_plate_folders(paths)[0]]


def test_a_plate_a_folder_of_plates_and_what_simulate_writes_are_found(tmp_path: Path) -> None:
    touch(tmp_path / "images" / "P2" / NAME)
    touch(tmp_path / "images" / "P1" / NAME)
    touch(tmp_path / "metadata" / "map.txt")
    assert names(tmp_path / "images" / "P2") == ["P2"]
    assert names(tmp_path / "images") == names(tmp_path) == ["P1", "P2"]
    assert names(tmp_path / "images" / "P2", tmp_path / "images" / "P1") == ["P1", "P2"]


def test_the_gallery_layout_is_named_by_its_barcode(tmp_path: Path) -> None:
    measurement = tmp_path / "images" / "BR00117012__2020-11-08T18_18_00-Measurement1"
    touch(measurement / "Images" / NAME)
    touch(measurement / "Assaylayout" / "x.xml")
    for path in (measurement / "Images", measurement, tmp_path / "images", tmp_path):
        assert names(path) == ["BR00117012"]


def test_plates_whose_folders_are_all_called_images_are_told_apart(tmp_path: Path) -> None:
    for plate in ("P1", "P2"):
        touch(tmp_path / plate / "Images" / NAME)
    assert names(tmp_path) == ["P1", "P2"] and names(tmp_path / "P2" / "Images") == ["P2"]


def test_names_of_plates() -> None:
    assert plate_name(Path("/a/P1")) == "P1"
    assert plate_name(Path("/a/P1/Images")) == "P1" == plate_name(Path("/a/P1/images"))
    assert plate_name(Path("/Images")) == "Images"
    assert plate_name(Path("/a/P1__x/Images")) == "P1"
    assert plate_name(Path("/a/__x")) == "__x"


def test_a_loop_of_links_ends_and_linked_plates_are_found_once(tmp_path: Path) -> None:
    plate = touch(tmp_path / "P1" / NAME).parent
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "P1 link").symlink_to(plate, target_is_directory=True)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    assert len(names(tmp_path)) == 1
    assert names(plate, plate, tmp_path) == ["P1"]
    assert names(tmp_path, plate) == ["P1"]


def test_a_folder_of_links_to_plates_elsewhere_is_a_folder_of_plates(tmp_path: Path) -> None:
    plate = touch(tmp_path / "disk" / "P1" / NAME).parent
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen" / "P1").symlink_to(plate, target_is_directory=True)
    assert names(tmp_path / "chosen") == ["P1"]


def test_folders_below_a_plate_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "P1" / NAME)
    touch(tmp_path / "P1" / "thumbnails" / NAME)
    touch(tmp_path / ".trash" / NAME)
    touch(tmp_path / "P1" / ("._" + NAME))
    plates, strangers = find_plate_folders([tmp_path])
    assert [plate.name for plate in plates] == ["P1"]
    assert len(plates[0].planes) == 1
    assert not plates[0].strays
    assert not strangers


def test_images_that_no_layout_knows_beside_a_plate_are_reported(tmp_path: Path) -> None:
    touch(tmp_path / "P1" / NAME)
    touch(tmp_path / "other" / "nuclei.tif")
    _, (gap,) = find_plate_folders([tmp_path])
    assert gap.path == tmp_path / "other"
    assert "nuclei.tif" in gap.problem


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    strange = tmp_path / "strange"
    for name in "dcab":
        touch(strange / f"{name}.tif")
    file = touch(tmp_path / "file.tif")
    for path, words in (
        (tmp_path / "nowhere", ["There is no folder", "nowhere"]),
        (empty, ["has no files", "r04c08f05p01-ch1sk1fk1fl1.tiff"]),
        (strange, ["No images found", "r04c08f05p01-ch1sk1fk1fl1.tiff", "a.tif, b.tif, c.tif."]),
        (file, ["is a file"]),
    ):
        with pytest.raises(UserError) as error:
            find_plate_folders([path])
        assert all(word in str(error.value) for word in words)
        assert str(error.value).count("\n") <= 1
    with pytest.raises(UserError, match="No plate folder given"):
        find_plate_folders([])


def test_one_good_path_does_not_hide_a_bad_one(tmp_path: Path) -> None:
    touch(tmp_path / "P1" / NAME)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no files"):
        find_plate_folders([tmp_path / "P1", tmp_path / "empty"])


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"Cannot read the folder .*: Permission denied"):
        find_plate_folders([tmp_path])


def test_two_folders_with_one_plate_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "P1__a" / "Images" / NAME)
    shutil.copytree(tmp_path / "P1__a", tmp_path / "P1__b")
    with pytest.raises(UserError, match="P1 is there twice"):
        find_plate_folders([tmp_path])


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_a_plate_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    try:
        touch(tmp_path / os.fsdecode(b"Pl\xe9") / NAME)
    except OSError:
        pytest.skip("a file system that takes UTF-8 names alone")
    with pytest.raises(UserError, match=r"name 'Pl\\udce9' is not UTF-8\. Rename it"):
        names(tmp_path)
