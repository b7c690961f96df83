from __future__ import annotations

from pathlib import Path

import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Channel, Plate, open_plates, require_same_channels, select_channels
from sslprofiler_core.plates.channels import ChannelNames, group_of_name, name_channels, read_channel_names
from sslprofiler_core.plates.layouts import Record

from .conftest import MakePlate

EIGHT = tuple(
    Channel(name, group, i)
    for i, (name, group) in enumerate(
        [("Mito", "fluorescence"), ("Brightfield", "brightfield"), ("DNA", "fluorescence"), ("BF low", "brightfield")],
        1,
    )
)


def plate(channels: tuple[Channel, ...] = EIGHT, name: str = "P1") -> Plate:
    return Plate(name, Path(name), "phenix", channels, (), None, None, ())


@pytest.mark.parametrize(
    ("group", "indices"),
    [
        ("fluorescence", (0, 2)),
        ("brightfield", (1, 3)),
        ("Brightfield", (1, 3)),
        ("all", (0, 1, 2, 3)),
        ("DNA,Mito", (2, 0)),
        (" dna , ch1 ", (2, 0)),
        ("Mito", (0,)),
        (["Brightfield"], (1,)),
        (("DNA", "Brightfield"), (2, 1)),
        ("ch2", (1,)),
    ],
)
def test_selection(group: str | list[str], indices: tuple[int, ...]) -> None:
    assert select_channels(plate(), group) == indices


@pytest.mark.parametrize(
    ("group", "words"),
    [
        ("Actin", ["no channel 'Actin'", "Mito, Brightfield, DNA, BF low"]),
        ("Mito,Actin", ["no channel 'Actin'"]),
        ("Mito,mito", ["given twice"]),
        ("", ["no channel ''"]),
    ],
)
def test_wrong_names_list_the_right_ones(group: str, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        select_channels(plate(), group)
    assert all(word in str(error.value) for word in words)


def test_a_group_needs_known_groups() -> None:
    unknown = plate((Channel("ch1", "unknown", 1), Channel("ch2", "fluorescence", 2)))
    with pytest.raises(UserError, match=r"does not say which channels are fluorescence \(ch1\).*--channels-file"):
        select_channels(unknown, "fluorescence")
    assert select_channels(unknown, "all") == (0, 1)
    with pytest.raises(UserError, match=r"no brightfield channel\. It has Mito"):
        select_channels(plate(EIGHT[:1]), "brightfield")


def test_shared_names_get_their_focus_height_and_then_their_number() -> None:
    records = {
        1: Record("DNA", "fluorescence", -2.0),
        2: Record("Brightfield", "brightfield", 5.0),
        3: Record("Brightfield", "brightfield", -9.999999),
        4: Record("Brightfield", "brightfield", 0.25),
        5: Record("ER", "fluorescence", 1.0),
        6: Record("ER", "fluorescence", 1.0),
    }
    channels = name_channels(list(records), records, ChannelNames({}, ""))
    assert [channel.name for channel in channels] == [
        "DNA",
        "Brightfield +5 um",
        "Brightfield -10 um",
        "Brightfield +0.25 um",
        "ER +1 um (ch5)",
        "ER +1 um (ch6)",
    ]


def test_toml_and_csv_name_channels_and_give_groups(make_plate: MakePlate, tmp_path: Path) -> None:
    toml, table = tmp_path / "channels.toml", tmp_path / "channels.csv"
    toml.write_text('[1]\nname = "Nuclei"\ngroup = "fluorescence"\n[3]\ngroup = "brightfield"\n')
    table.write_text("number,name,group\n1,Nuclei,Fluorescence\n3,,brightfield\n")
    assert read_channel_names(str(toml)).given == read_channel_names(table).given
    root = make_plate(records=None)
    for file in (toml, table):
        (opened,) = open_plates([root], channels=file)
        assert opened.channels == (
            Channel("Nuclei", "fluorescence", 1),
            Channel("ch2", "unknown", 2),
            Channel("ch3", "brightfield", 3),
        )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.toml", "[1\n", "not valid TOML"),
        ("x.toml", "", "names no channels"),
        ("x.toml", 'a = "b"', "not a table with name and group"),
        ("x.toml", '[1]\ncolour = "red"', "not a table with name and group"),
        ("x.toml", '[one]\nname = "DNA"', "'one' is not a channel number"),
        ("x.csv", "1,DNA,\n2,ER,\n1,Mito,", "names channel 1 twice"),
        ("x.csv", "1,DNA,fluor", "the group of channel 1 is 'fluor'"),
        ("no.toml", None, "Cannot read the channels file"),
    ],
)
def test_bad_channels_files_say_how_to_write_them(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_channel_names(path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_may_be_a_spreadsheets(tmp_path: Path, separator: str) -> None:
    (tmp_path / "x.csv").write_text("number,name,group\n2,Mito,\n".replace(",", separator))
    assert read_channel_names(tmp_path / "x.csv").given == {2: ("Mito", None)}


def test_same_channels_are_required_and_both_lists_printed() -> None:
    assert require_same_channels([plate(), plate(name="P2")]) == EIGHT
    with pytest.raises(UserError) as error:
        require_same_channels([plate(), plate(name="P2"), plate((EIGHT[2], EIGHT[1]), "P3")])
    lines = str(error.value).splitlines()
    assert "P1 and P3" in lines[0]
    assert "ch1 Mito (fluorescence)" in lines[2]
    assert "ch3 DNA (fluorescence)" in lines[2]
    assert lines[4].rstrip().endswith("-")
    assert len({line.rfind("  ") for line in lines[1:]}) == 1
    with pytest.raises(UserError, match="No plates"):
        require_same_channels([])


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("BFP", "fluorescence"),
        ("BF", "brightfield"),
        ("bf_2", "brightfield"),
        ("Interphase", "unknown"),
        ("GFP", "fluorescence"),
    ],
)
def test_common_names_tell_their_group(name: str, group: str) -> None:
    assert group_of_name(name) == group
