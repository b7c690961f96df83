"""``model.safetensors``: the teacher's backbone, with all that is needed to embed a plate."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sslprofiler_core import __version__
from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe, dump_recipe
from sslprofiler_core.recipes.files import parse_recipe

from .backbone import Backbone

if TYPE_CHECKING:
    from sslprofiler_core.plates import FlatFields

MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class LoadedModel:
    """A backbone ready to embed, and what it was trained on.

    Attributes
    ----------
    backbone
        In evaluation mode, on the CPU.
    recipe
        Of the run.
    group
        Channel group as the user named it; the prefix of the feature columns.
    channels
        Names of the channels in the order that the backbone expects.
    pixel_size_um
        Of the training plates, micrometres, or None when it was not known.
    scale
        Plate -> channel -> (low, high): raw intensities that became 0 and 1.
    step
        Training steps behind the weights; 0 is the untrained network.
    flat_field
        Plate -> channel -> its illumination (see ``plates.flat_field``); empty where it is not corrected.
    """

    backbone: Backbone
    recipe: Recipe
    group: str
    channels: tuple[str, ...]
    pixel_size_um: float | None
    scale: dict[str, dict[str, tuple[float, float]]]
    step: int
    flat_field: FlatFields = field(default_factory=dict)


def save_model(path: Path, model: LoadedModel) -> None:
    """Write the file atomically: aside, flushed, renamed.

    Raises
    ------
    UserError
        When it cannot be written; the model before it is still there.
    """
    facts = {
        "group": model.group,
        "channels": model.channels,
        "pixel_size_um": model.pixel_size_um,
        "scale": model.scale,
        "flat_field": model.flat_field,
        "step": model.step,
        "version": __version__,
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.backbone.state_dict().items()}
    aside = path.with_suffix(".partial")
    try:
        # safetensors' own writing of files makes them the owner's alone; colleagues read a run on a shared disk.
        content = save(weights, {"sslprofiler": json.dumps(facts), "recipe": dump_recipe(model.recipe)})
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise UserError(
            f"Cannot write the model {path} ({error.strerror or error}). Make room, or choose another folder."
        ) from error


def load_model(run: Path | str) -> LoadedModel:
    """Load the model of a run folder, or a ``.safetensors`` file.

    Raises
    ------
    UserError
        When there is none, when it is not one of ours, or when it has weights that are no numbers.
    """
    import tomllib

    path = Path(run)
    if path.is_dir():
        path = path / MODEL_FILE
    if not path.is_file():
        raise UserError(f"No trained model at {path}. Give a run folder made by `sslprofiler train`.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
        facts = json.loads(header["sslprofiler"])
        recipe = parse_recipe(tomllib.loads(header["recipe"]), str(path))
        channels = tuple(facts["channels"])
        backbone = Backbone(recipe.model, len(channels), recipe.augment.size)
        backbone.load_state_dict(weights)
        broken = next((name for name, weight in weights.items() if not weight.isfinite().all()), None)
        if broken is not None:
            raise UserError(
                f"{path} has weights that are not finite ({broken}): all embeddings would be empty. Train again."
            )
        scale = {
            plate: {name: (float(low), float(high)) for name, (low, high) in values.items()}
            for plate, values in facts["scale"].items()
        }
        return LoadedModel(
            backbone.eval().requires_grad_(False),
            recipe,
            str(facts["group"]),
            channels,
            facts["pixel_size_um"],
            scale,
            int(facts["step"]),
            {plate: dict(values) for plate, values in facts.get("flat_field", {}).items()},
        )
    except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
        raise UserError(
            f"{path} is not a model written by SSLProfiler ({type(error).__name__}). Train again, or give another run."
        ) from error


def pick_device(name: str | None = None) -> torch.device:
    """The device to compute on: the one that is named, else CUDA, else MPS, else the CPU."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"Device {name!r} cannot be used here ({reason}). Try --device cpu.") from error
    return device
