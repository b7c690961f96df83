"""One real well of CPJUMP1 from the public Cell Painting Gallery: nine sites, eight channels, as they were written.

Source: cpg0000-jump-pilot (Chandrasekaran et al. 2024), CC0. The bucket is listed, so that nothing but the plate's
name has to be known.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from sslprofiler_core.errors import UserError

BUCKET = "https://cellpainting-gallery.s3.amazonaws.com"
IMAGES = "cpg0000-jump-pilot/source_4/images/2020_11_04_CPJUMP1/images/"
PLATE, WELL, COMPOUND = "BR00117012", "r04c08", "FK-866"
_TIMEOUT = 20.0
_TOGETHER = 4
_INSTEAD = "Without a network, File > Open Sample > SSLProfiler > Simulated plates works; or open plates of your own."

Report = Callable[[int, int], None]


def download_well(folder: Path, report: Report, *, bucket: str = BUCKET) -> Path:
    """Download the well, going on with what an earlier call left; files that are there whole are not fetched again.

    Parameters
    ----------
    folder
        Gets ``images/BR00117012`` and ``metadata``.
    report
        Called with (files done, files in all); may raise to stop.

    Returns
    -------
    The folder ``images``.

    Raises
    ------
    UserError
        Without a network, or when the gallery answers otherwise than expected.
    """
    plate = folder / "images" / PLATE
    listing = folder / "files.json"
    files = _known(listing)
    if files is None:
        files = _list_well(bucket)
        plate.mkdir(parents=True, exist_ok=True)
        listing.write_text(json.dumps(files), encoding="utf-8")
    missing = {key: size for key, size in files.items() if not _is_whole(plate / Path(key).name, size)}
    done = len(files) - len(missing)
    report(done, len(files))
    with ThreadPoolExecutor(_TOGETHER) as pool:
        fetches = [pool.submit(_fetch, bucket, key, plate / Path(key).name, size) for key, size in missing.items()]
        try:
            for fetch in fetches:
                fetch.result()
                done += 1
                report(done, len(files))
        except BaseException:
            for fetch in fetches:
                fetch.cancel()
            raise
    metadata = folder / "metadata"
    metadata.mkdir(exist_ok=True)
    text = f"Metadata_Plate,Metadata_Well,Metadata_Compound,Metadata_CellType\n{PLATE},D08,{COMPOUND},U2OS\n"
    (metadata / "wells.csv").write_text(text, encoding="utf-8")
    return folder / "images"


def _known(listing: Path) -> dict[str, int] | None:
    with suppress(OSError, ValueError):
        found = json.loads(listing.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found:
            return {str(key): int(size) for key, size in found.items()}
    return None


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _list_well(bucket: str) -> dict[str, int]:
    """Key -> bytes of the well's images."""
    folders = [text for name, text in _listed(bucket, f"{IMAGES}{PLATE}__", "Prefix") if name == "Prefix"]
    if not folders:
        raise UserError(f"The Cell Painting Gallery has no folder for {PLATE} any more. {_INSTEAD}")
    files: dict[str, int] = {}
    key = ""
    for name, text in _listed(bucket, f"{folders[0]}Images/{WELL}", "Contents"):
        if name == "Key":
            key = text
        elif name == "Size" and key.endswith(".tiff"):
            files[key] = int(text)
    if not files:
        raise UserError(f"The Cell Painting Gallery has no images of {PLATE} well D08 any more. {_INSTEAD}")
    return files


def _listed(bucket: str, prefix: str, what: str) -> Iterator[tuple[str, str]]:
    """Yield (tag, text) inside the entries of S3's listing of a prefix (ListObjectsV2)."""
    query = {"list-type": "2", "prefix": prefix, **({"delimiter": "/"} if what == "Prefix" else {})}
    with _open(f"{bucket}/?{urllib.parse.urlencode(query)}") as answer:
        try:
            tree = ElementTree.fromstring(answer.read())
        except ElementTree.ParseError as error:
            raise UserError(
                f"The Cell Painting Gallery answered with something else than a listing. {_INSTEAD}"
            ) from error
    outer = "CommonPrefixes" if what == "Prefix" else "Contents"
    for entry in tree.iter():
        if entry.tag.rpartition("}")[2] == outer:
            for item in entry:
                yield item.tag.rpartition("}")[2], item.text or ""


def _fetch(bucket: str, key: str, path: Path, size: int) -> None:
    aside = path.with_name(path.name + ".partial")
    with _open(f"{bucket}/{urllib.parse.quote(key)}") as answer:
        content = answer.read()
    if len(content) != size:
        raise UserError(f"{path.name} came incomplete ({len(content):,} of {size:,} bytes). Open the sample again.")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror or error}). Make room on that disk.") from error


def _open(url: str) -> urllib.request._UrlopenRet:
    try:
        return urllib.request.urlopen(url, timeout=_TIMEOUT)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"The Cell Painting Gallery cannot be reached ({reason}). {_INSTEAD}") from error
