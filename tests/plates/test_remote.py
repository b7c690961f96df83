"""Plates in an object store are plates: the same pixels, fetched once, whatever the network does."""

from __future__ import annotations

import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import (
    convert_plates,
    inspect_plates,
    looks_like_plates,
    measure_scale,
    open_plates,
    read_site,
    remote,
)
from sslprofiler_core.plates.remote_cache import (
    address_of,
    cache_root,
    is_mirrored,
    is_url,
    location,
    mirrored,
    usable_name,
)

from .object_store import BUCKET, IMAGES, MEASUREMENT, Fault, make_bucket, put, put_plate

FOLDER = f"s3://{BUCKET}/{IMAGES}"


def files(folder: Path) -> list[Path]:
    """The files in a folder of folders."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def first_plate(screen: Path) -> Path:
    return sorted(screen.iterdir())[0]


def test_a_path_in_a_store_is_one_whatever_it_went_through(cloud: str) -> None:
    url = f"s3://{BUCKET}/a b/c"
    for path in (url, Path(url), str(Path(url))):
        assert is_url(path)
        here = mirrored(path)
        assert is_mirrored(here) and mirrored(here) == here
        assert address_of(here) == (cloud, f"{BUCKET}/a b/c")
        assert location(here) == location(path) == url
    assert mirrored(url, endpoint="") != mirrored(url)
    assert not is_url("/s3/a") and not is_mirrored(Path(f"{cache_root()}-beside/x"))
    assert location(Path("a")) == str(Path("a").resolve())
    for bad in ("s3://", "s3://bucket/../../etc"):
        with pytest.raises(UserError, match="names no bucket"):
            mirrored(bad)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "..\\x", "a\0"])
def test_a_key_cannot_name_a_file_elsewhere(name: str) -> None:
    assert not usable_name(name)


def test_a_screen_opens_from_the_bucket_as_from_the_disk(cloud: str, screen: Path) -> None:
    here = open_plates([screen], check=True)
    there = open_plates([FOLDER], check=True)
    assert looks_like_plates(Path(FOLDER))
    for one, other in zip(here, there, strict=True):
        assert (one.name, one.channels, one.pixel_size_um, one.shape) == (
            other.name,
            other.channels,
            other.pixel_size_um,
            other.shape,
        )
        assert [(s.well, s.site, s.position_um) for s in one.sites] == [
            (s.well, s.site, s.position_um) for s in other.sites
        ]
        assert not other.gaps
        assert location(other.root) == f"{FOLDER}/{one.name}__{MEASUREMENT}/Images"
    # What was opened is a file a channel: nothing else was fetched.
    assert len(files(cache_root())) == sum(len(plate.channels) for plate in there)
    assert np.array_equal(read_site(here[0].sites[3]), read_site(there[0].sites[3]))


def test_each_file_is_fetched_once(cloud: str, screen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Fault(cloud) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        (plate,) = open_plates([f"{FOLDER}/{first_plate(screen).name}__{MEASUREMENT}"])
        with ThreadPoolExecutor(8) as pool:
            images = list(pool.map(read_site, [plate.sites[1]] * 8))
        assert all(np.array_equal(image, images[0]) for image in images)
        remote.forget_stores()  # as another process, which asks for the listing anew
        (again,) = open_plates([plate.root])
        assert again == plate
        read_site(again.sites[1])
        assert set(Counter(proxy.images()).values()) == {1}


def test_inspect_reads_little_and_says_so(cloud: str, screen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslprofiler_core.plates.inspect.REMOTE_SITES", 2)
    found = inspect_plates([FOLDER])
    local = inspect_plates([screen])
    assert found["totals"] == local["totals"]
    plates = found["plates"]
    assert [plate["path"] for plate in plates] == [f"{FOLDER}/{p['name']}__{MEASUREMENT}/Images" for p in plates]
    assert all("files in the bucket were not fetched" in note for note in found["notes"]) and len(found["notes"]) == 2
    assert plates[0]["channels"][0]["percentiles"].keys() == {"0.1", "50", "99.9"}
    assert len(files(cache_root())) <= 2 * (2 + 1) * 8  # two sites a plate, and the first


def test_a_store_converted_from_the_bucket_equals_one_from_the_disk(cloud: str, screen: Path, tmp_path: Path) -> None:
    name = first_plate(screen).name
    convert_plates([f"{FOLDER}/{name}__{MEASUREMENT}"], tmp_path / "there.zarr")
    convert_plates([screen / name], tmp_path / "here.zarr")
    (one,), (other,) = open_plates([tmp_path / "here.zarr"]), open_plates([tmp_path / "there.zarr"])
    assert [site.site for site in one.sites] == [site.site for site in other.sites]
    for site, same in zip(one.sites[::2], other.sites[::2], strict=True):
        assert np.array_equal(read_site(site), read_site(same))


def test_a_store_in_a_bucket_reads_site_by_site(cloud: str, screen: Path, tmp_path: Path) -> None:
    name = first_plate(screen).name
    convert_plates([screen / name], tmp_path / "made.zarr")
    bucket = "stores"
    make_bucket(cloud, bucket)
    for path in files(tmp_path / "made.zarr"):
        put(cloud, bucket, path.relative_to(tmp_path).as_posix(), path.read_bytes())
    (plate,) = open_plates([f"s3://{bucket}/made.zarr"], check=True)
    (here,) = open_plates([tmp_path / "made.zarr"])
    assert plate.channels == here.channels and len(plate.sites) == len(here.sites)
    assert np.array_equal(read_site(plate.sites[2]), read_site(here.sites[2]))
    assert len([path for path in files(cache_root()) if path.name == "0"]) < len(plate.sites)
    assert measure_scale([plate]) == measure_scale([here])


def test_a_load_data_table_may_name_objects(cloud: str, screen: Path, tmp_path: Path) -> None:
    source = first_plate(screen)
    name = sorted(source.glob("*-ch5*.tiff"))[0].name
    table = tmp_path / "load_data.csv"
    url = f"{FOLDER}/{source.name}__{MEASUREMENT}/Images/{name}"
    table.write_text(f"Metadata_Plate,Metadata_Well,Metadata_Site,URL_OrigDNA\nP,A01,1,{url}\n", encoding="utf-8")
    (plate,) = open_plates([table])
    (path,) = plate.sites[0].paths
    assert location(path) == url
    assert path.read_bytes() == (source / name).read_bytes()


def test_a_bad_network_is_asked_again(cloud: str, screen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file comes at the fourth try: the store is busy, the connection is cut, a bit flips."""
    name = first_plate(screen).name

    def answer(path: str, before: int) -> str:
        faults = ["busy", "cut", "flip"] if path.endswith(".tiff") else ["busy", "busy"]
        return faults[before] if before < len(faults) else "pass"

    with Fault(cloud, answer) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        (plate,) = open_plates([f"{FOLDER}/{name}__{MEASUREMENT}"])
        image = read_site(plate.sites[0])
        assert set(Counter(proxy.images()).values()) == {4}
    (here,) = open_plates([screen / name])
    assert np.array_equal(image, read_site(here.sites[0]))
    for path in files(cache_root()):
        assert path.read_bytes() == (screen / name / path.name).read_bytes()


