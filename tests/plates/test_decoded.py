from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sslprofiler_core.plates import Source, open_plates, read_plane, read_site, tile_plate
from sslprofiler_core.plates import reading as reading_module
from sslprofiler_core.plates.decoded import DecodedPlanes

from .conftest import MakePlate, phenix_name, write_plane


def files(folder: Path, count: int) -> list[Source]:
    paths = [folder / f"{i}.bin" for i in range(count)]
    for path in paths:
        path.write_bytes(b"x")
    return [Source(path, None) for path in paths]


def test_the_pieces_of_a_site_cost_one_decoding_a_file(make_plate: MakePlate, monkeypatch: pytest.MonkeyPatch) -> None:
    plate = tile_plate(open_plates([make_plate()])[0], 3)
    decoded: list[Path] = []

    def count(path: Path, plane: int | None = None) -> np.ndarray:
        decoded.append(path)
        return read_plane(path, plane)

    monkeypatch.setattr(reading_module, "read_plane", count)
    for site in plate.sites:
        read_site(site)
    assert len(decoded) == len(set(decoded)) == 4 * 3


def test_a_piece_may_be_written_to(make_plate: MakePlate) -> None:
    site = tile_plate(open_plates([make_plate()])[0], 2).sites[0]
    first = read_site(site)
    first[:] = 0
    assert read_site(site).any()


def test_a_file_written_anew_is_read_anew(make_plate: MakePlate) -> None:
    root = make_plate()
    site = tile_plate(open_plates([root])[0], 2).sites[0]
    read_site(site)
    write_plane(root / phenix_name(1, 1, 1, 1), np.full((12, 10), 7, np.uint16))
    assert (read_site(site, [0]) == 7).all()


def test_the_least_recently_used_is_forgotten(tmp_path: Path) -> None:
    one, two, three = files(tmp_path, 3)
    cache = DecodedPlanes(room=2 * 800)
    calls: list[Path] = []

    def decode(path: Path, plane: int | None) -> np.ndarray:
        calls.append(path)
        return np.zeros(100)

    for source in (one, two, one, three, one, two):
        cache.get(source, decode)
    assert calls == [one.path, two.path, three.path, two.path]


def test_threads_that_want_the_same_plane_wait_for_one_decoding(tmp_path: Path) -> None:
    (source,) = files(tmp_path, 1)
    cache = DecodedPlanes()
    started = threading.Barrier(4, timeout=10)
    calls: list[int] = []

    def decode(path: Path, plane: int | None) -> np.ndarray:
        calls.append(1)
        return np.arange(3)

    def get(_: int) -> np.ndarray:
        started.wait()
        return cache.get(source, decode)

    with ThreadPoolExecutor(4) as pool:
        assert all((plane == np.arange(3)).all() for plane in pool.map(get, range(4)))
    assert len(calls) == 1


def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    (source,) = files(tmp_path, 1)
    cache = DecodedPlanes()

    def fail(path: Path, plane: int | None) -> np.ndarray:
        raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        cache.get(source, fail)
    assert cache.get(source, lambda path, plane: np.ones(2)).sum() == 2
