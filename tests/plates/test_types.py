from __future__ import annotations

import pytest

from sslprofiler_core.plates import well_name, well_position


def test_every_well_of_a_1536_well_plate_has_its_own_name_and_reads_back() -> None:
    places = [(row, column) for row in range(1, 33) for column in range(1, 49)]
    names = [well_name(*place) for place in places]
    assert len(set(names)) == 1536
    assert [well_position(name) for name in names] == places


@pytest.mark.parametrize(("place", "name"), [((4, 8), "D08"), ((16, 24), "P24"), ((27, 1), "AA01"), ((32, 48), "AF48")])
def test_names_are_the_usual_ones(place: tuple[int, int], name: str) -> None:
    assert well_name(*place) == name


@pytest.mark.parametrize(("text", "place"), [("d8", (4, 8)), ("D008", (4, 8)), (" AF48 ", (32, 48))])
def test_other_spellings_are_read(text: str, place: tuple[int, int]) -> None:
    assert well_position(text) == place


@pytest.mark.parametrize("text", ["", "D", "8", "D00", "AG01", "A49", "D8x", "AAA1", "DMSO"])
def test_what_is_no_well_is_none(text: str) -> None:
    assert well_position(text) is None
