"""``sslprofiler download cpjump1``: its options, and what it says."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from sslprofiler_core.errors import UserError

from .types import well_name, well_position


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("dataset", choices=["cpjump1"], metavar="cpjump1", help="the data set: cpjump1")
    parser.add_argument("--plates", nargs="+", required=True, metavar="PLATE", help="such as BR00117012")
    parser.add_argument(
        "--wells", nargs="+", default=[], metavar="WELL", help="such as D08 or A01-D06, a rectangle (default: all)"
    )
    parser.add_argument("--sites", nargs="+", default=[], metavar="SITE", help="such as 1 or 1-9 (default: all)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder; gets images/ and metadata/")
    parser.add_argument("--dry-run", action="store_true", help="say how much it is, and end")
    parser.add_argument("--endpoint", metavar="URL", help="address of another S3 store with the same bucket")


def run(arguments: argparse.Namespace) -> int:
    """Download, saying first how much it is; returns the exit status."""
    from .download import plan_cpjump1, run_download

    plan = plan_cpjump1(
        arguments.out,
        plates=list(_words(arguments.plates)),
        wells=list(wells_of(_words(arguments.wells))),
        sites=sorted(sites_of(_words(arguments.sites))),
        endpoint=arguments.endpoint,
    )
    for note in plan.notes:
        print(f"Note: {note}")
    print(plan.describe(), flush=True)
    if not arguments.dry_run:
        images = run_download(plan, endpoint=arguments.endpoint, progress=True)
        print(f"Downloaded {images}. Next: sslprofiler inspect {images} --metadata {arguments.out / 'metadata'}")
    return 0


def _words(given: Iterable[str]) -> Iterable[str]:
    """Words, whether commas or spaces part them."""
    return (word for text in given for word in re.split(r"[,\s]+", text) if word)


def wells_of(words: Iterable[str]) -> list[str]:
    """Wells by name: "D08", and each of the rectangle "A01-D06". Raises UserError."""
    wells: list[str] = []
    for word in words:
        first, _, last = word.partition("-")
        corners = well_position(first), well_position(last or first)
        if corners[0] is None or corners[1] is None:
            raise UserError(f"{word!r} is no well. Give names such as D08, or rectangles such as A01-D06.")
        (top, left), (bottom, right) = corners[0], corners[1]
        wells += [well_name(row, column) for row in range(top, bottom + 1) for column in range(left, right + 1)]
    return list(dict.fromkeys(wells))


def sites_of(words: Iterable[str]) -> set[int]:
    """Site numbers: "3", and those of "1-9". Raises UserError."""
    sites: set[int] = set()
    for word in words:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", word)
        if match is None:
            raise UserError(f"{word!r} is no site. Give numbers such as 3, or ranges such as 1-9.")
        sites.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sites
