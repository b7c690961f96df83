"""The command line: ``sslprofiler``, and ``sslprofiler-train`` (the same as ``sslprofiler train``).

Rooms are imported by the command that uses them: ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from sslprofiler_core import __version__, ranks
from sslprofiler_core.ablation import command as ablate_command
from sslprofiler_core.errors import UserError
from sslprofiler_core.evaluation import command as evaluate_command
from sslprofiler_core.exploring.export_command import export_options, run_export
from sslprofiler_core.plates import download_command
from sslprofiler_core.plates.layouts import only_layout
from sslprofiler_core.profiling.commands import embed_options, profile_options, run_embed, run_profile

Command = Callable[[argparse.Namespace], int]
_SETTING = re.compile(r"\w+\.\w+=")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``sslprofiler``; returns the exit status (0 done, 2 an error that the user can put right)."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal or the pipe cannot show is no reason to end
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = build_parser().parse_args(_each_set(sys.argv[1:] if argv is None else argv))
    if getattr(arguments, "pattern", None):
        arguments.plates = [path / arguments.pattern for path in arguments.plates]
    command: Command = arguments.command
    with warnings.catch_warnings():
        warnings.filterwarnings("default", category=UserWarning)
        warnings.showwarning = _show_warning
        try:
            if not 0 <= getattr(arguments, "seed", 0) < 2**63:
                raise UserError(f"--seed {arguments.seed} is out of range. Give a whole number from 0 to 2^63 - 1.")
            with only_layout(getattr(arguments, "layout", None)):
                return command(arguments)
        except UserError as error:
            print(f"sslprofiler: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("sslprofiler: interrupted.", file=sys.stderr)
            return 130
        except BrokenPipeError:  # the reader of a pipe has seen enough
            sys.stderr.close()
            return 0
        except OSError as error:
            text = _system_error(error)
            if text is None:
                raise
            print(f"sslprofiler: {text}", file=sys.stderr)
            return 2


def _each_set(words: Sequence[str]) -> list[str]:
    """``--set a.b=1 c.d=2`` as ``--set a.b=1 --set c.d=2``: argparse would take the second for plates."""
    told: list[str] = []
    setting = False
    for word in words:
        if setting and told[-1] != "--set" and _SETTING.match(word):
            told.append("--set")
        setting = word == "--set" or (setting and bool(_SETTING.match(word)))
        told.append(word)
    return told


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning is for the user: its words alone, on one line."""
    print(f"Warning: {' '.join(str(message).split())}", file=file or sys.stderr)


def _system_error(error: OSError) -> str | None:
    """Say what the system refused, where no command has said it better; None where that is no user's matter."""
    if error.filename is not None:
        name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else error.filename
        return f"{name}: {error.strerror}. Check the path, its permissions and the room on its disk."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror}. Make room, and run the same command again."
    return None


