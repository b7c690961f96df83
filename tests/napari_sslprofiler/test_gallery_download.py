"""The download of a real well, from a bucket on this machine that answers as S3 does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

import pytest

from napari_sslprofiler.gallery_download import IMAGES, PLATE, download_well
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import load_metadata, open_plates

FOLDER = f"{IMAGES}{PLATE}__2020-11-08T19_57_47-Measurement1/"


class Bucket(ThreadingHTTPServer):
    """Files by key; counts what is fetched."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.fetched, self.cut = files, [], False

    fetched: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """S3's ListObjectsV2 and GetObject."""

    server: Bucket

    def do_GET(self) -> None:
        url = urlparse(self.path)
        query = parse_qs(url.query)
        if "list-type" in query:
            body = self._list(query["prefix"][0], "delimiter" in query)
        else:
            key = unquote(url.path).lstrip("/")
            self.server.fetched.append(key)
            body = self.server.files[key]
            if self.server.cut:
                body = body[:10]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _list(self, prefix: str, folders: bool) -> bytes:
        keys = [key for key in self.server.files if key.startswith(prefix)]
        if folders:
            names = {prefix + key.removeprefix(prefix).split("/")[0] + "/" for key in keys}
            inner = "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in sorted(names))
        else:
            inner = "".join(
                f"<Contents><Key>{key}</Key><Size>{len(self.server.files[key])}</Size></Contents>" for key in keys
            )
        name_space = "http://s3.amazonaws.com/doc/2006-03-01/"
        return f'<ListBucketResult xmlns="{name_space}"><Prefix>{prefix}</Prefix>{inner}</ListBucketResult>'.encode()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def bucket(simulated: Path) -> Iterator[Bucket]:
    """A bucket with one well's two sites under the real names, and another well's."""
    source = sorted((simulated / "images").iterdir())[0]
    planes = sorted(source.glob("*.tiff"))[:16]
    files = {}
    for number, path in enumerate(planes):
        name = f"r04c08f{number // 8 + 1:02}p01-ch{number % 8 + 1}sk1fk1fl1.tiff"
        files[f"{FOLDER}Images/{name}"] = path.read_bytes()
    files[f"{FOLDER}Images/r05c01f01p01-ch1sk1fk1fl1.tiff"] = b"of another well"
    files[f"{FOLDER}Assaylayout/r04c08.xml"] = b"no image"
    server = Bucket(files)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_well_arrives_whole_once(bucket: Bucket, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    images = download_well(tmp_path, lambda done, total: told.append((done, total)), bucket=bucket.url)
    assert told[0] == (0, 16) and told[-1] == (16, 16)
    (plate,) = open_plates([images])
    assert plate.name == PLATE and plate.wells == ("D08",) and len(plate.sites) == 2
    assert load_metadata(tmp_path / "metadata", [plate])["Metadata_Compound"].tolist() == ["FK-866"]

    bucket.fetched.clear()
    download_well(tmp_path, lambda done, total: None, bucket="http://127.0.0.1:9")  # nobody there: not asked
    assert not bucket.fetched


def test_what_was_stopped_goes_on(bucket: Bucket, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise StopError

    with pytest.raises(StopError):
        download_well(tmp_path, stop, bucket=bucket.url)
    first = set(bucket.fetched)
    assert 5 <= len(first) < 16
    bucket.fetched.clear()
    download_well(tmp_path, lambda done, total: None, bucket=bucket.url)
    assert not first & set(bucket.fetched) and len(first | set(bucket.fetched)) == 16


def test_a_file_cut_short_is_not_kept(bucket: Bucket, tmp_path: Path) -> None:
    bucket.cut = True
    with pytest.raises(UserError, match="incomplete"):
        download_well(tmp_path, lambda done, total: None, bucket=bucket.url)
    assert not list(tmp_path.rglob("*.tiff"))


def test_no_network_is_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be reached .*Simulated plates"):
        download_well(tmp_path, lambda done, total: None, bucket="http://127.0.0.1:9")
