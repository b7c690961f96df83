"""What embedding will do: which plates, through which runs, into which tables; and whether that fits. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sslprofiler.child_process import command_line
from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from napari_sslprofiler.state import Screen
    from sslprofiler_core.plates import Plate
    from sslprofiler_core.training import RunFacts


@dataclass(frozen=True)
class Plan:
    """One embedding and the profiles made from it.

    Attributes
    ----------
    plates
        Folders (or tables) of the plates.
    runs
        Run folders, one a channel group.
    out
        The folder that gets ``sites.parquet`` and ``wells.parquet``.
    metadata, channels_file
        As on the command line.
    sites
        ``"concat"`` or ``"mean"``: how the sites of a well are merged (paper 3.3.2).
    features
        ``"cls+patch"`` or ``"cls"`` (paper 3.3.1).
    """

    plates: tuple[Path, ...]
    runs: tuple[Path, ...]
    out: Path
    metadata: Path | None = None
    channels_file: Path | None = None
    sites: str = "concat"
    features: str = "cls+patch"

    @property
    def sites_table(self) -> Path:
        """The table of sites."""
        return self.out / "sites.parquet"

    @property
    def wells_table(self) -> Path:
        """The table of well profiles."""
        return self.out / "wells.parquet"

    def embed_arguments(self) -> list[str]:
        """``sslprofiler``'s arguments that embed the plates."""
        words = ["embed", *map(str, self.plates)]
        for run in self.runs:
            words += ["--run", str(run)]
        words += ["--out", str(self.sites_table)]
        if self.metadata is not None:
            words += ["--metadata", str(self.metadata)]
        if self.channels_file is not None:
            words += ["--channels-file", str(self.channels_file)]
        return words

    def profile_arguments(self) -> list[str]:
        """``sslprofiler``'s arguments that make well profiles of the sites."""
        return [
            "profile",
            str(self.sites_table),
            "--out",
            str(self.wells_table),
            "--sites",
            self.sites,
            "--features",
            self.features,
        ]

    def command(self) -> str:
        """The commands that do the same, a line each."""
        return "\n".join([command_line(self.embed_arguments()), command_line(self.profile_arguments())])


@dataclass(frozen=True)
class RunSummary:
    """A run as the widget shows it; ``problem`` says why it cannot be used."""

    path: Path
    group: str = ""
    channels: tuple[str, ...] = ()
    words: str = ""
    problem: str = ""


def summarise_run(path: Path) -> RunSummary:
    """Read what a run was trained on, as far as it can be read."""
    from sslprofiler_core.training import RunFolder

    run = RunFolder(path)
    if not run.exists():
        return RunSummary(path, problem=f"{path} holds no run. Choose the folder that `sslprofiler train` wrote.")
    try:
        facts: RunFacts = run.facts()
    except UserError as error:
        return RunSummary(path, problem=str(error))
    words = f"{facts.group}: {', '.join(facts.channels)}"
    if not run.model_file.is_file():
        return RunSummary(
            path, facts.group, facts.channels, words, f"{path.name} has no model yet: let it train to a checkpoint."
        )
    return RunSummary(path, facts.group, facts.channels, words)


def find_problems(plates: Sequence[Plate], runs: Sequence[RunSummary]) -> list[str]:
    """Say in sentences what keeps these plates from going through these runs; empty when nothing does."""
    if not plates:
        return ["Choose at least one plate."]
    if not runs:
        return ["Choose at least one run."]
    problems = [run.problem for run in runs if run.problem]
    groups = [run.group for run in runs if not run.problem]
    if len(set(groups)) < len(groups):
        problems.append("Two runs are of the same channel group: choose one run a group.")
    for run in runs:
        lacking: dict[tuple[str, ...], list[str]] = {}
        for plate in plates:
            there = {channel.name for channel in plate.channels}
            missing = tuple(name for name in run.channels if name not in there)
            if missing:
                lacking.setdefault(missing, []).append(plate.name)
        for missing, names in lacking.items():
            owners = f"Plate {names[0]} has" if len(names) == 1 else f"{len(names)} plates ({names[0]}, …) have"
            own = ", ".join(channel.name for channel in plates[0].channels)
            problems.append(
                f"{owners} no channel {', '.join(missing)}, which {run.path.name} was trained on. "
                f"The plates' channels: {own}."
            )
    return problems


def make_plan(
    screen: Screen, names: Sequence[str], runs: Sequence[Path], out: Path, *, sites: str, features: str
) -> Plan:
    """Plan for some of the open plates; all of them go by the paths that were opened."""
    chosen = tuple(plate for plate in screen.plates if plate.name in set(names))
    paths = screen.paths if len(chosen) == len(screen.plates) else tuple(plate.root for plate in chosen)
    return Plan(paths, tuple(runs), out, screen.metadata_path, screen.channels_file, sites, features)


def default_out(runs: Sequence[Path]) -> Path | None:
    """Beside the first run."""
    return runs[0].parent / "profiles" if runs else None
