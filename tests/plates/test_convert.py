from __future__ import annotations

import filecmp
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import convert as convert_module
from sslprofiler_core.plates import (
    convert_plates,
    describe_conversion,
    open_plates,
    read_site,
    read_thumbnail,
    tile_plate,
)
from sslprofiler_core.plates.zarr_metadata import read_attributes

from .conftest import MakePlate, phenix_name, write_plane


def same_tree(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    compared = filecmp.dircmp(one, other)
    if compared.left_only or compared.right_only or compared.funny_files:
        return False
    _, mismatch, errors = filecmp.cmpfiles(one, other, compared.common_files, shallow=False)
    return not mismatch and not errors and all(same_tree(one / name, other / name) for name in compared.common_dirs)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_plate_comes_back_as_it_was(make_plate: MakePlate, tmp_path: Path, compressed: bool) -> None:
    root = make_plate("Plate ü 1", wells=[(1, 1), (10, 2), (28, 48)], sites=3, size=(37, 50))
    (source,) = open_plates([root])
    (done,) = convert_plates([root], tmp_path / "s.zarr", compressed=compressed)
    assert done.path == tmp_path / "s.zarr" / "Plate ü 1"
    assert (done.sites, done.left_out) == (9, ())
    for path in (tmp_path / "s.zarr", done.path):
        (plate,) = open_plates([path], check=True)
        assert plate.layout == "ome_zarr"
        for fact in ("name", "channels", "wells", "shape", "pixel_size_um"):
            assert getattr(plate, fact) == getattr(source, fact), fact
        assert not plate.gaps
    for stored, site in zip(plate.sites, source.sites, strict=True):
        assert (stored.well, stored.site, stored.position_um) == (site.well, site.site, site.position_um)
        np.testing.assert_array_equal(read_site(stored), read_site(site))
        np.testing.assert_array_equal(read_site(stored, [2, 0]), read_site(site, [2, 0]))
        np.testing.assert_array_equal(read_thumbnail(stored), read_thumbnail(site))
        np.testing.assert_array_equal(read_thumbnail(stored, [1]), read_thumbnail(site, [1]))
    pieces = zip(tile_plate(plate, 2).sites, tile_plate(source, 2).sites, strict=True)
    assert all((read_thumbnail(one) == read_thumbnail(other)).all() for one, other in pieces)


def test_real_sites_are_bit_equal_in_the_store(cpjump1: Path, tmp_path: Path) -> None:
    root = cpjump1 / "images" / "BR00117013"
    convert_plates([root], tmp_path / "s.zarr")
    (source,), (plate,) = open_plates([root]), open_plates([tmp_path / "s.zarr"], check=True)
    assert plate.channels == source.channels
    assert plate.pixel_size_um == source.pixel_size_um
    for stored, site in zip(plate.sites, source.sites, strict=True):
        assert stored.position_um == site.position_um
        np.testing.assert_array_equal(read_site(stored), read_site(site))
        np.testing.assert_array_equal(read_thumbnail(stored), read_thumbnail(site))
    tiled, pieces = tile_plate(plate, 3), tile_plate(source, 3)
    np.testing.assert_array_equal(read_thumbnail(tiled.sites[4], [0]), read_thumbnail(pieces.sites[4], [0]))
    size = sum(path.stat().st_size for path in (tmp_path / "s.zarr").rglob("*") if path.is_file())
    assert size < 0.8 * len(plate.sites) * 8 * 1080 * 1080 * 2


def test_the_metadata_is_what_the_standard_says(make_plate: MakePlate, tmp_path: Path) -> None:
    pytest.importorskip("ome_zarr_models", reason="ome-zarr-models is not installed")
    from ome_zarr_models.v05.hcs import HCS
    from ome_zarr_models.v05.image import Image
    from ome_zarr_models.v05.well import Well

    (done,) = convert_plates([make_plate(wells=[(2, 3), (2, 11), (4, 3)])], tmp_path / "s.zarr")
    plate = HCS.from_zarr(zarr.open_group(str(done.path), mode="r"))
    assert [well.path for well in plate.ome_attributes.plate.wells] == ["B/03", "B/11", "D/03"]
    assert plate.ome_attributes.plate.field_count == 2
    well = Well.from_zarr(zarr.open_group(str(done.path / "D" / "03"), mode="r"))
    assert [image.path for image in well.ome_attributes.well.images] == ["1", "2"]
    image = Image.from_zarr(zarr.open_group(str(done.path / "D" / "03" / "2"), mode="r"))
    (scales,) = image.ome_attributes.multiscales
    assert [axis.name for axis in scales.axes] == ["c", "y", "x"]
    scale, move = scales.datasets[1].coordinateTransformations
    assert scale.scale == [1.0, 4.0, 4.0]
    # Field 2 lies at (100, 200) um; the first pixel of level 1 is 12 x 10 pixels of 0.5 um wide and high, blocks of 8.
    assert move.translation == pytest.approx([0.0, -200.0 - 0.5 * (12 - 8) / 2, 100.0 - 0.5 * (10 - 8) / 2])
    shown = read_attributes(done.path / "D" / "03" / "2")["ome"]["omero"]["channels"]
    assert [channel["label"] for channel in shown] == ["DNA", "Mito", "Brightfield"]
    assert [channel["active"] for channel in shown] == [True, True, False]
    assert len({channel["color"] for channel in shown}) == 3


def by_ome_zarr_py(field: Path) -> np.ndarray:
    reader = pytest.importorskip("ome_zarr.reader", reason="ome-zarr-py is not installed")
    location = pytest.importorskip("ome_zarr.io").parse_url(str(field))
    return np.asarray(next(iter(reader.Reader(location)())).data[0])


def by_ngff_zarr(field: Path) -> np.ndarray:
    ngff_zarr = pytest.importorskip("ngff_zarr", reason="ngff-zarr is not installed")
    return np.asarray(ngff_zarr.from_ngff_zarr(str(field)).images[0].data)


def by_napari_ome_zarr(field: Path) -> np.ndarray:
    plugin = pytest.importorskip("napari_ome_zarr", reason="napari-ome-zarr is not installed")
    return np.asarray(plugin.napari_get_reader(str(field))(str(field))[0][0][0])


@pytest.mark.filterwarnings("ignore")  # other programs' own
@pytest.mark.parametrize("read", [by_ome_zarr_py, by_ngff_zarr, by_napari_ome_zarr])
def test_other_programs_open_it(make_plate: MakePlate, tmp_path: Path, read: Callable[[Path], np.ndarray]) -> None:
    root = make_plate(size=(37, 50))
    (done,) = convert_plates([root], tmp_path / "s.zarr")
    site = open_plates([root])[0].sites[0]
    np.testing.assert_array_equal(read(done.path / "A" / "01" / "1"), read_site(site))


def test_what_is_wrong_with_the_source_is_said_and_left_out(make_plate: MakePlate, tmp_path: Path) -> None:
    root = make_plate(sites=3)
    (root / phenix_name(1, 1, 1, 2)).unlink()
    path = root / phenix_name(1, 1, 2, 3)
    content = bytearray(path.read_bytes())
    write_plane(path, np.random.default_rng(0).integers(0, 99, (12, 10), np.uint16), compression="lzw")
    content = bytearray(path.read_bytes())
    content[-60:] = b"\xff" * 60  # pixels that cannot be decoded behind a good header
    path.write_bytes(content)
    (done,) = convert_plates([root], tmp_path / "s.zarr")
    assert done.sites in (4, 5)  # libtiff may take what the damage left for pixels
    assert any("missing" in gap.problem for gap in done.left_out)
    assert "in the source, whose sites are not in the store" in describe_conversion([done])[1]
    (plate,) = open_plates([done.path], check=True)
    assert len(plate.sites) == done.sites
    assert not plate.gaps


def test_more_plates_are_added_and_none_is_written_twice(
    make_plate: MakePlate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = make_plate("P1"), make_plate("P2")
    convert_plates([one], tmp_path / "s.zarr")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s.zarr" / "P1").rglob("*")}
    first, second = convert_plates([one, two], tmp_path / "s.zarr")
    assert (first.already_there, second.already_there) == (True, False)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "s.zarr" / "P1").rglob("*")}
    assert [plate.name for plate in open_plates([tmp_path / "s.zarr"])] == ["P1", "P2"]
    shutil.rmtree(one)
    make_plate("P1", wells=[(7, 7)])
    with pytest.raises(UserError, match="with other sites or channels"):
        convert_plates([one], tmp_path / "s.zarr")


