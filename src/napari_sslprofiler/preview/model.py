"""What a preview asks and answers: frozen values that travel between the window and the process that renders.

No Qt, no torch. A `Wish` is what the controls say; `settle` turns it into a `Request` that names two sites; the
renderer answers with a `Preview`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import Plate, Site, select_channels

from .pairing import Meeting, Pairings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from sslprofiler_core.augment.draw import Drawn
    from sslprofiler_core.recipes import Recipe

SIZES = (128, 256, 384)  # sides offered beside training's own, in pixels
Limits = tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Wish:
    """What the controls say.

    Parameters
    ----------
    plates
        All open plates, which training would pair.
    plate, site
        The site on show.
    recipe
        With the seed in ``train.seed``.
    group
        Channel group, as in training.
    step, sample
        Which draw.
    size
        Side of the views in pixels; 0: the recipe's, which gives training's own pixels.
    scale
        Channel name -> raw intensities that become 0 and 1; channels that lack are measured on the site itself.
    tile
        Which piece of the site, where the recipe cuts sites into pieces (``plates.tile``).
    partner
        Number of the site that ``v2`` is taken from; None: as training pairs.
    fields
        Channel name -> the plate's illumination as text; empty where it is not corrected, or not known yet.
    """

    plates: tuple[Plate, ...]
    plate: Plate
    site: Site
    recipe: Recipe
    group: str
    step: int = 0
    sample: int = 0
    size: int = 256
    scale: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tile: int = 0
    partner: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """Two sites and how to make views of them: what the renderer needs.

    Parameters
    ----------
    first, second
        The sites of ``v1`` and ``v2``.
    channels, names
        Their channels: indices into the plate's, and names.
    limits
        Raw intensities that become 0 and 1, one pair a channel; None: percentiles of the first site.
    recipe, step, sample
        As in training.
    size
        Side of the views in pixels.
    fields
        The plate's illumination as text, one a channel; empty where it is not corrected.
    """

    first: Site
    second: Site
    channels: tuple[int, ...]
    names: tuple[str, ...]
    limits: Limits | None
    recipe: Recipe
    step: int
    sample: int
    size: int
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Preview:
    """A rendered request.

    Parameters
    ----------
    v1_CSS, v2_CSS
        The two views, float32, as training's networks see them.
    local_LCss
        Local crops of the first site, float32; none in the paper's recipes.
    mask
        Which patches of ``v1`` are masked, bool, rows x columns; all False where this sample is not masked.
    v1, v2
        What was drawn, a batch of one each.
    shapes
        Heights and widths of the two sites in pixels.
    seconds_reading, seconds_rendering
        How long it took.
    """

    request: Request
    v1_CSS: NDArray[np.float32]
    v2_CSS: NDArray[np.float32]
    local_LCss: NDArray[np.float32]
    mask: NDArray[np.bool_]
    v1: Drawn
    v2: Drawn
    shapes: tuple[tuple[int, int], tuple[int, int]]
    seconds_reading: float
    seconds_rendering: float


@dataclass(frozen=True)
class Settled:
    """A wish with its sites found, and what is worth saying about them.

    Parameters
    ----------
    request
        What to render.
    now, later
        The sample that the first site is in this very step of training, None when it is not in it; and the next
        (step, sample) at which training takes ``v1`` from it, None where the plates do not fill a batch.
    notes
        In sentences.
    """

    request: Request
    now: int | None
    later: Meeting | None
    notes: tuple[str, ...] = ()


def settle(wish: Wish, pairings: Pairings) -> Settled:
    """Find both sites and the channels of a wish.

    Raises
    ------
    UserError
        When the plate lacks the channels, the sites cannot be cut, or the chosen site is not of this well.
    """
    plates = pairings.plates(wish.plates, wish.recipe.plates.tile)
    plate = next((each for each in plates if each.name == wish.plate.name), None)
    if plate is None:
        raise UserError(f"Plate {wish.plate.name} is not open any more. Choose a site again.")
    first = pseudo_site(plate, wish.site, wish.tile)
    channels = select_channels(plate, wish.group)
    names = tuple(plate.channels[channel].name for channel in channels)
    paired = pairings.of(plates, wish.recipe, first, wish.step)
    notes = list(paired.notes)
    second = paired.partner
    if wish.partner is not None:
        chosen = next((site for site in plate.sites_of(first.well) if site.site == wish.partner), None)
        if chosen is None:
            raise UserError(f"Well {first.well} has no site {wish.partner}. Choose another, or “as training pairs”.")
        second = chosen
    if not wish.recipe.augment.local_aggregation:
        second = first
        notes.append("Local aggregation is off: v2 is another crop of the same site.")
    if plate.shape and min(plate.shape) < wish.recipe.augment.size:
        rows, columns = plate.shape
        notes.append(
            f"Sites are {columns} × {rows} px, smaller than training's views of {wish.recipe.augment.size} px: "
            "training enlarges them."
        )
    known = all(name in wish.scale for name in names)
    if not known:
        notes.append("The plate's intensities are being measured: until then, this site's own percentiles are used.")
    limits: Limits | None = tuple(_ascending(wish.scale[name]) for name in names) if known else None
    size = wish.size or wish.recipe.augment.size
    fields = tuple(wish.fields[name] for name in names) if all(name in wish.fields for name in names) else ()
    request = Request(first, second, channels, names, limits, wish.recipe, wish.step, wish.sample, size, fields)
    return Settled(request, paired.now, paired.later, tuple(notes))


def pseudo_site(plate: Plate, site: Site, number: int) -> Site:
    """A site, or where the plate is cut into pieces, one of the site's (row by row from the top left, from 0)."""
    pieces = [each for each in plate.sites_of(site.well) if each.sources == site.sources]
    if not pieces:
        raise UserError(f"Plate {plate.name} has no complete site {site.site} in well {site.well}. Choose another.")
    return next((each for each in pieces if each.tile == site.tile), pieces[min(number, len(pieces) - 1)])


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    """A channel without signal has equal limits; what is rendered wants them to ascend, as training's do."""
    low, high = limits
    return (float(low), float(high) if high > low else float(low) + 1.0)


