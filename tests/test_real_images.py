"""The main job on real CPJUMP1 images, from the command line: train both groups, embed, profile, evaluate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from sslprofiler_core.cli import main
from sslprofiler_core.profiling import read_sites, read_wells
from sslprofiler_core.training import RunFolder

# design.md, "Data beside this file"
COMPOUNDS = {
    ("BR00117012", "D08"): "FK-866",
    ("BR00117012", "N14"): "NVS-PAK1-1",
    ("BR00117012", "A21"): "dexamethasone",
    ("BR00117013", "D14"): "DMSO",
    ("BR00117013", "G21"): "TC-S-7004",
    ("BR00117011", "M02"): "LY2109761",
}
CHANNELS = {"fluorescence": 5, "brightfield": 3}
SETTINGS = ["plates.tile=3", "train.steps=4", "train.batch=16", "plates.scale_sites=2", "train.threads=1"]


@pytest.fixture(scope="module")
def wells(cpjump1: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Train, embed and profile; the sites table and the runs stand beside the wells table."""
    out = tmp_path_factory.mktemp("real")
    images, metadata = str(cpjump1 / "images"), str(cpjump1 / "metadata")
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    threads = torch.get_num_threads()
    for group in CHANNELS:
        options = ["--channels", group, "--out", str(out / group), "--recipe", "tiny", *sets, "--metadata", metadata]
        assert main(["train", images, *options]) == 0
    runs = [part for group in CHANNELS for part in ("--run", str(out / group))]
    assert main(["embed", images, *runs, "--out", str(out / "sites.parquet"), "--metadata", metadata]) == 0
    assert main(["profile", str(out / "sites.parquet"), "--out", str(out / "wells.parquet")]) == 0
    yield out / "wells.parquet"
    torch.set_num_threads(threads)


def test_training_saw_the_real_channels(wells: Path) -> None:
    for group, count in CHANNELS.items():
        run = RunFolder(wells.parent / group)
        assert len(run.facts().channels) == count
        assert run.facts().pixel_size_um == pytest.approx(0.598, abs=0.001)
        steps = [event for event in run.events() if event["event"] == "step"]
        assert [event["step"] for event in steps] == list(range(1, 5))
        assert all(np.isfinite(event["loss"]) for event in steps)
        kinds = {event["event"] for event in run.events()}
        assert not kinds & {"bad_site", "failed"}


def test_every_pseudo_site_is_embedded(wells: Path) -> None:
    sites = read_sites(wells.parent / "sites.parquet")
    assert len(sites.metadata) == 6 * 9
    width = RunFolder(wells.parent / "fluorescence").recipe().model.width
    assert all(array.shape == (54, width) and np.isfinite(array).all() for array in sites.features.values())
    assert set(sites.features) == {f"{group}_{kind}" for group in CHANNELS for kind in ("cls", "patch")}
    assert all(len(np.unique(array.round(4), axis=0)) == 54 for array in sites.features.values())


def test_the_profile_table_is_whole(wells: Path) -> None:
    table = read_wells(wells)
    assert len(table.metadata) == 6
    width = RunFolder(wells.parent / "fluorescence").recipe().model.width
    assert table.profiles.shape == (6, 9 * 2 * 2 * width)
    assert np.isfinite(table.profiles).all()
    names = pq.read_schema(wells).names
    assert names[-1] == "profile"
    assert all(name.startswith("Metadata_") for name in names[:-1])
    found = {(row["Metadata_Plate"], row["Metadata_Well"]): row for _, row in table.metadata.iterrows()}
    assert {well: row["Metadata_Compound"] for well, row in found.items()} == COMPOUNDS
    assert {row["Metadata_CellType"] for row in found.values()} == {"U2OS"}
    assert {row["Metadata_SiteCount"] for row in found.values()} == {9}
    info = json.loads(pq.read_schema(wells).metadata[b"sslprofiler"])
    assert info["tile"] == 3 and set(info["groups"]) == set(CHANNELS)


def test_six_wells_of_six_compounds_cannot_be_scored_and_that_is_said(
    wells: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(wells), "--out", str(tmp_path / "report")]) == 0
    said = capfd.readouterr().out
    assert "5 of 5 test wells have a label that no training well has" in said
    assert "No position control: fewer than two plates have control wells" in said
    assert (tmp_path / "report" / "report.html").is_file()
