"""``sslprofiler ablate``: its options."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that other commands on plates do not have."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for runs, tables and table1.md")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="trainings of each row (default %(default)s)")
    parser.add_argument(
        "--rows", metavar="A,B", help="rows by name, or all (default: the seven of the paper's Table 1)"
    )
    parser.add_argument(
        "--scale", choices=("tiny", "paper"), default="paper", help="sizes of views and networks (default %(default)s)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change settings of every row's recipe"
    )
    parser.add_argument(
        "--at-once", type=int, metavar="N", help="trainings at a time (default: one a GPU, two on a CPU)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on where it was stopped (it always does; for scripts that say so)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Make the table, and print it; returns the exit status."""
    from .run import ablate

    table = ablate(
        arguments.plates,
        arguments.out,
        metadata=arguments.metadata,
        rows=None if arguments.rows is None else [name.strip() for name in arguments.rows.split(",")],
        seeds=arguments.seeds,
        scale=arguments.scale,
        overrides=arguments.set,
        device=arguments.device,
        at_once=arguments.at_once,
        channels_file=arguments.channels_file,
    )
    print(table.read_text(encoding="utf-8"))
    print(f"Table: {table}")
    return 0