def train_main(argv: Sequence[str] | None = None) -> int:
    """Run ``sslprofiler-train``."""
    return main(["train", *(sys.argv[1:] if argv is None else argv)])


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(
        prog="sslprofiler",
        description="Self-supervised well profiles from Cell Painting plates.",
        epilog="Start with `sslprofiler demo`, or `sslprofiler inspect PLATES` on your own plates.",
    )
    parser.add_argument("--version", action="version", version=f"sslprofiler {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    one = _command(commands, "simulate", "write simulated plates", _simulate)
    one.add_argument("out", type=Path, metavar="OUT", help="folder; gets images/ and metadata/")
    one.add_argument("--plates", type=int, default=4, help="plates, half of each cell line (default %(default)s)")
    one.add_argument("--wells", type=int, default=48, help="wells a plate (default %(default)s)")
    one.add_argument("--sites", type=int, default=4, help="sites a well (default %(default)s)")
    one.add_argument(
        "--size", type=int, default=128, metavar="PX", help="side of a site in pixels (default %(default)s)"
    )
    one.add_argument("--seed", type=int, default=0, help="seed (default %(default)s)")

    one = _command(commands, "inspect", "show what is in a folder of plates, and what is missing", _inspect)
    _plates(one)
    one.add_argument("--json", action="store_true", help="print JSON")
    one.add_argument("--pixels", action="store_true", help="decode every plane (slow; finds damage inside files)")

    one = _command(commands, "download", "bring chosen wells of the public CPJUMP1 plates", _download)
    download_command.add_arguments(one)

    one = _command(commands, "convert", "write plates to a store that reads several times as fast", _convert)
    _plates(one, metadata=False)
    one.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder to write, such as STORE.zarr")
    one.add_argument("--uncompressed", action="store_true", help="store pixels as they are")

    one = _command(commands, "train", "train one model on one channel group", _train)
    _plates(one)
    one.add_argument(
        "--channels", required=True, metavar="GROUP", help="fluorescence, brightfield, all, or names with commas"
    )
    one.add_argument("--out", type=Path, metavar="RUN", help="run folder (needed but for --estimate)")
    one.add_argument(
        "--recipe", help="name or TOML file (default: paper-vits14, or with --resume what the run was started with)"
    )
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change settings of the recipe")
    one.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    one.add_argument("--estimate", action="store_true", help="say what it means (pairs, memory, time here), and end")
    one.add_argument("--json", action="store_true", help="with --estimate: print JSON")
    _device(one)

    one = _command(commands, "embed", "turn every site into a vector", _embed)
    _plates(one)
    embed_options(one)
    _device(one)

    one = _command(commands, "profile", "turn sites into well profiles", _profile)
    profile_options(one)

    one = _command(commands, "evaluate", "measure how well profiles find their own kind", _evaluate)
    evaluate_command.add_arguments(one)

    one = _command(
        commands, "export", "write a table for other programs: CSV, Parquet, AnnData, the challenge's", run_export
    )
    export_options(one)

    one = _command(commands, "browse", "show a table as a map that leads back to its images", _browse)
    one.add_argument("table", type=Path, metavar="TABLE", help="wells or sites table, CSV, AnnData, or saved browser")
    _layout(one)

    one = _command(commands, "ablate", "train and score the rows of the paper's Table 1", _ablate)
    _plates(one)
    ablate_command.add_arguments(one)
    _device(one)

    one = _command(commands, "demo", "simulate, train, embed, profile, evaluate, report", _demo)
    one.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="folder (default %(default)s)")
    one.add_argument(
        "--full", action="store_true", help="train ten times as long, at full resolution (an hour at most on two cores)"
    )
    one.add_argument("--seed", type=int, default=0, help="seed of plates and training (default %(default)s)")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, run: Command
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=run)
    return parser


def _plates(parser: argparse.ArgumentParser, metadata: bool = True) -> None:
    text = "plate folders, folders of plates, LoadData tables, or OME-Zarr plates"
    parser.add_argument("plates", type=Path, nargs="+", metavar="PLATES", help=text)
    if metadata:
        text = "plate map, table of plates, or a folder of both"
        parser.add_argument("--metadata", type=Path, metavar="PATH", help=text)
    parser.add_argument(
        "--channels-file", type=Path, metavar="FILE", help="names and groups of the channels (TOML or CSV)"
    )
    text = "how files below PLATES are named, such as '{plate}/{well}_{site}_{channel}.tif'"
    parser.add_argument("--pattern", metavar="PATTERN", help=text)
    _layout(parser)


def _layout(parser: argparse.ArgumentParser) -> None:
    text = "take PLATES for this layout alone (phenix, load_data, ome_zarr, image_xpress, multichannel_tiff)"
    parser.add_argument("--layout", metavar="NAME", help=text)


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", metavar="NAME", help="cuda, mps or cpu (default: the best there is)")


