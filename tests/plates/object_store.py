"""An S3 server in this process, and what goes wrong on the way to one."""

from __future__ import annotations

import http.client
import re
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote, urlsplit

BUCKET = "cellpainting-gallery"
IMAGES = "cpg0000-jump-pilot/source_4/images/2020_11_04_CPJUMP1/images"
METADATA = "cpg0000-jump-pilot/source_4/workspace/metadata"
MEASUREMENT = "2020-11-08T19_57_47-Measurement1"
_BESIDE = ("Images/Index.idx.xml", "Assaylayout/CPJUMP1.xml", "FFC_Profile/FFC_Profile_Measurement 1.xml")


def put(endpoint: str, bucket: str, key: str, body: bytes, public: bool = True) -> None:
    """Put an object, readable without credentials when public."""
    _send(endpoint, f"/{bucket}/{quote(key)}", body, public)


def make_bucket(endpoint: str, bucket: str, public: bool = True) -> None:
    """Make a bucket, listed without credentials when public."""
    _send(endpoint, f"/{bucket}", b"", public)


def remove_plate(endpoint: str, root: str, folder: Path) -> None:
    """Take away the images that ``put_plate`` put from a folder, and what came with them."""
    for name in (*(f"Images/{path.name}" for path in folder.iterdir()), *_BESIDE):
        remove(endpoint, f"{root}/{name}")


def remove(endpoint: str, key: str) -> None:
    """Take an object away."""
    _send(endpoint, f"/{BUCKET}/{quote(key)}", b"", False, "DELETE")


def _send(endpoint: str, path: str, body: bytes, public: bool, method: str = "PUT") -> None:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc)
    headers = {
        "x-amz-acl": "public-read" if public else "private",
        "Content-Type": "application/octet-stream",
        "Authorization": "AWS4-HMAC-SHA256 Credential=owner/20201108/us-east-1/s3/aws4_request",
    }
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    assert answer.status in (200, 204), answer.read()
    connection.close()


def put_plate(endpoint: str, folder: Path, name: str, bucket: str = BUCKET, public: bool = True) -> str:
    """Put a plate's files where the gallery has them; returns the key of its ``...-Measurement1`` folder."""
    root = f"{IMAGES}/{name}__{MEASUREMENT}"
    for path in sorted(folder.glob("*.tiff")):
        put(endpoint, bucket, f"{root}/Images/{path.name}", path.read_bytes(), public)
    for key in _BESIDE:
        put(endpoint, bucket, f"{root}/{key}", b"<xml/>", public)
    return root


class Fault(ThreadingHTTPServer):
    """A proxy before the store that does what ``answer`` says of each request, in order of their paths' coming.

    ``answer(path, n)`` gets a request's path and how often it came before: "pass", "busy" (503 SlowDown), "refuse"
    (403), "cut" (the connection ends within the body), "flip" (one bit of the body is another), or "stall".
    """

    daemon_threads = True

    def __init__(self, endpoint: str, answer: Callable[[str, int], str] = lambda path, n: "pass") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.answer = urlsplit(endpoint).netloc, answer
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.ended = threading.Event()

    @property
    def endpoint(self) -> str:
        """Its own address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def images(self) -> list[str]:
        """The names of image files that were asked for, once for each time."""
        return [Path(path).name for path, n in self.seen.items() if re.search(r"\.tiff?$", path) for _ in range(n)]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are no matter of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Fault
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        with self.server.lock:
            before = self.server.seen[path]
            self.server.seen[path] += 1
        what = self.server.answer(path, before)
        if what == "busy":
            text = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            self._reply(503, text, {"Content-Type": "application/xml"})
        elif what == "refuse":
            self._reply(403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})
        elif what == "stall":
            self.server.ended.wait(30)
            self.close_connection = True
        else:
            self._forward(what)

    do_HEAD = do_GET

    def _forward(self, what: str) -> None:
        connection = http.client.HTTPConnection(self.server.behind)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection.request(self.command, self.path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        kept = ("content-type", "etag", "last-modified", "accept-ranges", "content-range")
        sent = {name: value for name, value in answer.getheaders() if name.lower() in kept}
        if self.command == "HEAD":
            sent["Content-Length"] = answer.getheader("Content-Length", "0")
        connection.close()
        if what == "flip":
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        self._reply(answer.status, body, sent, cut=what == "cut")

    def _reply(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection |= cut

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
