"""The run folder: what training writes, and the widget, the command line and a colleague read.

``recipe.toml`` resolved settings; ``run.json`` plates, channels, scale; ``events.jsonl`` one JSON object a line;
``checkpoints/``; ``model.safetensors``; ``presence.json`` while a training is at work; ``log.txt`` of one that was
started without a terminal; and one file written by others: ``control`` (``stop`` or ``pause``).
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sslprofiler_core import __version__
from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe, dump_recipe, load_recipe

from .board import Board
from .presence import PRESENCE_FILE

IntensityScale = dict[str, dict[str, tuple[float, float]]]
FlatFields = dict[str, dict[str, str]]


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
    flat_field
        Plate -> channel -> its illumination, as ``plates.flat_field`` measures it; empty where it is not corrected.
    steps
        Length of the run.
    metadata
        Path of the plate metadata, or None.
    sites
        Plate name -> number of its complete sites.
    version
        Of the software that started it.
    paths, channels_file
        The plates' paths and the file of their channels as they were given, absolute: what goes on with it is given.
    """

    group: str
    channels: tuple[str, ...]
    pixel_size_um: float | None
    plates: dict[str, str]
    scale: IntensityScale
    steps: int
    metadata: str | None = None
    sites: dict[str, int] = field(default_factory=dict)
    version: str = __version__
    paths: tuple[str, ...] = ()
    channels_file: str | None = None
    flat_field: FlatFields = field(default_factory=dict)


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
        self.presence_file = self.path / PRESENCE_FILE
        self.log_file = self.path / "log.txt"
        self.board = self.path / "tensorboard"

    def exists(self) -> bool:
        """Whether a run was started here."""
        return self.recipe_file.is_file() and self.facts_file.is_file()

    def claim(self) -> None:
        """Make the folder for a new run, before anything slow; what a start that was cut short left is taken over.

        Raises
        ------
        UserError
            When the folder cannot be written, or holds other things.
        """
        try:
            self.refuse_strangers()
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            write_atomically(self.events_file, b"")
        except OSError as error:
            raise UserError(
                f"Cannot write the run folder {self.path} ({error.strerror or error}). Choose another --out."
            ) from error

    def refuse_strangers(self) -> None:
        """See that a new run may be started here; writes nothing.

        Raises
        ------
        UserError
            When the folder cannot be read, or holds other things.
        """
        try:
            others = [path for path in self.path.iterdir() if path.name not in self._early_names()]
            if others or (self.checkpoints.exists() and any(self.checkpoints.iterdir())):
                raise UserError(f"{self.path} is there already and is not a run. Choose another --out.")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UserError(
                f"Cannot write the run folder {self.path} ({error.strerror or error}). Choose another --out."
            ) from error

    def _early_names(self) -> set[str]:
        written = (self.recipe_file.name, self.facts_file.name, self.events_file.name)
        return {
            self.checkpoints.name,
            self.recipe_file.name,
            self.events_file.name,
            self.control_file.name,
            self.presence_file.name,
            self.log_file.name,
            *(partial_name(name) for name in written),
        }

    def create(self, recipe: Recipe, facts: RunFacts) -> None:
        """Start a run in a claimed folder: write recipe and facts; from then on it is one that can be resumed."""
        write_atomically(self.recipe_file, dump_recipe(recipe).encode())
        write_atomically(self.facts_file, json.dumps(asdict(facts), indent=1).encode())

    def withdraw(self) -> None:
        """Take back a run that did no step: the folder is free for one with other settings."""
        for path in (self.facts_file, self.recipe_file):
            path.unlink(missing_ok=True)

    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return load_recipe(self.recipe_file)

    def facts(self) -> RunFacts:
        """What the run was started on."""
        try:
            tree: dict[str, Any] = json.loads(self.facts_file.read_text(encoding="utf-8"))
            tree["channels"], tree["paths"] = tuple(tree["channels"]), tuple(tree.get("paths", ()))
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
            lines = self.events_file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                found.append(event)
        return found

    def control(self) -> str | None:
        """What was asked for from outside: ``"stop"``, ``"pause"`` or None."""
        try:
            word = self.control_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return word if word in ("stop", "pause") else None

    def ask(self, word: str) -> None:
        """Ask the training at work here to ``stop`` or to ``pause``: it ends with a checkpoint after its step."""
        write_atomically(self.control_file, word.encode())

    def forget_control(self) -> None:
        """Take away what was asked for."""
        with suppress(NotADirectoryError):
            self.control_file.unlink(missing_ok=True)


class EventLog:
    """Appends to ``events.jsonl``; a resumed run first cuts it back to its checkpoint's step.

    ``board`` gets the same numbers, where the recipe wants TensorBoard's files.
    """

    def __init__(self, run: RunFolder, step: int, board: Board | None = None) -> None:
        self._board = board
        kept = [event for event in run.events() if event.get("step", 0) <= step and event.get("event") != "finished"]
        self._path = run.events_file
        self.checked = {event["step"] for event in kept if event.get("event") == "knn"}
        write_atomically(self._path, "".join(json.dumps(event) + "\n" for event in kept).encode())
        try:
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def write(self, event: str, step: int, **values: Any) -> None:
        """Add one line, at once visible to readers."""
        try:
            self._file.write(json.dumps({"event": event, "step": step, **values}) + "\n")
            self._file.flush()
            if self._board is not None:
                self._board.add(event, step, values)
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def sync(self) -> None:
        """See that all lines are on the disk: a checkpoint must not be ahead of them after a power cut."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def close(self) -> None:
        """Close the file; what a full disk could not take is dropped (the failed write has been reported)."""
        with suppress(OSError):
            self._file.close()
        if self._board is not None:
            self._board.close()


def partial_name(name: str) -> str:
    """What a file is called until it is whole."""
    return name + ".partial"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new one, never half.

    Raises
    ------
    UserError
        When it cannot be written.
    """
    aside = path.with_name(partial_name(path.name))
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UserError:
    # The system names no file when the disk fills up in the middle of one.
    return UserError(f"Cannot write {path} ({error.strerror or error}). Make room, or choose another --out.")
