"""The cache of planes on the disk."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from napari_sslprofiler.browser.thumbnails_cache import DiskCache, pack, plane_key, unpack


@given(arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_packing_loses_nothing(plane: np.ndarray) -> None:
    back = unpack(pack(plane))
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back, plane)


def test_a_broken_entry_says_so() -> None:
    with pytest.raises(ValueError):
        unpack(b"\1\0\0\0\1\0\0\0rubbish")


def test_what_was_put_is_found_by_a_later_session(tmp_path: Path) -> None:
    planes = {f"k{i}": np.full((3, 4), i, np.uint16) for i in range(3)}
    first = DiskCache(tmp_path)
    first.put(planes)
    first.close()
    second = DiskCache(tmp_path)
    found = second.get(["k0", "k2", "absent"])
    assert found.keys() == {"k0", "k2"}
    np.testing.assert_array_equal(found["k2"], planes["k2"])
    second.close()


def test_two_at_once(tmp_path: Path) -> None:
    one, other = DiskCache(tmp_path), DiskCache(tmp_path)

    def fill(cache: DiskCache, start: int) -> None:
        for i in range(start, start + 20):
            cache.put({str(i): np.full((20, 20), i, np.uint16)})

    threads = [threading.Thread(target=fill, args=args) for args in ((one, 0), (other, 20), (one, 40))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(other.get([str(i) for i in range(60)])) == 60
    one.close()
    other.close()


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = {f"k{i:02d}": rng.integers(0, 65536, (50, 50), dtype=np.uint16) for i in range(12)}  # about 5 kB each
    cache = DiskCache(tmp_path, limit=30_000)
    for key, plane in noise.items():
        cache.put({key: plane})
        cache.get(["k00"])  # in use all the time
    cache.close()
    kept = sorted(DiskCache(tmp_path).get(list(noise)))
    assert 3 <= len(kept) <= 6
    assert kept[0] == "k00" and kept[-1] == "k11" and "k01" not in kept


@pytest.mark.parametrize("junk", [b"no database" * 200, b""])
def test_a_broken_file_is_replaced(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "thumbnails.sqlite").write_bytes(junk)
    cache = DiskCache(tmp_path)
    cache.put({"k": np.ones((2, 2), np.uint16)})
    assert cache.get(["k"])["k"].sum() == 4
    cache.close()


def test_without_a_folder_it_goes_on_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = DiskCache(tmp_path / "file" / "cache")
    cache.put({"k": np.ones((2, 2), np.uint16)})
    assert cache.get(["k"]) == {}
    assert "not kept on the disk" in caplog.text


def test_keys_differ_where_pictures_do(tmp_path: Path) -> None:
    path = tmp_path / "a.tiff"
    path.write_bytes(b"12")
    key = plane_key(path, None, "DNA")
    assert plane_key(path, None, "DNA") == key
    assert len({key, plane_key(path, (0, 1, 3), "DNA"), plane_key(path, None, "ER")}) == 3
    os.utime(path, ns=(1, 1))
    assert plane_key(path, None, "DNA") != key
    assert plane_key(tmp_path / "gone.tiff", None, "DNA").endswith("DNA")
