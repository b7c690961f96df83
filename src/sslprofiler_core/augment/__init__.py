"""Pixels already on the device become views: geometry is one resampling, intensity one pass.

Names are imported when they are first used, so that importing the room does not pay for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .draw import Drawn, draw_views
    from .elastic import elastic_displacement
    from .intensity import channel_jitter
    from .masks import draw_masks
    from .noise import microscope_noise
    from .views import render_views, whole_sites

__all__ = [
    "Drawn",
    "channel_jitter",
    "draw_masks",
    "draw_views",
    "elastic_displacement",
    "microscope_noise",
    "render_views",
    "whole_sites",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "draw": ["Drawn", "draw_views"],
        "elastic": ["elastic_displacement"],
        "intensity": ["channel_jitter"],
        "masks": ["draw_masks"],
        "noise": ["microscope_noise"],
        "views": ["render_views", "whole_sites"],
    },
)
