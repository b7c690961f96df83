"""From rows to pictures: simulated plates, and real sites where they are at hand."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_sslprofiler.browser.images import Images
from napari_sslprofiler.browser.thumbnails_cache import DiskCache
from napari_sslprofiler.browser.thumbnails_paint import channel_colours, compose
from napari_sslprofiler.browser.thumbnails_read import Choice, picture_of, read_planes, read_small
from napari_sslprofiler.browser.thumbnails_sites import Missing, Pictured, find_images
from sslprofiler_core.errors import UserError
from sslprofiler_core.exploring import TableView, open_table
from sslprofiler_core.plates import Plate, open_plates, read_site
from sslprofiler_core.profiling import write_wells


@pytest.fixture
def plates(simulated: Path) -> list[Plate]:
    return open_plates([simulated / "images"])


def table_of(folder: Path, frame: pd.DataFrame) -> TableView:
    return open_table(write_wells(folder / "wells.parquet", frame, np.ones((len(frame), 2)), {}))


def test_rows_find_their_images_or_say_why_not(plates: list[Plate], tmp_path: Path) -> None:
    name, well = plates[0].name, plates[0].wells[0]
    frame = pd.DataFrame({"Metadata_Plate": [name, name, "gone", "moved"], "Metadata_Well": [well, "P99", well, well]})
    table = table_of(tmp_path, frame)
    images = Images(table)
    none = find_images(images, table, 0)
    assert isinstance(none, Missing) and "Where are the images?" in none.reason
    images.adopt(plates)
    images.point({"moved": tmp_path / "nowhere"})
    found = find_images(images, table, 0)
    assert found == Pictured(plates[0], plates[0].sites_of(well))
    for row, words in ((1, "no complete site"), (2, "not at hand"), (3, "has no images")):
        missing = find_images(images, table, row)
        assert isinstance(missing, Missing)
        assert words in missing.reason and missing.short


def test_tables_without_wells_say_so(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"Metadata_Name": ["a"], "x": [1.0]}).to_csv(path, index=False)
    table = open_table(path)
    missing = find_images(Images(table), table, 0)
    assert isinstance(missing, Missing) and "no columns of plates" in missing.reason


def test_the_picture_is_the_sites_channels_composed(plates: list[Plate]) -> None:
    plate = plates[0]
    names = tuple(channel.name for channel in plate.channels[:2])
    scale = {plate.name: dict.fromkeys(names, (100.0, 5000.0))}
    found = picture_of(Pictured(plate, plate.sites[:1]), Choice(names), scale)
    colours = [c.colour for c in channel_colours(plate)[:2]]
    expected = compose(read_site(plate.sites[0], [0, 1]), [(100.0, 5000.0)] * 2, colours)  # 64 px stay as they are
    np.testing.assert_array_equal(found, expected)


def test_a_well_is_its_first_site_or_all(plates: list[Plate]) -> None:
    plate = plates[0]
    pictured = Pictured(plate, plate.sites_of(plate.wells[0]))
    names = (plate.channels[0].name,)
    first = picture_of(pictured, Choice(names), {})
    alone = picture_of(Pictured(plate, pictured.sites[:1]), Choice(names, True), {})
    np.testing.assert_array_equal(first, alone)
    whole = picture_of(pictured, Choice(names, True), {})
    assert isinstance(whole, np.ndarray) and isinstance(first, np.ndarray)
    assert whole.shape[0] > first.shape[0]


def test_channels_that_the_plate_lacks_are_passed_over(plates: list[Plate]) -> None:
    pictured = Pictured(plates[0], plates[0].sites[:1])
    assert isinstance(picture_of(pictured, Choice(("none",)), {}), Missing)
    both = picture_of(pictured, Choice(("none", plates[0].channels[0].name)), {})
    assert isinstance(both, np.ndarray)


def test_cached_planes_equal_read_ones_and_follow_their_file(simulated: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated / "images", tmp_path / "images")
    plate = open_plates([tmp_path / "images"])[0]
    site, cache = plate.sites[0], DiskCache(tmp_path / "cache")
    expected = read_small(plate, site, [0, 2])
    np.testing.assert_array_equal(read_planes(plate, site, [0, 2], cache), expected)
    held = site.paths[0].read_bytes()
    site.paths[0].write_bytes(site.paths[1].read_bytes())  # another picture under the same name
    other = read_planes(plate, site, [0, 2], cache)
    np.testing.assert_array_equal(other, read_small(plate, site, [0, 2]))
    assert (other[0] != expected[0]).any() and (other[1] == expected[1]).all()
    site.paths[0].write_bytes(held)
    site.paths[2].unlink()
    with pytest.raises(UserError, match=site.paths[2].name):
        read_planes(plate, site, [2], cache)
    cache.close()


def test_large_sites_come_at_one_eighth_and_small_ones_less_reduced(cpjump1: Path, plates: list[Plate]) -> None:
    large = open_plates([cpjump1 / "images"])[0]
    assert read_small(large, large.sites[0], [0]).shape == (1, 135, 135)
    plate = replace(plates[0], shape=(256, 256))
    site = large.sites[0]
    assert read_small(plate, site, [0]).shape == (1, 540, 540)


def test_real_sites_are_neither_black_nor_white(cpjump1: Path) -> None:
    plate = open_plates([cpjump1 / "images"])[0]
    names = tuple(channel.name for channel in plate.channels if channel.group == "fluorescence")
    picture = picture_of(Pictured(plate, plate.sites[:1]), Choice(names), {})
    assert isinstance(picture, np.ndarray)
    assert 15 < picture.mean() < 150
    assert (picture == 255).mean() < 0.1
