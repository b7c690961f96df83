"""What a training is to be, as values: the command that does it, and what can be chosen. No Qt."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sslprofiler.forms.files import recipe_overrides
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates.remote_cache import is_mirrored, is_url

if TYPE_CHECKING:
    from sslprofiler_core.plates import Plate
    from sslprofiler_core.recipes import Recipe

DEFAULT_RECIPE = "paper-vits14"
_WORDS = {
    "paper-vits14": "Paper, ViT-S/14",
    "paper-vitb14": "Paper, ViT-B/14",
    "tiny": "Tiny: two CPU cores, minutes",
}


@dataclass(frozen=True)
class TrainPlan:
    """One training, as `sslprofiler train` takes it.

    Parameters
    ----------
    plates
        Plate folders.
    group
        Channel group.
    out
        The run folder.
    recipe
        A shipped recipe's name or a file; None resumes with the run's own.
    overrides
        ``section.key=value`` changes of it.
    metadata, channels_file
        As given when the plates were opened.
    resume
        Go on with a run.
    """

    plates: tuple[Path, ...]
    group: str
    out: Path
    recipe: str | None = DEFAULT_RECIPE
    overrides: tuple[str, ...] = ()
    metadata: Path | None = None
    channels_file: Path | None = None
    resume: bool = False

    def arguments(self) -> list[str]:
        """What follows ``sslprofiler train``."""
        found = [*map(str, self.plates), "--channels", self.group, "--out", str(self.out)]
        if self.recipe is not None:
            found += ["--recipe", self.recipe]
        for override in self.overrides:
            found += ["--set", override]
        if self.metadata is not None:
            found += ["--metadata", str(self.metadata)]
        if self.channels_file is not None:
            found += ["--channels-file", str(self.channels_file)]
        return [*found, "--resume"] if self.resume else found

    def command(self) -> str:
        """The line that does the same in a terminal, quoted for a shell."""
        return shlex.join(["sslprofiler", "train", *self.arguments()])

    def estimate_arguments(self) -> list[str]:
        """What follows ``sslprofiler`` to say what this means."""
        return ["train", *self.arguments(), "--estimate", "--json"]


@dataclass(frozen=True)
class GroupChoice:
    """A channel group that plates have: its value for ``--channels``, its words, and its channels."""

    value: str
    words: str
    channels: tuple[str, ...]


def channel_groups(plates: Sequence[Plate]) -> tuple[GroupChoice, ...]:
    """The groups that all of some plates have, fluorescence first; none when their channels differ."""
    if not plates:
        return ()
    names = [tuple(channel.name for channel in plate.channels) for plate in plates]
    if any(set(other) != set(names[0]) for other in names):
        return ()
    found = []
    for group in ("fluorescence", "brightfield"):
        members = tuple(channel.name for channel in plates[0].channels if channel.group == group)
        if members:
            found.append(GroupChoice(group, group.capitalize(), members))
    found.append(GroupChoice("all", "All channels", names[0]))
    return tuple(found)


def recipe_words(name: str) -> str:
    """How a shipped recipe is called in a list."""
    return _WORDS.get(name, name)


def base_and_overrides(recipe: Recipe, base: str) -> tuple[str, tuple[str, ...]]:
    """Write a recipe as a shipped name or a file, and what differs from it."""
    from sslprofiler_core.recipes import load_recipe

    return base, tuple(recipe_overrides(recipe, load_recipe(base)))


def plan_to_resume(run: Path, channels_file: Path | None = None) -> TrainPlan:
    """The plan that goes on with a run, from what its folder tells; reads files.

    Raises
    ------
    UserError
        When the folder holds no run, or its plates are not where they were.
    """
    from sslprofiler_core.training.run_folder import RunFolder

    folder = RunFolder(run)
    if not folder.exists():
        raise UserError(f"{run} holds no run that could go on: it ended before its first step. Start it anew.")
    facts = folder.facts()
    plates = tuple(Path(path) for path in facts.paths or dict.fromkeys(facts.plates.values()))
    for path in plates:
        if not (is_url(path) or path.exists()):
            raise UserError(f"The run's plates {path} are not there. Mount their disk, or resume in a terminal.")
    if facts.channels_file is not None and Path(facts.channels_file).exists():
        channels_file = Path(facts.channels_file)
    metadata = Path(facts.metadata) if facts.metadata is not None and Path(facts.metadata).exists() else None
    return TrainPlan(plates, facts.group, Path(run), None, (), metadata, channels_file, resume=True)


def free_run_folder(plates: Sequence[Plate], group: str, base: Path | None = None) -> Path:
    """A run folder to offer: named by the group, beside the plates' folder or under ``base``, not there yet."""
    if base is None:
        root = plates[0].root if plates and not is_mirrored(plates[0].root) else Path.home() / "x"
        base = root.parent.parent / "runs" if root.parent.name == "images" else root.parent / "runs"
    name = group.replace(",", "-").replace(" ", "")
    candidate, number = base / name, 1
    while candidate.exists():
        number += 1
        candidate = base / f"{name}-{number}"
    return candidate
