"""Colours, legends and words of a plate map, without a window."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from napari_sslprofiler.plates.opening import find_metadata, measure_contrast, open_screen, with_contrast
from napari_sslprofiler.plates.site_picker import site_places
from napari_sslprofiler.plates.wells import (
    COMPLETENESS,
    broken_wells,
    colour_wells,
    columns_to_colour,
    describe_well,
    in_plate_order,
    plate_summary,
)
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Site, measure_scale, read_site


def _nothing(done: int, total: int) -> None: ...


def test_a_screen_opens_with_the_metadata_beside_it(simulated: Path) -> None:
    screen = open_screen([simulated / "images"], _nothing)
    assert screen.metadata_path == simulated / "metadata"
    plate = screen.plates[0]
    assert screen.plate(plate.name) is plate and screen.plate("none") is None
    columns = columns_to_colour(screen, plate)
    assert columns[:2] == [COMPLETENESS, "Metadata_Compound"]
    found = colour_wells(screen, plate, "Metadata_Compound")
    assert set(found.colours) == set(plate.wells)
    assert found.entries and found.limits is None
    same = {well: dict(describe_well(screen, plate, well))["Compound"] for well in plate.wells}
    for one in plate.wells:
        for other in plate.wells:
            assert (found.colours[one] == found.colours[other]) == (same[one] == same[other])


def test_contrast_is_the_plates_own_and_kept_beside_others(simulated: Path) -> None:
    screen = open_screen([simulated / "images"], _nothing)
    plate = screen.plates[0]
    contrast = measure_contrast(plate, _nothing)
    assert contrast == measure_scale([plate], sites=16)[plate.name]
    assert with_contrast(screen, plate.name, contrast).scale == {plate.name: contrast}
    assert screen.scale == {}


def test_wells_with_gaps_are_marked(simulated: Path, tmp_path: Path) -> None:
    shutil.copytree(simulated / "images", tmp_path / "images")
    screen = open_screen([tmp_path / "images"], _nothing)
    plate = screen.plates[0]
    source = plate.sites[0].paths[0]
    (source if isinstance(source, Path) else source.path).unlink()
    screen = open_screen([tmp_path / "images"], _nothing)
    plate = screen.plates[0]
    assert broken_wells(plate) == {plate.sites[0].well: 1}
    found = colour_wells(screen, plate, COMPLETENESS)
    assert [words for words, _ in found.entries] == ["all 4 sites (5)", "with gaps (1)"]
    assert "1 fewer" in found.tooltips[plate.sites[0].well]
    assert columns_to_colour(screen, plate) == [COMPLETENESS]  # no metadata here


def test_numbers_get_a_ramp_and_many_names_an_other(simulated: Path) -> None:
    screen = open_screen([simulated / "images"], _nothing)
    plate = screen.plates[0]
    frame = screen.metadata
    assert frame is not None
    frame["Metadata_Dose"] = [str(0.5 * i) for i in range(len(frame))]
    found = colour_wells(screen, plate, "Metadata_Dose")
    assert found.limits is not None and found.limits[0] < found.limits[1] and not found.entries


def test_metadata_asked_for_must_be_there_and_found_metadata_may_be_useless(simulated: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        open_screen([simulated / "images"], _nothing, metadata=tmp_path / "nowhere")
    shutil.copytree(simulated / "images", tmp_path / "images")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "odd.csv").write_text("a,b\n1,2\n")
    screen = open_screen([tmp_path / "images"], _nothing)
    assert screen.metadata is None and screen.metadata_path is None and screen.notes
    assert find_metadata([tmp_path / "images"]) == tmp_path / "metadata"


def test_a_folder_without_plates_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        open_screen([tmp_path], _nothing)


def test_a_plate_in_a_line(simulated: Path) -> None:
    plate = open_screen([simulated / "images"], _nothing).plates[0]
    assert plate_summary(plate) == "6 wells · 4 sites a well · 8 channels · 64 × 64 px · 1.2 µm a pixel · phenix"


def test_sites_lie_where_the_stage_was() -> None:
    def site(number: int, position: tuple[float, float] | None) -> Site:
        return Site("P", "A01", number, (), position)

    places, shape = site_places([site(1, (-300.0, 300.0)), site(2, (300.0, 300.0)), site(3, (300.0, -301.0))])
    assert places == [(0, 0), (0, 1), (1, 1)] and shape == (2, 2)
    places, shape = site_places([site(i, None) for i in range(9)])
    assert shape == (3, 3) and places[4] == (1, 1)
    assert site_places([site(1, None)]) == ([(0, 0)], (1, 1))


def test_real_sites_and_metadata(cpjump1: Path) -> None:
    screen = open_screen([cpjump1 / "images"], _nothing)
    plate = screen.plate("BR00117012")
    assert plate is not None
    assert in_plate_order(list(plate.wells)) == ["A21", "D08", "N14"]
    assert dict(describe_well(screen, plate, "D08"))["Compound"] == "FK-866"
    assert read_site(plate.sites[0]).shape == (8, 1080, 1080)
