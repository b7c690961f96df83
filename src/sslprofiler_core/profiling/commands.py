"""The command line's part on embedding, profiles and exports: options here, what they import when they are used."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sslprofiler_core import ranks
from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from .profile import Controls


def embed_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``sslprofiler embed`` beside plates and device."""
    parser.add_argument(
        "--run",
        "--runs",  # torchrun takes --run for one of its own options, wherever it stands
        dest="run",
        type=Path,
        action="append",
        default=[],
        metavar="RUN",
        help="run folder; one a channel group (under torchrun write --runs)",
    )
    parser.add_argument(
        "--model", metavar="timm:NAME", help="in place of a run: a network of timm's as it comes, channel by channel"
    )
    parser.add_argument(
        "--channels", default="all", metavar="GROUP", help="with --model: the channels to embed (default %(default)s)"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="with --model: its weights (default: timm's own)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="SITES", help="table to write, such as sites.parquet"
    )
    parser.add_argument(
        "--patches",
        action="store_true",
        help="keep every patch token too: float16, SITES.patches.zarr beside the table",
    )


def run_embed(arguments: argparse.Namespace, run_metadata: Path | None) -> int:
    """``sslprofiler embed``; ``run_metadata`` is that of the training runs."""
    if bool(arguments.run) == bool(arguments.model):
        raise UserError("Name either --run RUN, one a channel group, or --model timm:NAME.")
    from .embed import embed_plates, load_models

    if arguments.model:
        from .off_the_shelf import off_the_shelf_model

        models = [
            off_the_shelf_model(
                arguments.model,
                arguments.plates,
                group=arguments.channels,
                weights=arguments.weights,
                channels_file=arguments.channels_file,
            )
        ]
    else:
        models = load_models(arguments.run)
    out = embed_plates(
        arguments.plates,
        models,
        arguments.out,
        metadata=arguments.metadata,
        run_metadata=run_metadata,
        device=arguments.device,
        channels_file=arguments.channels_file,
        patches=arguments.patches,
    )
    if ranks.index() == 0:
        print(f"Wrote {out}.")
    return 0


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
    if arguments.control and arguments.standardise != "controls" and arguments.sphere is None:
        raise UserError("--control is for --standardise controls and --sphere. Add one of them, or leave it out.")
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
