"""``sslprofiler export``: its options, and what it imports when it is used."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exports import Form


def export_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``sslprofiler export``."""
    parser.add_argument("table", type=Path, metavar="TABLE", help="wells or sites table, or one made by others")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="file to write: .parquet, .csv, .csv.gz or .h5ad"
    )
    parser.add_argument("--challenge", action="store_true", help="a CSV with ID and the features alone")
    parser.add_argument("--id", metavar="COLUMN", help="with --challenge: what becomes ID (default: plate_well)")


def run_export(arguments: argparse.Namespace) -> int:
    """``sslprofiler export``."""
    from .exports import export_table

    form: Form = "challenge" if arguments.challenge else "columns"
    print(f"Wrote {export_table(arguments.table, arguments.out, form=form, identity=arguments.id)}.")
    return 0
