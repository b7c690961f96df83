from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling import (
    SiteCountWarning,
    align_plates,
    merge_sites,
    profile_sites,
    read_wells,
    write_sites_part,
)

D = 3


def plate_rows(plate: str, fields: dict[str, list[int]]) -> pd.DataFrame:
    rows = [(plate, well, f, f"C{well}", "U2OS") for well, fs in fields.items() for f in fs]
    names = ["Plate", "Well", "Site", "Compound", "CellType"]
    return pd.DataFrame(rows, columns=[f"Metadata_{n}" for n in names])


def write(folder: Path, metadata: pd.DataFrame, seed: int = 0, groups: tuple[str, ...] = ("fluorescence",)) -> dict:
    rng = np.random.default_rng(seed)
    names = [f"{g}_{kind}" for g in groups for kind in ("cls", "patch")]
    features = {name: rng.normal(size=(len(metadata), D)).astype(np.float32) for name in names}
    plate = metadata.Metadata_Plate.iloc[0]
    write_sites_part(folder, plate, metadata, features, {"runs": ["run"], "version": "0"})
    return features


def test_groups_granularities_and_sites_in_their_order(tmp_path: Path) -> None:
    metadata = plate_rows("P1", {"A01": [*range(1, 10)], "B02": [*range(1, 10)]})
    metadata = metadata.assign(Metadata_PositionX=np.nan, Metadata_PositionY=np.nan)  # not known
    f = write(tmp_path / "s", metadata, groups=("custom", "brightfield", "fluorescence"))
    out = profile_sites(tmp_path / "s", tmp_path / "w.parquet")
    table = read_wells(out)
    for row in (0, 1):
        at = slice(9 * row, 9 * row + 9)
        expected = [
            merge_sites(np.concatenate([f[f"{g}_cls"][at], f[f"{g}_patch"][at]], 1))
            for g in ("fluorescence", "brightfield", "custom")
        ]
        np.testing.assert_array_equal(table.profiles[row], np.concatenate(expected))
    assert list(table.metadata.Metadata_Well) == ["A01", "B02"]
    assert list(table.metadata.Metadata_Compound) == ["CA01", "CB02"]
    assert list(table.metadata.Metadata_SiteCount) == [9, 9]
    assert "Metadata_Site" not in table.metadata
    assert table.info["profile"]["groups"] == ["fluorescence", "brightfield", "custom"]
    assert table.info["runs"] == ["run"] and table.info["alignment"] is None


@pytest.mark.parametrize(("features", "width"), [("cls", D), ("cls+patch", 2 * D)])
def test_mean_of_sites(tmp_path: Path, features: str, width: int) -> None:
    metadata = plate_rows("P1", {"A01": [1, 2, 3], "B02": [2]})
    f = write(tmp_path / "s", metadata)
    table = read_wells(profile_sites(tmp_path / "s", tmp_path / "w", sites="mean", features=features))
    assert table.profiles.shape == (2, width)
    np.testing.assert_allclose(table.profiles[0, :D], f["fluorescence_cls"][:3].mean(0), rtol=1e-6)


@pytest.mark.parametrize("count", [9, 16])
def test_missing_sites_are_filled_in_their_own_places(tmp_path: Path, count: int) -> None:
    fields = [*range(1, count + 1)]
    metadata = plate_rows("P1", {"A01": fields, "B02": fields[:3] + fields[5:]})
    f = write(tmp_path / "s", metadata)["fluorescence_cls"]
    with pytest.warns(SiteCountWarning, match=r"1 of 2 wells.*has the counts\)\.$"):
        table = read_wells(profile_sites(tmp_path / "s", tmp_path / "w", features="cls"))
    short = f[count:]
    whole = np.concatenate([short[:3], [short.mean(0)] * 2, short[3:]])
    np.testing.assert_allclose(table.profiles[1], merge_sites(whole), rtol=1e-5, atol=1e-6)
    assert list(table.metadata.Metadata_SiteCount) == [count, count - 2]


def test_wells_of_four_sites_are_advised_to_take_the_mean(tmp_path: Path) -> None:
    write(tmp_path / "s", plate_rows("P1", {"A01": [1, 2, 3, 4], "B02": [1, 2, 3, 4]}))
    with pytest.warns(SiteCountWarning, match=r"2 of 2 wells.* --sites mean is the plainer choice"):
        profile_sites(tmp_path / "s", tmp_path / "w", features="cls")