def _simulate(arguments: argparse.Namespace) -> int:
    from sslprofiler_core.plates import simulate_plates

    out = simulate_plates(
        arguments.out,
        plates=arguments.plates,
        wells=arguments.wells,
        sites=arguments.sites,
        size=arguments.size,
        seed=arguments.seed,
    )
    print(f"Wrote {out / 'images'} and {out / 'metadata'}.")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from sslprofiler_core.plates import format_inspection, inspect_plates

    found = inspect_plates(
        arguments.plates,
        metadata=arguments.metadata,
        channels=arguments.channels_file,
        pixels=arguments.pixels,
        layout=arguments.layout,
    )
    print(json.dumps(found, indent=1) if arguments.json else format_inspection(found))
    return 0


def _download(arguments: argparse.Namespace) -> int:
    return download_command.run(arguments)


def _convert(arguments: argparse.Namespace) -> int:
    from sslprofiler_core.plates import convert_plates, describe_conversion

    converted = convert_plates(
        arguments.plates,
        arguments.out,
        channels=arguments.channels_file,
        layout=arguments.layout,
        compressed=not arguments.uncompressed,
        progress=True,
    )
    print("\n".join(describe_conversion(converted)))
    return 0


def _train(arguments: argparse.Namespace) -> int:
    if arguments.estimate:
        return _estimate(arguments)
    if arguments.out is None:
        raise UserError("The run needs a folder. Name one with --out.")
    from sslprofiler_core.training import train

    outcome = train(
        arguments.plates,
        group=arguments.channels,
        out=arguments.out,
        recipe=arguments.recipe,
        overrides=arguments.set,
        metadata=arguments.metadata,
        resume=arguments.resume,
        device=arguments.device,
        channels_file=arguments.channels_file,
    )
    if outcome.reason == "finished":
        text = f"Trained {outcome.steps} steps: {arguments.out / 'model.safetensors'}."
    else:
        text = f"Stopped ({outcome.reason}) after step {outcome.step} of {outcome.steps}; go on with --resume."
    if ranks.index() == 0:
        print(text)
    return {"SIGINT": 130, "SIGTERM": 143}.get(outcome.reason, 0)


def _estimate(arguments: argparse.Namespace) -> int:
    from sslprofiler_core.training import estimate_run
    from sslprofiler_core.training.estimate import estimate_json, format_estimate

    found = estimate_run(
        arguments.plates,
        group=arguments.channels,
        recipe=arguments.recipe or "paper-vits14",
        overrides=arguments.set,
        device=arguments.device,
        channels_file=arguments.channels_file,
    )
    print(estimate_json(found) if arguments.json else format_estimate(found))
    return 0


def _embed(arguments: argparse.Namespace) -> int:
    _warn_of_unfinished(arguments.run)
    return run_embed(arguments, _metadata_of(arguments.run))


def _warn_of_unfinished(runs: Sequence[Path]) -> None:
    from sslprofiler_core.training import RunFolder

    for run in map(RunFolder, runs):
        if run.exists() and not any(event.get("event") == "finished" for event in run.events()):
            text = f"{run.path} has not finished its training: the model of its last checkpoint is used."
            warnings.warn(text, stacklevel=2)


def _metadata_of(runs: Sequence[Path]) -> Path | None:
    """Find the metadata that a run was trained with, where it is still there."""
    from sslprofiler_core.training import RunFolder

    for run in map(RunFolder, runs):
        if run.exists() and (found := run.facts().metadata) is not None:
            if Path(found).exists():
                return Path(found)
            warnings.warn(f"The run's metadata {found} is not there. Say with --metadata where it is.", stacklevel=2)
    return None


def _profile(arguments: argparse.Namespace) -> int:
    from sslprofiler_core.evaluation.labels import control_wells

    return run_profile(arguments, lambda metadata: control_wells(metadata, arguments.control))


def _evaluate(arguments: argparse.Namespace) -> int:
    return evaluate_command.run(arguments)


def _browse(arguments: argparse.Namespace) -> int:
    from sslprofiler_core.exploring import browse

    return browse(arguments.table)


def _ablate(arguments: argparse.Namespace) -> int:
    return ablate_command.run(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from sslprofiler_core.demo import run_demo

    report = run_demo(arguments.out, full=arguments.full, seed=arguments.seed)
    print(f"Report: {report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