def tile_origin(site: Site, shape: tuple[int, int]) -> tuple[int, int]:
    """Where a pseudo-site of some height and width begins in its site: row and column in pixels."""
    if site.tile is None:
        return (0, 0)
    return (site.tile[0] * shape[0], site.tile[1] * shape[1])


def crop_corners(drawn: Drawn, number: int = 0) -> NDArray[np.float64]:
    """Where a view's corners lie in its site: (4, 2), row and column, in continuous pixels (pixel k covers [k, k + 1)).

    In the view's own order: its top left, top right, bottom right, bottom left. Elastic deformation is left out.
    """
    top, left, height, width = drawn.box_B4[number]
    cos, sin = np.cos(drawn.angle_B[number]), np.sin(drawn.angle_B[number])
    flip = np.where(drawn.flip_B2[number], -1.0, 1.0)
    corners = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]]) * flip * (height, width)
    turn = np.array([[cos, sin], [-sin, cos]])
    found: NDArray[np.float64] = corners @ turn.T + (top + height / 2.0, left + width / 2.0)
    return found


def corner_mark(corners: NDArray[np.float64], part: float = 0.18) -> NDArray[np.float64]:
    """A line along the view's top left corner: (3, 2), as long as ``part`` of the sides."""
    first, right, _, below = corners
    return np.array([first + part * (below - first), first, first + part * (right - first)])


def idle_keys(kind: str, local_crops: int) -> frozenset[str]:
    """Keys of ``augment`` without effect on views of a kind with so many local crops: a form may hide them."""
    of_paper = {"rotation", "elastic", "elastic_alpha", "elastic_sigma", "noise", "noise_shot", "noise_dark"}
    of_dinov2 = {"blur", "blur_local", "blur_sigma", "solarise", "solarise_above"}
    of_local = {"local_size", "local_crop", "blur_local"}
    idle = of_dinov2 if kind == "paper" else of_paper | {"noise_read"}
    if not local_crops:
        idle = idle | of_local
    return frozenset(f"augment.{key}" for key in idle)


def choices_of_partner(plate: Plate, site: Site) -> list[int]:
    """Numbers of the other sites of a site's well."""
    return [each.site for each in plate.sites_of(site.well) if each.site != site.site]
