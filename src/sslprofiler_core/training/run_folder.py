"""The run folder: what training writes, and the widget, the command line and a colleague read.

``recipe.toml`` resolved settings; ``run.json`` plates, channels, scale; ``events.jsonl`` one JSON object a line;
``checkpoints/``; ``model.safetensors``; and one file written by others: ``control`` (``stop`` or ``pause``).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sslprofiler_core import __version__
from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe, dump_recipe, load_recipe

IntensityScale = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True)
class RunFacts:
    """What a run was started on.

    Attributes
    ----------
    group
        Channel group as given.
    channels
        Names of its channels, in the network's order.
    pixel_size_um
        Micrometres, or None when not known.
    plates
        Plate name -> folder.
    scale
        Plate -> channel -> raw intensities that became 0 and 1.
    steps
        Length of the run.
    metadata
        Path of the plate metadata, or None.
    version
        Of the software that started it.
    """

    group: str
    channels: tuple[str, ...]
    pixel_size_um: float | None
    plates: dict[str, str]
    scale: IntensityScale
    steps: int
    metadata: str | None = None
    version: str = __version__


class RunFolder:
    """Paths and small files of one run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.recipe_file = self.path / "recipe.toml"
        self.facts_file = self.path / "run.json"
        self.events_file = self.path / "events.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.model_file = self.path / "model.safetensors"
        self.control_file = self.path / "control"

    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.recipe_file.is_file() and self.facts_file.is_file()

    def create(self, recipe: Recipe, facts: RunFacts) -> None:
        """Start a run: make the folder and write recipe and facts.

        Raises
        ------
        UserError
            When the folder cannot be written, or holds other things.
        """
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UserError(f"{self.path} is there already and is not a run. Choose another --out.")
        try:
            self.checkpoints.mkdir(parents=True)
            write_atomically(self.recipe_file, dump_recipe(recipe).encode())
            write_atomically(self.facts_file, json.dumps(asdict(facts), indent=1).encode())
            self.events_file.touch()
        except OSError as error:
            raise UserError(f"Cannot write the run folder {self.path}: {error.strerror}. Choose another --out.") from error

    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return load_recipe(self.recipe_file)

    def facts(self) -> RunFacts:
        """What the run was started on."""
        try:
            tree: dict[str, Any] = json.loads(self.facts_file.read_text(encoding="utf-8"))
            tree["channels"] = tuple(tree["channels"])
            tree["scale"] = {
                plate: {name: (float(v[0]), float(v[1])) for name, v in channels.items()}
                for plate, channels in tree["scale"].items()
            }
            return RunFacts(**tree)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.facts_file} cannot be read ({error}). The run is damaged: train again.") from error

    def events(self) -> list[dict[str, Any]]:
        """All events so far; a line that is still being written is left out."""
        try:
            lines = self.events_file.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def control(self) -> str | None:
        """What was asked for from outside: ``"stop"``, ``"pause"`` or None."""
        try:
            word = self.control_file.read_text(encoding="utf-8").strip()
        except OSError:
            return None
        return word if word in ("stop", "pause") else None


class EventLog:
    """Appends to ``events.jsonl``; a resumed run first cuts it back to its checkpoint's step."""

    def __init__(self, run: RunFolder, step: int) -> None:
        kept = [
            event for event in run.events() if event.get("step", 0) <= step and event.get("event") != "finished"
        ]
        write_atomically(run.events_file, "".join(json.dumps(event) + "\n" for event in kept).encode())
        self._file = run.events_file.open("a", encoding="utf-8")

    def write(self, event: str, step: int, **values: Any) -> None:
        """Add one line, at once visible to readers."""
        self._file.write(json.dumps({"event": event, "step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new one, never half."""
    aside = path.with_name(path.name + ".partial")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
