"""Embedding: a row a site, plate by plate, by the models that the table says, and by no others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sslprofiler_core.augment import whole_sites
from sslprofiler_core.errors import UserError
from sslprofiler_core.model import LoadedModel, build_network, load_model, save_model
from sslprofiler_core.plates import load_metadata, measure_scale, open_plates, read_site
from sslprofiler_core.profiling import embed, embed_plates, embed_sites, load_models, read_info, read_sites, sites_parts
from sslprofiler_core.recipes import load_recipe

Embed = Callable[..., Path]


def untrained(folder: Path, images: Path, group: str, small: list[str], *more: str, seed: int = 3) -> Path:
    """A run folder with a model that has not been trained: all that embedding needs."""
    plates = open_plates([images])
    recipe = load_recipe("tiny", [*small, f"train.seed={seed}", *more])
    channels = tuple(c.name for c in plates[0].channels if group in (c.group, "all"))
    backbone = build_network(recipe, len(channels))[1].backbone
    folder.mkdir()
    scale = measure_scale(plates, sites=2)
    save_model(folder / "model.safetensors", LoadedModel(backbone, recipe, group, channels, 0.6, scale, 0))
    return folder


@pytest.fixture(scope="module")
def brightfield(simulated: Path, small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("runs") / "brightfield", simulated / "images", "brightfield", small)


@pytest.fixture
def table(simulated: Path, trained: Path, brightfield: Path, tmp_path: Path) -> Embed:
    """Embed into a table with both groups."""

    def table(images: Path | None = None, out: str = "sites.parquet", **options: object) -> Path:
        settings = {"metadata": simulated / "metadata", **options}
        return embed_plates(
            [images or simulated / "images"], load_models([trained, brightfield]), tmp_path / out, **settings
        )

    return table


@pytest.fixture
def images(simulated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(simulated / "images", tmp_path / "images"))


def assert_same_tables(one: Path, other: Path) -> None:
    ours, theirs = read_sites(one), read_sites(other)
    assert ours.metadata.equals(theirs.metadata)
    assert set(ours.features) == set(theirs.features)
    for name, values in ours.features.items():
        np.testing.assert_array_equal(values, theirs.features[name])


def test_a_row_a_site_with_both_granularities_of_both_groups(table: Embed, simulated: Path) -> None:
    found = read_sites(table())
    plates = open_plates([simulated / "images"])
    sites = [site for plate in plates for site in plate.sites]
    rows = found.metadata[["Metadata_Plate", "Metadata_Well", "Metadata_Site"]].to_numpy().tolist()
    assert rows == [[site.plate, site.well, site.site] for site in sites]
    names = ["fluorescence_cls", "fluorescence_patch", "brightfield_cls", "brightfield_patch"]
    assert {name: array.shape for name, array in found.features.items()} == dict.fromkeys(names, (48, 16))
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in found.features.values())
    known = load_metadata(simulated / "metadata", plates).set_index(["Metadata_Plate", "Metadata_Well"])
    for _, row in found.metadata.iterrows():
        assert row["Metadata_Compound"] == known.loc[(row["Metadata_Plate"], row["Metadata_Well"]), "Metadata_Compound"]


def test_vectors_are_the_models_of_the_whole_site(table: Embed, simulated: Path, trained: Path) -> None:
    """By hand: the run's scale, the embedding's resampler, CLS and the mean of the patches."""
    found, model, plate = read_sites(table()), load_model(trained), open_plates([simulated / "images"])[1]
    indices = [[channel.name for channel in plate.channels].index(name) for name in model.channels]
    scale = torch.tensor([model.scale[plate.name][name] for name in model.channels])
    for number in (0, 17):
        pixels = torch.from_numpy(read_site(plate.sites[number], indices))
        image = whole_sites([pixels], scale[None], 32, model.recipe.augment)
        with torch.no_grad():
            cls, patches = model.backbone(image)
        row = 24 + number
        np.testing.assert_allclose(found.features["fluorescence_cls"][row], cls[0].numpy(), rtol=1e-4, atol=1e-5)
        patch = patches[0].double().mean(0).numpy()
        np.testing.assert_allclose(found.features["fluorescence_patch"][row], patch, rtol=1e-4, atol=1e-5)


def test_the_table_says_what_made_it(table: Embed, simulated: Path, trained: Path) -> None:
    info = read_info(table())
    assert info["groups"]["fluorescence"] == {"channels": list(load_model(trained).channels), "step": 12}
    assert info["groups"]["brightfield"]["step"] == 0
    assert set(info["plates"]) == {plate.name for plate in open_plates([simulated / "images"])}
    assert info["tile"] == 1


def test_only_a_plate_that_is_not_there_is_embedded(table: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    first = table()
    kept, lost = sites_parts(first)
    before = kept.stat().st_mtime_ns
    lost.unlink()
    embedded = []
    real = embed.embed_plate
    monkeypatch.setattr(embed, "embed_plate", lambda plate, *rest: embedded.append(plate.name) or real(plate, *rest))
    table()
    assert embedded == [lost.stem]
    assert kept.stat().st_mtime_ns == before
    assert_same_tables(first, table(out="other.parquet"))


def test_killed_and_started_again_it_ends_with_the_same_table(
    table: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of the second plate: nothing after that moment runs."""
    real = embed_sites.forward_tokens
    calls = []

    class Killed(BaseException):
        pass

    def killed(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 4:  # a plate is one batch of each model
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(embed_sites, "forward_tokens", killed)
        with pytest.raises(Killed):
            table()
    assert len(sites_parts(tmp_path / "sites.parquet")) == 1
    assert_same_tables(table(), table(out="other.parquet"))


def test_metadata_that_comes_later_is_written_to_what_is_there(table: Embed, monkeypatch: pytest.MonkeyPatch) -> None:
    first = table(metadata=None)
    assert "Metadata_Compound" not in read_sites(first, ()).metadata
    whole = table(out="other.parquet")
    monkeypatch.setattr(embed, "embed_plate", lambda *_: pytest.fail("embedded again"))
    table()
    assert_same_tables(first, whole)


def test_a_plate_that_has_more_sites_now_is_embedded_again(table: Embed, images: Path, tmp_path: Path) -> None:
    site = open_plates([images])[0].sites[5]
    content = site.paths[2].read_bytes()
    site.paths[2].unlink()
    first = table(images)
    assert len(read_sites(first, ()).metadata) == 47
    site.paths[2].write_bytes(content)
    table(images)
    assert len(read_sites(first, ()).metadata) == 48


def test_a_plate_whose_channels_have_other_names_now_is_embedded_again(table: Embed, simulated: Path) -> None:
    folder = table()
    before = read_sites(folder).features["fluorescence_cls"]
    first, second = (channel for channel in open_plates([simulated / "images"])[0].channels[:2])
    names = folder.with_name("names.csv")
    names.write_text(f"number,name\n{first.number},{second.name}\n{second.number},{first.name}\n")
    assert not np.allclose(read_sites(table(channels_file=names)).features["fluorescence_cls"], before)
    np.testing.assert_array_equal(read_sites(table()).features["fluorescence_cls"], before)


def test_other_models_are_refused(table: Embed, simulated: Path, small: list[str], tmp_path: Path) -> None:
    out = table()
    other = untrained(tmp_path / "other", simulated / "images", "fluorescence", small)
    with pytest.raises(UserError, match="holds embeddings of other models"):
        embed_plates([simulated / "images"], load_models([other]), out)


def test_damage_to_a_part_is_said(table: Embed) -> None:
    part = sites_parts(table())[0]
    part.write_bytes(part.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a Parquet table, or is cut short"):
        table()


def test_two_runs_of_one_group_are_refused(simulated: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="same channel group"):
        embed_plates([simulated / "images"], load_models([trained, trained]), tmp_path / "sites.parquet")


def test_different_tiles_are_refused(simulated: Path, trained: Path, small: list[str], tmp_path: Path) -> None:
    tiled = untrained(tmp_path / "tiled", simulated / "images", "brightfield", small, "plates.tile=2")
    with pytest.raises(UserError, match="different tiles"):
        embed_plates([simulated / "images"], load_models([trained, tiled]), tmp_path / "sites.parquet")


def test_tiles_are_rows(simulated: Path, small: list[str], tmp_path: Path) -> None:
    tiled = untrained(tmp_path / "tiled", simulated / "images", "all", small, "plates.tile=2")
    found = read_sites(embed_plates([simulated / "images"], load_models([tiled]), tmp_path / "sites.parquet"))
    assert len(found.metadata) == 4 * 48
    assert set(found.features) == {"all_cls", "all_patch"}
    assert read_info(tmp_path / "sites.parquet")["tile"] == 2


def test_a_plate_that_the_run_never_saw_gets_its_own_scale(
    simulated: Path, trained: Path, tmp_path: Path, images: Path
) -> None:
    old = open_plates([images])[0]
    old.root.rename(images / "NEW")
    shutil.rmtree(open_plates([images])[-1].root)
    found = read_sites(embed_plates([images], load_models([trained]), tmp_path / "new.parquet"))
    known = read_sites(embed_plates([old.root.parent], load_models([trained]), tmp_path / "again.parquet"))
    np.testing.assert_array_equal(found.features["fluorescence_cls"], known.features["fluorescence_cls"])
    assert np.isfinite(found.features["fluorescence_cls"]).all()
    assert set(found.metadata["Metadata_Plate"]) == {"NEW"}


def test_runs_that_share_channels_keep_their_own_scales(
    simulated: Path, trained: Path, small: list[str], tmp_path: Path
) -> None:
    both, one = untrained(tmp_path / "all", simulated / "images", "all", small), load_model(trained)
    wide = replace(
        one,
        scale={
            plate: {name: (low, 3 * high) for name, (low, high) in scale.items()} for plate, scale in one.scale.items()
        },
    )
    alone = read_sites(embed_plates([simulated / "images"], load_models([both]), tmp_path / "alone.parquet"))
    beside = read_sites(embed_plates([simulated / "images"], [load_model(both), wide], tmp_path / "beside.parquet"))
    np.testing.assert_array_equal(alone.features["all_cls"], beside.features["all_cls"])


def test_a_file_that_lies_in_its_header_is_left_out_with_a_warning(
    table: Embed, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Damage inside the pixels shows only when they are decoded; a night's work must not end there."""
    site = open_plates([images])[0].sites[7]
    spoil_pixels(site.paths[1])
    found = read_sites(table(images))
    assert len(found.metadata) == 47
    shown = capfd.readouterr().err
    assert f"Warning: {site.plate} {site.well} site {site.site} left out: " in shown
    assert str(site.paths[1]) in shown
    intact = read_sites(table(out="intact.parquet"))
    np.testing.assert_allclose(
        found.features["fluorescence_cls"],
        np.delete(intact.features["fluorescence_cls"], 7, axis=0),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_truncated_file_is_said_before_embedding(
    table: Embed, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = open_plates([images])[0].sites[7].paths[1]
    path.write_bytes(path.read_bytes()[:1500])
    assert len(read_sites(table(images), ()).metadata) == 47
    shown = capfd.readouterr().err
    assert shown.index("has 1 gap") < shown.index("Embedding")


def test_metadata_of_the_run_serves_the_plates_that_it_knows(
    table: Embed, simulated: Path, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = read_sites(table(metadata=None, run_metadata=simulated / "metadata"), ())
    assert found.metadata["Metadata_Compound"].notna().all()
    for plate in open_plates([images]):
        plate.root.rename(images / f"X{plate.name}")
    found = read_sites(table(images, out="new.parquet", metadata=None, run_metadata=simulated / "metadata"), ())
    assert "Metadata_Compound" not in found.metadata
    assert "Warning: The run's metadata is not used: " in capfd.readouterr().err
    with pytest.raises(UserError, match="is not in"):
        table(images, out="third.parquet", metadata=simulated / "metadata")


@pytest.mark.parametrize("where", ["file", "file/sites.parquet"])
def test_where_nothing_can_be_written_nothing_is_embedded(
    where: str, table: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(embed, "embed_plate", lambda *_: pytest.fail("embedded for nothing"))
    with pytest.raises(UserError, match=r"is a file|Cannot write into"):
        table(out=where)


def spoil_pixels(path: Path) -> None:
    """Overwrite compressed pixels, leaving the TIFF's header and size as they are."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + count] = b"\xff" * count
    path.write_bytes(content)
