"""``sslprofiler evaluate``: its options."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("wells", type=Path, nargs="+", metavar="WELLS", help="table of well profiles (unaligned)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="REPORT", help="folder for report.html and metrics.csv"
    )
    parser.add_argument("--label", metavar="COLUMN", help="what wells are told apart by (default Metadata_Compound)")
    parser.add_argument("--control", metavar="COLUMN=VALUE", help="which wells are controls (default: DMSO)")
    parser.add_argument(
        "--group", metavar="COLUMN", help="what labels have in common, such as a gene (default: found by name)"
    )
    parser.add_argument("--align", type=float, metavar="ALPHA", help="also score alignment, fitted in each fold")
    parser.add_argument("--clip", type=float, metavar="X", help="clip features to -X .. X first")
    parser.add_argument("--folds", type=int, default=5, help="folds by plate (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of folds, intervals and map (default %(default)s)")
    parser.add_argument("--fast", action="store_true", help="no mAP, no intervals and no map")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, and say where the report is; returns the exit status."""
    from .report import evaluate

    report = evaluate(
        arguments.wells,
        arguments.out,
        label=arguments.label,
        control=arguments.control,
        group=arguments.group,
        align=arguments.align,
        clip=arguments.clip,
        folds=arguments.folds,
        seed=arguments.seed,
        fast=arguments.fast,
    )
    print(f"Report: {report}")
    return 0
