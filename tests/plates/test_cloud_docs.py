"""docs/cloud.md: every command in it, run against the server of the tests."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslprofiler_core.cli import main
from sslprofiler_core.plates import remote_cache, remote_store
from sslprofiler_core.plates.download import BATCH

from .object_store import BUCKET, METADATA, put, put_plate, remove, remove_plate

PAGE = Path(__file__).parents[2] / "docs" / "cloud.md"


@pytest.fixture
def gallery(cloud: str, screen: Path, simulated: Path, tmp_path: Path) -> Iterator[str]:
    """The bucket with the page's plate, BR00117012: two wells, D08 and A02, with two sites each."""
    made = tmp_path / "renamed"
    made.mkdir()
    source = sorted(screen.iterdir())[0]
    wells = sorted({path.name[:6] for path in source.iterdir()})
    for path in source.iterdir():
        (made / f"{'r04c08' if path.name[:6] == wells[0] else 'r01c02'}{path.name[6:]}").write_bytes(path.read_bytes())
    root = put_plate(cloud, made, "BR00117012")
    table = (simulated / "metadata" / "barcode_platemap.csv").read_text().replace(source.name, "BR00117012")
    key = f"{METADATA}/platemaps/{BATCH}/barcode_platemap.csv"
    put(cloud, BUCKET, key, table.encode())
    yield cloud
    remove_plate(cloud, root, made)
    remove(cloud, key)


def test_every_command_works(
    gallery: str,
    small: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [
        line
        for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.splitlines()
    ]
    assert [shlex.split(line)[1] for line in commands] == [
        *["download"] * 2,
        "inspect",
        "inspect",
        "convert",
        "train",
        "embed",
    ]
    more = {
        "download": ["--endpoint", gallery],
        "train": ["--recipe", "tiny", "--device", "cpu"],
        "embed": ["--device", "cpu"],
    }
    for setting in (*small, "train.batch=2", "train.steps=1", "train.knn_checks=0"):
        more["train"] += ["--set", setting]
    for line in commands:
        program, command, *arguments = shlex.split(line)
        assert program == "sslprofiler"
        assert main([command, *arguments, *more.get(command, [])]) == 0, line
        if "--dry-run" in line:
            assert "4 sites, " in capsys.readouterr().out
            assert not (tmp_path / "cpjump1").exists()
    assert (tmp_path / "STORE.zarr" / "BR00117012").is_dir() and (tmp_path / "sites.parquet").is_dir()


def test_the_page_names_what_there_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in (remote_cache.FOLDER_VARIABLE, remote_cache.ROOM_VARIABLE, remote_store.CHECK_VARIABLE):
        assert f"`{name}" in text
    pauses = [remote_store.FIRST_PAUSE_S * 2**k for k in range(remote_store.LISTING_TRIES - 1)]
    assert f"a listing {remote_store.LISTING_TRIES} times" in text and sum(pauses) == pytest.approx(7.5)
    assert f"a file {remote_store.OBJECT_TRIES} times" in text