def test_what_never_comes_whole_is_an_error_and_no_file(
    cloud: str, screen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {
        "f02p01-ch2sk1": ("busy", r"cannot be read at http.*the last: .*rate.*Check the network"),
        "f02p01-ch3sk1": ("cut", r"s3://.*tiff (cannot be read|did not come whole)"),
        "f02p01-ch4sk1": ("flip", r"s3://.*tiff did not come whole in 4 tries: its MD5 is not its ETag"),
    }

    def answer(path: str, before: int) -> str:
        return next((fault for part, (fault, _) in bad.items() if part in path), "pass")

    with Fault(cloud, answer) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        (plate,) = open_plates([f"{FOLDER}/{first_plate(screen).name}__{MEASUREMENT}"])
        site = next(site for site in plate.sites if site.site == 2)
        for channel, (_, words) in enumerate(bad.values(), start=1):
            with pytest.raises(UserError, match=words):
                read_site(site, [channel])
        read_site(site, [0, 4])
    whole = files(cache_root())
    assert whole and not [path for path in whole if any(part in path.name for part in (*bad, "partial"))]
    for path in whole:
        assert path.read_bytes() == (first_plate(screen) / path.name).read_bytes()


def test_a_store_that_says_nothing_is_given_up(cloud: str, screen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sslprofiler_core.plates.remote_store._READ_S", 0.2)
    monkeypatch.setattr("sslprofiler_core.plates.remote_store.LISTING_TRIES", 2)
    with Fault(cloud, lambda path, n: "stall") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        with pytest.raises(UserError, match=r"cannot be read at .*2 tries.*[Tt]imeout"):
            open_plates([FOLDER])


def test_no_network_is_said(cloud: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"s3://cellpainting-gallery/x cannot be read .*Check the network"):
        open_plates([f"s3://{BUCKET}/x"])
    with pytest.raises(UserError, match=r"s3fs.*pip install"):
        monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
        remote.forget_stores()
        open_plates([f"s3://{BUCKET}/x"])


def test_what_is_not_there_is_said(cloud: str) -> None:
    with pytest.raises(UserError, match=rf"There is no s3://{BUCKET}/nowhere"):
        open_plates([f"s3://{BUCKET}/nowhere"])
    with pytest.raises(UserError, match=r"There is no s3://no-such-bucket"):
        open_plates(["s3://no-such-bucket/x"])
    with pytest.raises(UserError, match=r"pattern"):
        open_plates([f"s3://{BUCKET}/{{plate}}/{{well}}_{{channel}}.tif"])


def test_a_private_bucket_is_read_with_credentials(cloud: str, screen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bucket(cloud, "private", public=False)
    root = put_plate(cloud, first_plate(screen), "P1", bucket="private", public=False)
    with pytest.raises(UserError, match=r"refuses s3://private.*no credentials.*AWS_PROFILE"):
        open_plates([f"s3://private/{root}"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "owner")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    remote.forget_stores()
    (plate,) = open_plates([f"s3://private/{root}"])
    assert read_site(plate.sites[0]).shape[0] == 8


def test_an_object_written_anew_is_fetched_anew(cloud: str, screen: Path) -> None:
    make_bucket(cloud, "changing")
    root = put_plate(cloud, first_plate(screen), "P1", bucket="changing")
    url = f"s3://changing/{root}"
    (plate,) = open_plates([url])
    before = read_site(plate.sites[0])
    path = plate.sites[0].paths[0]
    os.utime(path, ns=(0, path.stat().st_mtime_ns - 5 * 10**9))  # fetched when the object was older
    other = first_plate(screen) / plate.sites[1].paths[0].name
    put(cloud, "changing", f"{root}/Images/{path.name}", other.read_bytes())
    (plate,) = open_plates([url])
    after = read_site(plate.sites[0])
    assert not np.array_equal(before[0], after[0]) and np.array_equal(before[1:], after[1:])


def test_the_cache_stays_within_its_room(cloud: str, screen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = first_plate(screen)
    (plate,) = open_plates([f"{FOLDER}/{source.name}__{MEASUREMENT}"])
    room = sum(path.stat().st_size for path in source.iterdir()) * 18 // 32
    monkeypatch.setenv("SSLPROFILER_CACHE_GB", str(room / 1e9))
    (here,) = open_plates([source])
    for site, same in zip(plate.sites, here.sites, strict=True):
        assert np.array_equal(read_site(site), read_site(same))
        assert sum(path.stat().st_size for path in files(cache_root())) <= room
    kept = {path.name for path in files(cache_root())}
    # Of four sites of 8 files, the last is there, and the first is not: 18 files fit.
    assert {path.name for path in plate.sites[3].paths} <= kept
    assert not {path.name for path in plate.sites[0].paths} & kept
    monkeypatch.setenv("SSLPROFILER_CACHE_GB", "much")
    with pytest.raises(UserError, match="SSLPROFILER_CACHE_GB is 'much'"):
        read_site(plate.sites[1])


def test_a_file_deleted_between_two_readings_comes_back(cloud: str, screen: Path) -> None:
    (plate,) = open_plates([f"{FOLDER}/{first_plate(screen).name}__{MEASUREMENT}"])
    site, stop = plate.sites[2], threading.Event()
    expected = read_site(site)

    def delete() -> None:
        while not stop.wait(0.002):
            site.paths[3].unlink(missing_ok=True)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        for _ in range(10):
            assert np.array_equal(read_site(site), expected)
    finally:
        stop.set()
        thread.join()


def test_an_empty_object_is_a_gap(cloud: str, screen: Path) -> None:
    make_bucket(cloud, "gaps")
    root = put_plate(cloud, first_plate(screen), "P1", bucket="gaps")
    (plate,) = open_plates([f"s3://gaps/{root}"])
    broken = plate.sites[1].paths[2]
    put(cloud, "gaps", f"{root}/Images/{broken.name}", b"")
    (found,) = open_plates([f"s3://gaps/{root}"], check=True)
    assert [(gap.path, gap.problem) for gap in found.gaps] == [(broken, "empty file")]
    assert found == replace(plate, sites=(plate.sites[0], *plate.sites[2:]), gaps=found.gaps)


def test_a_run_and_a_table_are_made_from_the_bucket(cloud: str, screen: Path, small: list[str], tmp_path: Path) -> None:
    """As from the disk: the same scale, the same vectors; and both lead back to the bucket."""
    from sslprofiler_core.exploring import open_table
    from sslprofiler_core.profiling import embed_plates, load_models
    from sslprofiler_core.profiling.tables import read_sites
    from sslprofiler_core.training import RunFolder, train

    run = tmp_path / "run"
    settings = [*small, "train.batch=4", "train.steps=1", "train.knn_checks=0"]
    train([Path(FOLDER)], group="fluorescence", out=run, recipe="tiny", overrides=settings, device="cpu")
    facts = RunFolder(run).facts()
    assert facts.paths == (FOLDER,)
    assert facts.plates == {path.name: f"{FOLDER}/{path.name}__{MEASUREMENT}/Images" for path in screen.iterdir()}
    assert facts.scale == measure_scale(open_plates([screen]), sites=4, channels=facts.channels)
    tables = []
    for name, plates in (("there", FOLDER), ("here", screen)):
        embed_plates([plates], load_models([run]), tmp_path / f"{name}.parquet", device="cpu")
        tables.append(read_sites(tmp_path / f"{name}.parquet"))
    for one, other in zip(*(table.features.values() for table in tables), strict=True):
        assert np.array_equal(one, other)
    roots = open_table(tmp_path / "there.parquet").plate_roots
    assert [plate.name for plate in open_plates(list(roots.values()))] == sorted(roots)
