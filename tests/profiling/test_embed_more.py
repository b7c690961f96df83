"""Embedding with several processes, with every patch token, and with networks as they come."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import zarr

from sslprofiler_core.cli import main
from sslprofiler_core.errors import UserError
from sslprofiler_core.model import load_model
from sslprofiler_core.plates import open_plates, read_site
from sslprofiler_core.profiling import embed_plates, embed_sites, load_models, read_info, read_sites, sites_parts
from sslprofiler_core.profiling.off_the_shelf import off_the_shelf_model
from sslprofiler_core.profiling.patch_store import patches_path

NAME = "vit_tiny_patch16_224"


def assert_same_tables(one: Path, other: Path) -> None:
    ours, theirs = read_sites(one), read_sites(other)
    assert ours.metadata.equals(theirs.metadata)
    for name, values in ours.features.items():
        np.testing.assert_array_equal(values, theirs.features[name])


def test_each_process_embeds_its_plates_into_one_table(
    simulated: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processes need not meet: rank after rank here is what `torchrun` starts side by side."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    plates = [plate.name for plate in open_plates([simulated / "images"])]
    out = tmp_path / "sites.parquet"
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        embed_plates([simulated / "images"], load_models([trained]), out)
        assert plates[rank] in [part.stem for part in sites_parts(out)]
        assert len(sites_parts(out)) == 2 - rank
    monkeypatch.delenv("WORLD_SIZE")
    assert_same_tables(out, embed_plates([simulated / "images"], load_models([trained]), tmp_path / "alone.parquet"))


@pytest.mark.soak
def test_torchrun_writes_one_table(simulated: Path, trained: Path, tmp_path: Path) -> None:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    out = tmp_path / "sites.parquet"
    words = ["embed", str(simulated / "images"), "--runs", str(trained), "--out", str(out)]
    done = subprocess.run(
        [*start, "-m", "sslprofiler_core.cli", *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Wrote") == 1
    known = {"run_metadata": simulated / "metadata"}
    alone = embed_plates([simulated / "images"], load_models([trained]), tmp_path / "alone.parquet", **known)
    assert_same_tables(out, alone)


def test_every_patch_token_is_kept_beside_the_table(
    simulated: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, out = tmp_path / "images", tmp_path / "sites.parquet"
    shutil.copytree(simulated / "images", images)
    plates = open_plates([images])
    broken = plates[0].sites[1]
    real = embed_sites.read_site

    def read(site: object, *rest: object) -> object:
        if site == broken:
            raise UserError("it is damaged")
        return real(site, *rest)

    monkeypatch.setattr(embed_sites, "read_site", read)
    model = load_model(trained)
    embed_plates([images], [model], out, patches=True)
    table = read_sites(out)
    for plate in plates:
        array = zarr.open_array(str(patches_path(out, plate.name) / "fluorescence"), mode="r")
        assert array.dtype == np.float16 and array.shape == (
            24,
            16 if model.recipe.model.patch == 8 else array.shape[1],
            16,
        )
        assert array.attrs["wells"] == [site.well for site in plate.sites]
        means = np.asarray(array[:], np.float32).mean(1)
        own = table.metadata["Metadata_Plate"] == plate.name
        there = ~np.isnan(means).any(1)
        assert there.tolist() == [site != broken for site in plate.sites]
        np.testing.assert_allclose(means[there], table.features["fluorescence_patch"][own], atol=3e-3)
    # What is there is not computed again; a plate whose patches are gone is.
    shutil.rmtree(patches_path(out, plates[1].name))
    monkeypatch.setattr(embed_sites, "read_site", real)
    part = sites_parts(out)[0]
    before = part.stat().st_mtime_ns
    embed_plates([images], [model], out, patches=True)
    assert patches_path(out, plates[1].name).is_dir()
    assert part.stat().st_mtime_ns >= before


def test_a_network_as_it_comes_sees_channel_after_channel(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timm.create_model
    torch.manual_seed(0)
    network = real(NAME, pretrained=False, num_classes=0, img_size=64).eval()
    network.pretrained_cfg["input_size"] = (3, 64, 64)
    asked = []

    def create(name: str, **options: object) -> torch.nn.Module:
        asked.append((name, options))
        return network

    monkeypatch.setattr(timm, "create_model", create)
    out = tmp_path / "sites.parquet"
    words = ["embed", str(simulated / "images"), "--model", f"timm:{NAME}", "--channels", "fluorescence"]
    assert main([*words, "--out", str(out), "--metadata", str(simulated / "metadata")]) == 0
    assert asked == [(NAME, {"pretrained": True, "num_classes": 0})]
    table = read_sites(out)
    plate = open_plates([simulated / "images"])[0]
    names = read_info(out)["groups"]["fluorescence"]["channels"]
    assert table.features["fluorescence_cls"].shape == (48, 192 * len(names))
    model = off_the_shelf_model(f"timm:{NAME}", [simulated / "images"], group="fluorescence")
    scale = embed_sites._plate_scale(plate, model)
    at = [channel.name for channel in plate.channels].index(names[1])
    low, high = scale[1].tolist()
    pixels = ((read_site(plate.sites[3], [at])[0].astype(np.float32) - low) / (high - low)).clip(0, 1)
    grey = torch.from_numpy(pixels)[None, None].expand(1, 3, -1, -1)
    mean, deviation = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        tokens = network.forward_features((grey - mean) / deviation)
    own = slice(192, 384)
    np.testing.assert_allclose(table.features["fluorescence_cls"][3, own], tokens[0, 0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(
        table.features["fluorescence_patch"][3, own], tokens[0, 1:].mean(0), rtol=1e-3, atol=1e-3
    )


def test_a_convolutional_network_gives_its_last_maps_places(simulated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = timm.create_model("resnet10t", pretrained=False, num_classes=0).eval()
    monkeypatch.setattr(timm, "create_model", lambda name, **options: network)
    model = off_the_shelf_model("timm:resnet10t", [simulated / "images"])
    cls, tokens = model.backbone(torch.rand(2, 2, 64, 64))
    assert cls.shape == (2, 1024) and tokens.shape == (2, 4, 1024)
    np.testing.assert_allclose(tokens.mean(1).numpy(), cls.numpy(), rtol=1e-4, atol=1e-5)


def test_networks_that_cannot_be_had_are_said(
    simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plates = [simulated / "images"]

    def offline(name: str, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"cannot be had .*no route to host.*--weights FILE"):
        off_the_shelf_model(f"timm:{NAME}", plates)
    with pytest.raises(UserError, match="timm has no network nonsense"):
        off_the_shelf_model("timm:nonsense", plates)
    with pytest.raises(UserError, match="is not timm:NAME"):
        off_the_shelf_model("resnet50", plates)
    with pytest.raises(UserError, match="No weights at"):
        off_the_shelf_model(f"timm:{NAME}", plates, weights=tmp_path / "none.safetensors")
    (tmp_path / "odd.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="does not hold the weights"):
        off_the_shelf_model(f"timm:{NAME}", plates, weights=tmp_path / "odd.bin")
    assert main(["embed", str(plates[0]), "--out", str(tmp_path / "s")]) == 2
    assert "--run" in capsys.readouterr().err
