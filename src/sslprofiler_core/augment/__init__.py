"""Pixels already on the device become views: geometry is one resampling, intensity one pass.

``pair_views`` is the one entry: it maps (seed, step, sample, recipe, sites) to ``v1``, ``v2`` and the masks, and
returns what was drawn beside the pixels; training, previews and the docs call it. ``draw_pairs`` is its part without
pixels. ``whole_sites`` renders for embedding, with nothing random.

Names are imported when they are first used, so that importing the room does not pay for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sslprofiler_core._lazy import attach

if TYPE_CHECKING:
    from .draw import Drawn, draw_views
    from .elastic import elastic_displacement
    from .flat import flatten_sites
    from .intensity import channel_jitter
    from .masks import draw_masks
    from .noise import microscope_noise
    from .pairs import DrawnPairs, PairViews, draw_pairs, mask_key, pair_views, view_keys
    from .transfer import send, send_site, take_channels
    from .views import render_views, whole_sites

__all__ = [
    "Drawn",
    "DrawnPairs",
    "PairViews",
    "channel_jitter",
    "draw_masks",
    "draw_pairs",
    "draw_views",
    "elastic_displacement",
    "flatten_sites",
    "mask_key",
    "microscope_noise",
    "pair_views",
    "render_views",
    "send",
    "send_site",
    "take_channels",
    "view_keys",
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
        "pairs": ["DrawnPairs", "PairViews", "draw_pairs", "mask_key", "pair_views", "view_keys"],
        "flat": ["flatten_sites"],
        "transfer": ["send", "send_site", "take_channels"],
        "views": ["render_views", "whole_sites"],
    },
)
