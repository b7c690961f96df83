from __future__ import annotations

from sslprofiler_core.plates import format_inspection, inspect_plates

from .conftest import RECORDS, MakePlate


def test_a_report_is_aligned_text(make_plate: MakePlate) -> None:
    make_plate("A_plate_with_a_long_name", sites=1)
    text = format_inspection(inspect_plates([make_plate("P2", sites=12).parent]))
    assert text.splitlines()[0] == "2 plates, 4 wells, 26 sites, 3 channels, 78 planes, 0 gaps"
    assert all(line == line.rstrip() and line.isascii() for line in text.splitlines())
    plates, channels = text.split("\n\n")[1:]
    head, rule, *rows = plates.splitlines()
    assert set(rule.strip()) == {"-"}
    assert [row.split()[0] for row in rows] == ["A_plate_with_a_long_name", "P2"]
    assert len({len(line) for line in (head, *rows)}) == 1
    assert rows[1].split()[2:6] == ["2", "24", "24", "12"]
    assert channels.splitlines()[0] == "Channels"
    assert [line.split()[1:3] for line in channels.splitlines()[3:]] == [
        [name, "brightfield" if light == "Transmitted" else "fluorescence"] for name, light, _ in RECORDS
    ]


def test_one_of_a_thing_is_singular(make_plate: MakePlate) -> None:
    report = inspect_plates([make_plate(wells=[(1, 1)], sites=1, channels=[1], records=RECORDS[:1])])
    assert format_inspection(report).startswith("1 plate, 1 well, 1 site, 1 channel, 1 plane, 0 gaps")


def test_plates_with_different_channels_have_tables_of_their_own(make_plate: MakePlate) -> None:
    make_plate("P1")
    make_plate("P2")
    text = format_inspection(inspect_plates([make_plate("P3", channels=(1, 2), records=RECORDS[:2]).parent]))
    assert "Channels of P1, P2\n" in text
    assert "Channels of P3\n" in text


def test_twenty_gaps_are_shown_and_the_others_counted(make_plate: MakePlate) -> None:
    root = make_plate()
    for i in range(25):
        (root / f"stray{i:02d}.tif").touch()
    text = format_inspection(inspect_plates([root]))
    assert "stray19.tif" in text
    assert "stray20.tif" not in text
    assert text.endswith("... and 5 more; --json lists all")


def test_a_plate_that_could_not_be_read_is_in_the_table(make_plate: MakePlate) -> None:
    root = make_plate()
    for path in root.iterdir():
        path.write_text("broken")
    row = format_inspection(inspect_plates([root])).split("\n\n")[1].splitlines()[2]
    assert row.split() == ["P1", "phenix", "2", "4", "0", "2", "?", "?", "?", "12"]
