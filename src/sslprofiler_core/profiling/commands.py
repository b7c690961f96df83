"""The command line's part on embedding, profiles and exports: options here, what they import when they are used."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .profile import Controls


def profile_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``sslprofiler profile``."""
    parser.add_argument("sites_table", type=Path, metavar="SITES", help="table that embed wrote")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="WELLS", help="table to write, such as wells.parquet"
    )
    parser.add_argument(
        "--sites", choices=("concat", "mean"), default="concat", help="how sites are merged (default %(default)s)"
    )
    parser.add_argument(
        "--features", choices=("cls", "cls+patch"), default="cls+patch", help="granularities (default %(default)s)"
    )
    parser.add_argument(
        "--standardise",
        choices=("controls", "plate"),
        help="each plate by mean and deviation of its controls, or of all its wells",
    )
    parser.add_argument(
        "--sphere",
        type=float,
        nargs="?",
        const=1e-6,
        metavar="EPSILON",
        help="make the controls' features uncorrelated (epsilon: %(const)s)",
    )
    parser.add_argument(
        "--weight",
        action="append",
        default=[],
        metavar="GROUP=WEIGHT",
        help="say of a channel group in distances, 1 for those not named",
    )
    parser.add_argument("--control", metavar="COLUMN=VALUE", help="which wells are controls (default: DMSO)")
    parser.add_argument("--align", type=float, metavar="ALPHA", help="shift wells to their position's mean over plates")


def run_profile(arguments: argparse.Namespace, controls: Controls) -> int:
    """``sslprofiler profile``; ``controls`` marks the control wells of a table."""
    from .normalise import parse_weights
    from .profile import profile_sites

    out = profile_sites(
        arguments.sites_table,
        arguments.out,
        sites=arguments.sites,
        features=arguments.features,
        align=arguments.align,
        standardise=arguments.standardise,
        sphering=arguments.sphere,
        weights=parse_weights(arguments.weight),
        controls=controls,
    )
    print(f"Wrote {out}.")
    return 0
