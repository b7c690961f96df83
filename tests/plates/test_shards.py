from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates.headers import HeaderError, read_header
from sslprofiler_core.plates.shards import ShardSpec, array_document, encode_shard, inner_size, read_shard, shard_spec
from sslprofiler_core.plates.zarr_arrays import read_array_planes
from sslprofiler_core.plates.zarr_metadata import read_array_metadata


def image_of(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, shape, np.uint16) >> np.uint16(3)


def write_shard(
    path: Path, image: np.ndarray, compressed: bool = True, inner: tuple[int, int] | None = None
) -> ShardSpec:
    channels, height, width = image.shape
    if inner is None:
        inner = (inner_size(height), width) if compressed else (height, width)
    spec = ShardSpec(path, (channels, height, width), inner, compressed)
    spec.file.parent.mkdir(parents=True)
    (path / "zarr.json").write_text(json.dumps(array_document(spec)))
    spec.file.write_bytes(encode_shard(image, spec))
    return spec


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 1), (2, 271, 513), (8, 216, 30)])
def test_zarr_python_reads_what_is_written(tmp_path: Path, shape: tuple[int, int, int], compressed: bool) -> None:
    image = image_of(shape)
    write_shard(tmp_path / "a", image, compressed)
    array = zarr.open_array(str(tmp_path / "a"), mode="r")
    assert array.shape == shape
    assert array.metadata.dimension_names == ("c", "y", "x")
    np.testing.assert_array_equal(array[...], image)


@pytest.mark.parametrize("codecs", [[], [zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="shuffle")]])
def test_what_zarr_python_writes_is_read(tmp_path: Path, codecs: list[zarr.codecs.BloscCodec]) -> None:
    image = image_of((3, 64, 48))
    array = zarr.create_array(
        str(tmp_path / "a"),
        shape=image.shape,
        shards=(3, 64, 48),
        chunks=(1, 16, 24),
        dtype="uint16",
        compressors=[*codecs, zarr.codecs.Crc32cCodec()],
    )
    array[...] = image
    spec = shard_spec(read_array_metadata(tmp_path / "a"))
    assert spec is not None
    np.testing.assert_array_equal(read_shard(spec, [2, 0]), image[[2, 0]])


@settings(max_examples=30)
@given(channels=st.integers(1, 3), height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(1, 5))
def test_any_shape_goes_round(
    tmp_path_factory: pytest.TempPathFactory, channels: int, height: int, width: int, side: int
) -> None:
    image = image_of((channels, height, width))
    for compressed in (True, False):
        spec = write_shard(tmp_path_factory.mktemp("s") / "a", image, compressed, inner=(8 * side, 8))
        np.testing.assert_array_equal(read_shard(spec, range(channels)), image)


@settings(max_examples=60)
@given(data=st.data(), compressed=st.booleans())
def test_a_flipped_byte_is_an_error_and_never_a_pixel(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, compressed: bool
) -> None:
    image = image_of((2, 40, 24))
    spec = write_shard(tmp_path_factory.mktemp("s") / "a", image, compressed, inner=(24, 24) if compressed else None)
    content = bytearray(spec.file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    spec.file.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged|whole"):
        read_array_planes(spec.path, [0, 1])


@settings(max_examples=30)
@given(kept=st.floats(0, 0.999))
def test_a_file_cut_anywhere_is_an_error(tmp_path_factory: pytest.TempPathFactory, kept: float) -> None:
    spec = write_shard(tmp_path_factory.mktemp("s") / "a", image_of((2, 40, 24)))
    spec.file.write_bytes(spec.file.read_bytes()[: int(kept * spec.file.stat().st_size)])
    with pytest.raises(UserError):
        read_array_planes(spec.path, [0])
    with pytest.raises(HeaderError):
        read_header(spec.path, 0)


def test_a_missing_shard_is_no_black_image(tmp_path: Path) -> None:
    spec = write_shard(tmp_path / "a", image_of((2, 40, 24)))
    spec.file.unlink()
    with pytest.raises(UserError, match=r"Cannot read .*a: No such file"):
        read_array_planes(spec.path, [0])


def test_a_channel_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    write_shard(tmp_path / "a", image_of((2, 40, 24)))
    with pytest.raises(UserError, match="2 channels, and channel 3"):
        read_array_planes(tmp_path / "a", [2])
    with pytest.raises(HeaderError, match="lacks a channel"):
        read_header(tmp_path / "a", 2)


def test_pixels_are_shuffled_by_twos(tmp_path: Path) -> None:
    image = image_of((1, 64, 64)) & np.uint16(0x3F00) | np.uint16(7)
    spec = write_shard(tmp_path / "a", image)
    content = spec.file.read_bytes()
    assert content[3] == 2  # Blosc's own header: the size of an element
    assert len(content) < 0.5 * image.nbytes


@pytest.mark.parametrize("side", [1, 8, 64, 540, 998, 1080, 1104, 2048, 2160])
def test_inner_chunks_keep_the_shuffle_and_waste_little(side: int) -> None:
    inner = inner_size(side)
    assert inner % 8 == 0
    assert inner <= 256
    assert -(-side // inner) * inner - side < max(8, 0.03 * side)
    assert inner_size(1080) == 216
