from __future__ import annotations

import time

import pytest

from sslprofiler_core.plates.layouts import Plane
from sslprofiler_core.plates.phenix import PHENIX


def test_a_name_says_where_a_plane_belongs() -> None:
    name = "r04c08f05p01-ch7sk2fk3fl4.tiff"
    assert PHENIX.index([name]) == ([Plane(4, 8, 5, 7, (1, 2, 3, 4), name)], [])


@pytest.mark.parametrize("name", ["R04C08F05P01-CH1SK1FK1FL1.TIFF", "r04c08f05p01-ch1sk1fk1fl1.tif"])
def test_case_and_the_short_ending_do_not_matter(name: str) -> None:
    assert len(PHENIX.index([name])[0]) == 1


def test_many_sites_and_channels_are_read() -> None:
    (plane,), _ = PHENIX.index(["r32c48f120p01-ch12sk1fk1fl1.tiff"])
    assert (plane.row, plane.column, plane.site, plane.channel) == (32, 48, 120, 12)


def test_images_with_other_names_are_strays_and_other_files_are_not_looked_at() -> None:
    names = ["overview.tif", "r04c08f05p01-ch1sk1fk1fl1 (copy).tiff", "thumb.PNG", "Index.idx.xml", "notes.txt"]
    planes, strays = PHENIX.index(names)
    assert not planes
    assert [name for name, _ in strays] == names[:3]


@pytest.mark.parametrize("name", ["r33c01f01p01-ch1sk1fk1fl1.tiff", "r00c01f01p01-ch1sk1fk1fl1.tiff"])
def test_rows_that_no_plate_has_are_strays(name: str) -> None:
    planes, strays = PHENIX.index([name])
    assert not planes
    assert "no plate has row" in strays[0][1]


def test_the_file_of_another_channel_is_named_like_its_sibling() -> None:
    (plane,), _ = PHENIX.index(["r04c08f05p02-ch1sk3fk1fl1.tif"])
    assert PHENIX.name_of(plane, 11) == "r04c08f05p02-ch11sk3fk1fl1.tif"


def test_a_plate_of_27648_names_is_read_in_moments() -> None:
    names = [
        f"r{r:02d}c{c:02d}f{f:02d}p01-ch{ch}sk1fk1fl1.tiff"
        for r in range(1, 17)
        for c in range(1, 25)
        for f in range(1, 10)
        for ch in range(1, 9)
    ]
    start = time.thread_time()
    planes, strays = PHENIX.index(names)
    assert time.thread_time() - start < 3.0  # 0.1 s on an idle core
    assert (len(planes), len(strays)) == (27648, 0)
