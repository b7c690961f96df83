"""What each view will be, drawn on the host from keys alone.

Every augmentation folds its own purpose into the sample's key, so that switching one off, or adding one, leaves the
others as they were; and a sample draws the same in any batch, on any rank and in a preview.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sslprofiler_core.keys import Keys, fold, uniforms
from sslprofiler_core.recipes import AugmentRecipe

View = Literal["v1", "v2", "local"]

_TRIES = 10  # of a crop before it falls back to the site's centre, as in torchvision


@dataclass(frozen=True)
class Drawn:
    """What was drawn for a batch of views, one entry a sample: what a preview shows.

    Attributes
    ----------
    box_B4
        Crop before rotation: top, left, height and width in site pixels, float64. Pixel k covers [k, k + 1).
    angle_B
        Rotation about the crop's centre in radians, from the x axis (columns) toward the y axis (rows), float64.
    flip_B2
        Whether the view is flipped vertically (rows reversed) and horizontally (columns reversed), bool.
    elastic_B, elastic_keys_B
        Whether the view is deformed, bool, and the key of its displacement, int64.
    brightness_BC, contrast_BC
        Jitter factors beta and gamma (paper 3.2.2), float64; 1 where there is no jitter.
    noise_B, noise_keys_B
        Whether the view gets microscope noise, bool, and the key of that noise, int64.
    contrast_first_B
        Whether contrast comes before brightness, bool (DINOv2's views; the paper's formula has one order).
    blur_B
        Standard deviation of the Gaussian blur in pixels of the view, float64; 0 where there is none (DINOv2's views).
    solarise_B
        Whether the view is solarised, bool (DINOv2's views).
    """

    box_B4: NDArray[np.float64]
    angle_B: NDArray[np.float64]
    flip_B2: NDArray[np.bool_]
    elastic_B: NDArray[np.bool_]
    elastic_keys_B: Keys
    brightness_BC: NDArray[np.float64]
    contrast_BC: NDArray[np.float64]
    noise_B: NDArray[np.bool_]
    noise_keys_B: Keys
    contrast_first_B: NDArray[np.bool_]
    blur_B: NDArray[np.float64]
    solarise_B: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.angle_B)


def draw_views(keys_B: Keys, shapes_B2: ArrayLike, channels: int, recipe: AugmentRecipe, view: View = "v1") -> Drawn:
    """Draw the parameters of one view a sample.

    Parameters
    ----------
    keys_B
        One key a sample, int64: a function of (seed, step, sample, view).
    shapes_B2
        Height and width of each sample's site in pixels.
    channels
        Number of channels.
    recipe
        Probabilities and strengths.
    view
        Which view: local crops are smaller, and DINOv2 blurs and solarises its views differently.

    Returns
    -------
    Drawn
        Crop: the area is uniform in ``recipe.crop`` times the site's (a local crop's in ``recipe.local_crop``), the
        aspect ratio log-uniform in ``recipe.aspect`` (DINOv2's random resized crop). Rotation by any angle and the
        flips: paper 3.2.2, their probabilities ours. Brightness beta ~ U(max(0, 1 - alpha_b), 1 + alpha_b), contrast
        likewise, independent per channel (paper 3.2.2). DINOv2's views are flipped horizontally alone, neither turned
        nor deformed, without noise; their factors are one a view, as a photograph's channels share them.
    """
    keys_B = np.asarray(keys_B, np.int64).reshape(-1)
    shapes_B2 = np.asarray(shapes_B2, np.float64).reshape(-1, 2)
    paper = recipe.kind == "paper"
    rotation, elastic, noise = (recipe.rotation, recipe.elastic, recipe.noise) if paper else (0.0, 0.0, 0.0)
    turn_B2 = uniforms(fold(keys_B, "rotation"), 2)
    return Drawn(
        box_B4=_crops(
            fold(keys_B, "crop"), shapes_B2, recipe.local_crop if view == "local" else recipe.crop, recipe.aspect
        ),
        angle_B=np.where(turn_B2[:, 0] < rotation, 2.0 * np.pi * turn_B2[:, 1], 0.0),
        flip_B2=uniforms(fold(keys_B, "flip"), 2) < np.array([recipe.flip if paper else 0.0, recipe.flip]),
        elastic_B=_happens(keys_B, "elastic", elastic if recipe.elastic_alpha > 0.0 else 0.0),
        elastic_keys_B=fold(keys_B, "elastic field"),
        brightness_BC=_jitter(keys_B, "brightness", channels, recipe.brightness, recipe),
        contrast_BC=_jitter(keys_B, "contrast", channels, recipe.contrast, recipe),
        noise_B=_happens(keys_B, "noise", noise),
        noise_keys_B=fold(keys_B, "noise pixels"),
        **_dinov2(keys_B, recipe, view),
    )


def join(parts: Sequence[Drawn]) -> Drawn:
    """Put batches of drawn views one after another."""
    return Drawn(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Drawn)})


def whole(shapes_B2: ArrayLike, channels: int) -> Drawn:
    """Describe whole sites with nothing random, in the terms of a view.

    A site that is not square keeps its aspect: the box is a square as wide as the site's longer side, about the
    site's centre, and what lies outside the site is reflected (our choice: stretching would change the cells' shape,
    and a square inside the site would lose cells).
    """
    shapes_B2 = np.asarray(shapes_B2, np.float64).reshape(-1, 2)
    count = len(shapes_B2)
    side_B1 = shapes_B2.max(axis=1, keepdims=True)
    none_B = np.zeros(count, np.bool_)
    return Drawn(
        box_B4=np.concatenate([(shapes_B2 - side_B1) / 2.0, side_B1, side_B1], axis=1),
        angle_B=np.zeros(count),
        flip_B2=np.zeros((count, 2), np.bool_),
        elastic_B=none_B,
        elastic_keys_B=np.zeros(count, np.int64),
        brightness_BC=np.ones((count, channels)),
        contrast_BC=np.ones((count, channels)),
        noise_B=none_B,
        noise_keys_B=np.zeros(count, np.int64),
        contrast_first_B=none_B,
        blur_B=np.zeros(count),
        solarise_B=none_B,
    )


def _happens(keys_B: Keys, purpose: str, probability: float) -> NDArray[np.bool_]:
    return np.less(uniforms(fold(keys_B, purpose), 1)[:, 0], probability)


class _OfDinov2(TypedDict):
    contrast_first_B: NDArray[np.bool_]
    blur_B: NDArray[np.float64]
    solarise_B: NDArray[np.bool_]


def _dinov2(keys_B: Keys, recipe: AugmentRecipe, view: View) -> _OfDinov2:
    """Draw what DINOv2's views alone have; the paper's have none of it."""
    if recipe.kind == "paper":
        none_B = np.zeros(len(keys_B), np.bool_)
        return {"contrast_first_B": none_B, "blur_B": np.zeros(len(keys_B)), "solarise_B": none_B}
    blur = {"v1": recipe.blur[0], "v2": recipe.blur[1], "local": recipe.blur_local}[view]
    solarise = {"v1": recipe.solarise[0], "v2": recipe.solarise[1], "local": 0.0}[view]
    low, high = recipe.blur_sigma
    sigma_B = low + (high - low) * uniforms(fold(keys_B, "blur sigma"), 1)[:, 0]
    return {
        "contrast_first_B": _happens(keys_B, "jitter order", 0.5),
        "blur_B": np.where(_happens(keys_B, "blur", blur), sigma_B, 0.0),
        "solarise_B": _happens(keys_B, "solarise", solarise),
    }


def _jitter(keys_B: Keys, purpose: str, channels: int, strength: float, recipe: AugmentRecipe) -> NDArray[np.float64]:
    jitter_B1 = _happens(keys_B, "jitter", recipe.jitter)[:, None]
    factors_BF = _factors(fold(keys_B, purpose), channels if recipe.kind == "paper" else 1, strength)
    return np.where(jitter_B1, np.broadcast_to(factors_BF, (len(keys_B), channels)), 1.0)


def _factors(keys_B: Keys, channels: int, strength: float) -> NDArray[np.float64]:
    low, high = max(0.0, 1.0 - strength), 1.0 + strength
    return low + (high - low) * uniforms(keys_B, channels)


def _crops(
    keys_B: Keys, shapes_B2: NDArray[np.float64], area: tuple[float, float], aspect: tuple[float, float]
) -> NDArray[np.float64]:
    draws_BT4 = uniforms(keys_B, 4 * _TRIES).reshape(-1, _TRIES, 4)
    height_B1, width_B1 = shapes_B2[:, :1], shapes_B2[:, 1:]
    area_BT = height_B1 * width_B1 * (area[0] + (area[1] - area[0]) * draws_BT4[..., 0])
    aspect_BT = aspect[0] * (aspect[1] / aspect[0]) ** draws_BT4[..., 1]
    h_BT, w_BT = np.sqrt(area_BT / aspect_BT), np.sqrt(area_BT * aspect_BT)
    # A site at exactly crop = aspect = 1 must not be refused for a rounding error.
    fits_BT = (h_BT <= height_B1 * (1.0 + 1e-9)) & (w_BT <= width_B1 * (1.0 + 1e-9))
    first_B1 = np.argmax(fits_BT, axis=1)[:, None]
    found_B1 = np.asarray(fits_BT.any(axis=1))[:, None]

    # No try fitted: the largest centred box of an allowed aspect ratio.
    allowed_B1 = np.clip(width_B1 / height_B1, aspect[0], aspect[1])
    h_B1 = np.where(found_B1, np.take_along_axis(h_BT, first_B1, 1), np.minimum(height_B1, width_B1 / allowed_B1))
    w_B1 = np.where(found_B1, np.take_along_axis(w_BT, first_B1, 1), np.minimum(width_B1, height_B1 * allowed_B1))
    h_B1, w_B1 = np.minimum(h_B1, height_B1), np.minimum(w_B1, width_B1)
    place_B12 = np.where(found_B1[..., None], np.take_along_axis(draws_BT4[..., 2:], first_B1[..., None], 1), 0.5)
    top_B1 = (height_B1 - h_B1) * place_B12[:, 0, :1]
    left_B1 = (width_B1 - w_B1) * place_B12[:, 0, 1:]
    return np.concatenate([top_B1, left_B1, h_B1, w_B1], axis=1)
