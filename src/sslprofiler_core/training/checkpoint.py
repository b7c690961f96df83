"""Checkpoints: written aside, flushed, renamed; the last two kept; read without running code."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sslprofiler_core.errors import UserError

from .objective import Centres

_KEEP = 2


def save_checkpoint(
    folder: Path,
    step: int,
    student: nn.Module,
    teacher: nn.Module,
    optimizer: torch.optim.Optimizer,
    centres: Centres,
) -> Path:
    """Write ``step-N.pt``: the state after N steps.

    Raises
    ------
    UserError
        When it cannot be written (a full disk); the checkpoints before it are still there.
    """
    path = folder / f"step-{step:08d}.pt"
    aside = path.with_suffix(".partial")
    state = {
        "step": step,
        "student": student.state_dict(),
        "teacher": teacher.state_dict(),
        "optimizer": optimizer.state_dict(),
        "centres": {"cls": centres.cls_K, "patch": centres.patch_K},
    }
    try:
        with aside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a short write as RuntimeError
        aside.unlink(missing_ok=True)
        raise UserError(
            f"Cannot write checkpoint {path}: {error}. Make room, then go on with --resume from the last one."
        ) from error
    for old in checkpoints(folder)[:-_KEEP]:
        old.unlink(missing_ok=True)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """All whole checkpoints, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def load_last_checkpoint(folder: Path, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """Read the newest checkpoint that can be read.

    Returns
    -------
    Its content (None when there is no checkpoint), and a warning for each newer one that was damaged.

    Raises
    ------
    UserError
        When there are checkpoints and none can be read.
    """
    warnings: list[str] = []
    found = checkpoints(folder)
    for path in reversed(found):
        if not _whole(path):
            warnings.append(f"{path} is damaged")
            continue
        try:
            state = torch.load(path, map_location=device, weights_only=True)
            if {"step", "student", "teacher", "optimizer", "centres"} <= set(state):
                return state, warnings
            warnings.append(f"{path} is not a checkpoint of a run")
        except (OSError, RuntimeError, EOFError, ValueError, TypeError, pickle.UnpicklingError) as error:
            warnings.append(f"{path} cannot be read ({type(error).__name__})")
    if found:
        raise UserError(f"No checkpoint in {folder} can be read: {'; '.join(warnings)}. Train again in another folder.")
    return None, warnings


def _whole(path: Path) -> bool:
    """Whether a file is an archive whose checksums are right, which torch does not look at.

    torch's older format, a bare pickle, is never ours.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, zlib.error):
        return False


def restore(
    state: dict[str, Any],
    student: nn.Module,
    teacher: nn.Module,
    optimizer: torch.optim.Optimizer,
    centres: Centres,
) -> int:
    """Put a checkpoint's state into the networks; returns the number of steps done."""
    try:
        student.load_state_dict(state["student"])
        teacher.load_state_dict(state["teacher"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            "The checkpoint does not fit the run's recipe; was recipe.toml edited? Train again in another folder."
        ) from error
    cls_centre, patch_centre = state["centres"]["cls"], state["centres"]["patch"]
    assert isinstance(cls_centre, Tensor) and isinstance(patch_centre, Tensor)
    centres.cls_K.copy_(cls_centre)
    centres.patch_K.copy_(patch_centre)
    return int(state["step"])