def test_a_folder_with_other_files_is_refused(make_plate: MakePlate, tmp_path: Path) -> None:
    root = make_plate()
    with pytest.raises(UserError, match="holds other files"):
        convert_plates([root], root)


@pytest.mark.parametrize("damage", ["a byte", "another image", "cut"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_site_that_does_not_read_back_stops_the_conversion(
    make_plate: MakePlate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str, compressed: bool
) -> None:
    write_site = convert_module.write_site

    def spoil(field, image, *rest):
        if damage == "another image":  # whole, and wrong by one pixel
            image = image.copy()
            image[-1, -1, -1] ^= 1
        level, thumbnail = write_site(field, image, *rest)
        content = bytearray(level.file.read_bytes())
        content[7] ^= damage == "a byte"
        level.file.write_bytes(content[: -9 if damage == "cut" else None])
        return level, thumbnail

    monkeypatch.setattr(convert_module, "write_site", spoil)
    with pytest.raises(UserError, match="does not read back"):
        convert_plates([make_plate()], tmp_path / "s.zarr", compressed=compressed)
    assert not (tmp_path / "s.zarr" / "P1").exists()
    with pytest.raises(UserError):
        open_plates([tmp_path / "s.zarr"])


def test_a_stopped_conversion_goes_on_with_the_same_settings_alone(
    make_plate: MakePlate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_plate(sites=3)
    convert_plates([root], tmp_path / "whole.zarr")
    written: list[Path] = []
    write_site = convert_module.write_site

    def stop_after_four(field, *rest):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(field)
        return write_site(field, *rest)

    monkeypatch.setattr(convert_module, "write_site", stop_after_four)
    with pytest.raises(KeyboardInterrupt):
        convert_plates([root], tmp_path / "s.zarr", threads=1)
    monkeypatch.undo()
    assert not (tmp_path / "s.zarr" / "P1").exists()
    with pytest.raises(UserError, match="other channels or settings"):
        convert_plates([root], tmp_path / "s.zarr", channels={1: "Other"})
    # One site's source has changed, and another's is gone.
    write_plane(root / phenix_name(1, 1, 1, 1), np.full((12, 10), 9, np.uint16))
    for channel in (1, 2, 3):
        (root / phenix_name(1, 1, 2, channel)).unlink()
    convert_plates([root], tmp_path / "s.zarr")
    plate = open_plates([tmp_path / "s.zarr"], check=True)[0]
    assert len(plate.sites) == 5
    assert (read_site(plate.sites[0])[0] == 9).all()
    assert sorted(path.name for path in (tmp_path / "s.zarr" / "P1" / "A" / "01").iterdir()) == ["1", "3", "zarr.json"]
    assert {path.name for path in (tmp_path / "s.zarr").iterdir()} == {"P1", "zarr.json"}
    field = Path("P1", "B", "03", "1", "0")  # beside it, the contrast is that of other sites
    assert same_tree(tmp_path / "s.zarr" / field, tmp_path / "whole.zarr" / field)


def test_two_at_once_are_refused(make_plate: MakePlate, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "s.zarr").mkdir()
    with (tmp_path / "s.zarr" / ".P1.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        (tmp_path / "s.zarr" / "zarr.json").write_text(
            '{"zarr_format": 3, "node_type": "group", "attributes": {"sslprofiler": {"format": 1, "store": true}}}'
        )
        with pytest.raises(UserError, match="being written by another process"):
            convert_plates([make_plate()], tmp_path / "s.zarr")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_killed_again_and_again_it_ends_as_if_nothing_had_been(make_plate: MakePlate, tmp_path: Path) -> None:
    kill_and_finish(make_plate, tmp_path, sites=4, fewest=3)


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_killed_ten_times_it_ends_as_if_nothing_had_been(make_plate: MakePlate, tmp_path: Path) -> None:
    kill_and_finish(make_plate, tmp_path, sites=20, fewest=10)


def kill_and_finish(make_plate: MakePlate, tmp_path: Path, sites: int, fewest: int) -> None:
    wells = [(row, column) for row in (1, 2, 3) for column in (1, 2, 3, 4)]
    root = make_plate(wells=wells, sites=sites, size=(48, 40), records=None)
    convert_plates([root], tmp_path / "whole.zarr")
    store = tmp_path / "s.zarr"
    code = (
        "import sys, time; from pathlib import Path; from sslprofiler_core.plates import convert as c\n"
        "slow = c.write_site\n"
        "def write_site(*rest):\n    time.sleep(0.004); done = slow(*rest); time.sleep(0.004); return done\n"
        "c.write_site = write_site\n"
        "print('ready', flush=True); c.convert_plates([Path(sys.argv[1])], Path(sys.argv[2]), threads=2)\n"
    )
    kills = 0
    for attempt in range(40):
        process = subprocess.Popen([sys.executable, "-c", code, str(root), str(store)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=0.05 + 0.01 * (attempt % 7) if kills < 10 else 30)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            assert not (store / "P1").exists() or same_tree(store / "P1", tmp_path / "whole.zarr" / "P1")
            continue
        finally:
            process.stdout.close()
        break
    time.sleep(0.01)
    assert kills >= fewest
    assert same_tree(store / "P1", tmp_path / "whole.zarr" / "P1")
    assert {path.name for path in store.iterdir()} == {"P1", "zarr.json"}


def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path) -> None:
    from .test_load_data import rows_of, write_table

    table = write_table(tmp_path / "load_data.csv", rows_of(tmp_path / "raw", "raw", plate="a/b"))
    with pytest.raises(UserError, match="cannot be named 'a/b'"):
        convert_plates([table], tmp_path / "s.zarr")


def test_the_command_line_converts(make_plate: MakePlate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sslprofiler_core.cli import main

    root = make_plate()
    (root / phenix_name(1, 1, 1, 2)).unlink()
    assert main(["convert", str(root), "--out", str(tmp_path / "s.zarr"), "--uncompressed"]) == 0
    shown = capsys.readouterr()
    assert "P1: 3 sites written." in shown.out
    assert "1 problem in the source" in shown.out
    assert "100%" in shown.err
    assert main(["convert", str(root), "--out", str(root)]) == 2
    assert "holds other files" in capsys.readouterr().err


def test_a_plate_is_no_store(make_plate: MakePlate, tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    convert_plates([make_plate()], store)
    before = read_attributes(store / "P1")
    for source in (make_plate("P2"), store / "P1"):
        with pytest.raises(UserError, match="holds other files"):
            convert_plates([source], store / "P1")
    assert read_attributes(store / "P1") == before


def test_a_store_says_what_it_lacks_of_a_plate_and_whose_pixels_it_has(make_plate: MakePlate, tmp_path: Path) -> None:
    convert_plates([make_plate(wells=[(1, 1)])], tmp_path / "s.zarr")
    for site in (1, 2):
        for channel in (1, 2, 3):
            name = phenix_name(2, 3, site, channel)
            shutil.copy2(
                tmp_path / "images" / "P1" / phenix_name(1, 1, site, channel), tmp_path / "images" / "P1" / name
            )
    (again,) = convert_plates([tmp_path / "images" / "P1"], tmp_path / "s.zarr")
    assert (again.sites, len(again.left_out)) == (2, 2)
    assert "B03 site 1 came after" in again.left_out[0].problem
    other = make_plate(wells=[(1, 1)], folder=tmp_path / "measured again", dtype=np.uint8)
    with pytest.warns(UserWarning, match="another measurement of the plate"):
        convert_plates([other], tmp_path / "s.zarr")
