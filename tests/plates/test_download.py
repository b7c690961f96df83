"""Chosen wells of CPJUMP1, from a bucket on this machine with the gallery's keys."""

from __future__ import annotations

import json
import os
from collections import namedtuple
from pathlib import Path

import pytest

from sslprofiler_core.cli import main
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import load_metadata, open_plates, remote
from sslprofiler_core.plates.download import BATCH, plan_cpjump1, run_download
from sslprofiler_core.plates.download_command import sites_of, wells_of

from .object_store import BUCKET, METADATA, Fault, put


@pytest.fixture(scope="module")
def gallery(object_store: str, simulated: Path) -> str:
    """The address of the bucket, with the plates' metadata where the gallery has such."""
    for path in sorted((simulated / "metadata").iterdir()):
        folder = {
            "barcode_platemap.csv": f"platemaps/{BATCH}",
            "experiment-metadata.tsv": "external_metadata",
        }.get(path.name, f"platemaps/{BATCH}/platemap" if "platemap" in path.name else "external_metadata")
        put(object_store, BUCKET, f"{METADATA}/{folder}/{path.name}", path.read_bytes())
    return object_store


def names(screen: Path) -> list[str]:
    return sorted(path.name for path in screen.iterdir())


def run(*arguments: str) -> int:
    return main(["download", "cpjump1", *arguments])


def test_a_plate_comes_with_its_metadata_as_said(
    gallery: str, cloud: str, screen: Path, simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = names(screen)
    out = tmp_path / "screen"
    assert run("--plates", f"{first},{second}", "--out", str(out), "--endpoint", gallery, "--dry-run") == 0
    size = sum(path.stat().st_size for path in screen.rglob("*.tiff"))
    tables = sorted((simulated / "metadata").iterdir())
    assert f"8 sites, {64 + len(tables)} files:" in (said := capsys.readouterr().out)
    assert float(said.split(": ")[1].split(" MB")[0]) >= round(size / 1e6, 1) and not out.exists()

    assert run("--plates", first, second, "--out", str(out), "--endpoint", gallery) == 0
    assert "Next: sslprofiler inspect" in capsys.readouterr().out
    for plate in (first, second):
        for path in (screen / plate).iterdir():
            assert (out / "images" / plate / path.name).read_bytes() == path.read_bytes()
    for path in tables:
        assert (out / "metadata" / path.name).read_bytes() == path.read_bytes()
    plates = open_plates([out / "images"], check=True)
    assert [plate.name for plate in plates] == [first, second]
    assert len(load_metadata(out / "metadata", plates))
    assert main(["inspect", str(out / "images"), "--metadata", str(out / "metadata"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["sites"] == 8


def test_wells_and_sites_are_chosen(gallery: str, cloud: str, screen: Path, tmp_path: Path) -> None:
    plate = names(screen)[0]
    (here,) = open_plates([screen / plate])
    first, second = here.wells
    plan = plan_cpjump1(tmp_path, plates=[plate], wells=[second], metadata=False, endpoint=gallery)
    wanted = sorted(path.name for site in here.sites_of(second) for path in site.paths)
    assert sorted(file.path.name for file in plan.files) == wanted and plan.sites == 2
    plan = plan_cpjump1(tmp_path, plates=[plate], sites=[2], metadata=False, endpoint=gallery)
    assert {file.path.name[6:9] for file in plan.files} == {"f02"} and plan.sites == 2
    # A rectangle of many wells is listed at once, and what it does not have is said.
    plan = plan_cpjump1(tmp_path, plates=[plate], wells=[first, "P23", "P24"], metadata=False, endpoint=gallery)
    assert plan.sites == 2 and plan.notes == (f"Plate {plate} has no images of P23, P24.",)
    many = plan_cpjump1(tmp_path, plates=[plate], wells=wells_of(["A01-P24"]), metadata=False, endpoint=gallery)
    assert many.sites == 4
    with pytest.raises(UserError, match="none of these wells"):
        plan_cpjump1(tmp_path, plates=[plate], wells=["P24"], endpoint=gallery)
    with pytest.raises(UserError, match=rf"no plate BR1\. It has {plate}, "):
        plan_cpjump1(tmp_path, plates=["BR1"], endpoint=gallery)


def test_a_stopped_download_goes_on(
    gallery: str, cloud: str, screen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslprofiler_core.plates.download._TOGETHER", 2)

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert total == 32
        if done == 9:
            raise StopError

    plate = names(screen)[0]
    with Fault(gallery) as proxy:
        ask = {"plates": [plate], "metadata": False, "endpoint": proxy.endpoint}
        with pytest.raises(StopError):
            run_download(plan_cpjump1(tmp_path, **ask), endpoint=proxy.endpoint, report=stop)
        whole = list((tmp_path / "images" / plate).glob("*"))
        assert 9 <= len(whole) < 32 and all(path.suffix == ".tiff" for path in whole)
        whole[0].write_bytes(b"x" * whole[0].stat().st_size)  # of the right size, and wrong
        whole[1].touch()  # copied without its time: the same by its MD5
        killed, running = (whole[0].with_name(f"{name}.tiff.1-1.partial") for name in ("a", "b"))
        killed.touch()
        running.touch()
        os.utime(killed, (0, 0))
        plan = plan_cpjump1(tmp_path, **ask)
        assert len(plan.missing) == 32 - len(whole) + 1
        proxy.seen.clear()
        run_download(plan, endpoint=proxy.endpoint)
        assert len(proxy.images()) == len(plan.missing)
        assert running.exists() and not killed.exists()
    for path in (screen / plate).iterdir():
        assert (tmp_path / "images" / plate / path.name).read_bytes() == path.read_bytes()


def test_what_hinders_a_download_is_said(
    gallery: str,
    cloud: str,
    screen: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plate = names(screen)[0]
    assert run("--plates", plate, "--out", str(tmp_path), "--endpoint", "http://127.0.0.1:9") == 2
    assert "cannot be read at http://127.0.0.1:9" in (said := capsys.readouterr().err) and "Check the network" in said
    with Fault(gallery, lambda path, before: "cut" if path.endswith("ch5sk1fk1fl1.tiff") else "pass") as proxy:
        assert run("--plates", plate, "--out", str(tmp_path), "--endpoint", proxy.endpoint) == 2
        remote.forget_stores()
    assert "what has come is kept" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*ch5*.tiff")) and not list(tmp_path.rglob("*.partial"))
    usage = namedtuple("usage", ("total", "used", "free"))
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(UserError, match=r"has room for 0\.0 GB.*Make room"):
        run_download(plan_cpjump1(tmp_path / "new" / "one", plates=[plate], endpoint=gallery), endpoint=gallery)


def test_wells_and_sites_are_written_briefly() -> None:
    assert wells_of(["B02", "A01-B02", "a1"]) == ["B02", "A01", "A02", "B01"]
    assert sites_of(["1-3", "9"]) == {1, 2, 3, 9}
    for bad in ("Z99", "A01-", "A01-x"):
        with pytest.raises(UserError, match="is no well"):
            wells_of([bad if bad != "A01-" else "A-"])
    with pytest.raises(UserError, match="is no site"):
        sites_of(["f1"])
