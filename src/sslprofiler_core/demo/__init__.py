"""The main job on simulated plates, from pixels to a report, in a few minutes on two cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .run import run_demo

__all__ = ["run_demo"]

__getattr__, __dir__ = attach(__name__, {"run": ["run_demo"]})