def test_nine_and_sixteen_sites_meet_by_stage_position(tmp_path: Path) -> None:
    """A linear field over the well: plates of 9 and of 16 sites, in odd field orders, get the same profile."""
    rng = np.random.default_rng(0)
    for plate, side in (("P1", 3), ("P2", 4)):
        at = (np.arange(side) + 0.5) / side * 1000.0
        x, y = (a.ravel()[rng.permutation(side * side)] for a in np.meshgrid(at, at))
        order = rng.permutation(side * side)
        y, x = (a.ravel()[order] for a in np.meshgrid(at, at, indexing="ij"))
        metadata = plate_rows(plate, {"A01": [*range(1, side * side + 1)]})
        metadata = metadata.assign(Metadata_PositionX=x, Metadata_PositionY=y)
        feature = np.stack([x / 100 - y / 50, np.ones_like(x)], 1).astype(np.float32)
        write_sites_part(tmp_path / "s", plate, metadata, {"all_cls": feature}, {})
    table = read_wells(profile_sites(tmp_path / "s", tmp_path / "w", features="cls"))
    np.testing.assert_allclose(table.profiles[0], table.profiles[1], atol=1e-5)
    assert "Metadata_PositionX" not in table.metadata


def test_positions_on_some_plates_only_are_warned_of_where_these_move_sites(tmp_path: Path) -> None:
    nine = {"A01": [*range(1, 10)]}
    rows, columns = np.divmod(np.arange(9.0), 3)
    for name, order in (("snake", [0, 1, 2, 5, 4, 3, 6, 7, 8]), ("rows", [*range(9)])):
        placed = plate_rows("P1", nine).assign(Metadata_PositionX=columns[order], Metadata_PositionY=rows[order])
        write(tmp_path / name, placed)
        write(tmp_path / name, plate_rows("P2", nine))
    with pytest.warns(UserWarning, match="plate P2 have no stage positions.*plate P1"):
        profile_sites(tmp_path / "snake", tmp_path / "w")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile_sites(tmp_path / "rows", tmp_path / "w")
        profile_sites(tmp_path / "snake", tmp_path / "w", sites="mean")


def test_alignment_is_applied_and_recorded(tmp_path: Path) -> None:
    nine = [*range(1, 10)]
    for seed in range(3):
        write(tmp_path / "s", plate_rows(f"P{seed}", {"A01": nine, "B02": nine}), seed)
    plain = read_wells(profile_sites(tmp_path / "s", tmp_path / "w"))
    aligned = read_wells(profile_sites(tmp_path / "s", tmp_path / "a", align=0.5))
    assert aligned.info["alignment"] == {"mode": "transductive", "alpha": 0.5}
    frame = plain.metadata.assign(profile=list(plain.profiles))
    np.testing.assert_allclose(aligned.profiles, np.stack(align_plates(frame, 0.5)["profile"]), atol=1e-6)


def test_what_cannot_be_profiled(tmp_path: Path) -> None:
    metadata = plate_rows("P1", {"A01": [1, 1]})
    write(tmp_path / "twice", metadata)
    with pytest.raises(UserError, match="site 1 of well A01 on plate P1 stands there twice"):
        profile_sites(tmp_path / "twice", tmp_path / "w")
    one = plate_rows("P1", {"A01": [1]})
    write_sites_part(tmp_path / "bare", "P1", one, {"all_cls": np.zeros((1, 2), np.float32)}, {})
    with pytest.raises(UserError, match="no patch embeddings of all"):
        profile_sites(tmp_path / "bare", tmp_path / "w")
    write_sites_part(tmp_path / "none", "P1", one, {}, {})
    with pytest.raises(UserError, match="no embeddings"):
        profile_sites(tmp_path / "none", tmp_path / "w")
    write_sites_part(tmp_path / "nan", "P1", one, {"all_cls": np.full((1, 2), np.nan, np.float32)}, {})
    with pytest.raises(UserError, match="1 of 1 wells"):
        profile_sites(tmp_path / "nan", tmp_path / "w", features="cls", sites="mean")
    write(tmp_path / "mixed", one)
    write(tmp_path / "mixed", plate_rows("P2", {"A01": [1]}), groups=("brightfield",))
    with pytest.raises(UserError, match=r"P2\.parquet has channel groups brightfield"):
        profile_sites(tmp_path / "mixed", tmp_path / "w")
    assert not (tmp_path / "w").exists()
