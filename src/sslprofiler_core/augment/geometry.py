"""Where each pixel of a view lies in its site: crop, flip, rotation and elastic deformation as one sampling grid.

Coordinates are continuous site pixels: pixel k covers [k, k + 1), its centre is k + 0.5. A view samples a window of
its site, the bounding box of what it needs; when it shrinks the site by more than 1.5, the window is first averaged
over 2^k x 2^k pixels, since bilinear points alone would alias. Outside the site, the site is reflected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from . import elastic
from .draw import Drawn
from .transfer import send

_SHRINK = 1.5  # sampling step, in pixels of the level, above which the next level is taken
_REACH = 7.0  # elastic deviations that a window is widened by: a field exceeds them once in 10^9 views


class Window(NamedTuple):
    """What a view needs of its site, in site pixels."""

    top: int
    left: int
    bottom: int
    right: int
    rows: int  # of the window, filled up to whole level pixels
    columns: int
    level: int  # k of the 2^k average
    exact: bool  # the view is the window itself: no sampling


@dataclass(frozen=True)
class Placement:
    """A batch's views placed in their sites, on the host."""

    window_B4: NDArray[np.int64]  # top, left, bottom, right in site pixels
    level_B: NDArray[np.int64]  # k of the 2^k average
    exact_B: NDArray[np.bool_]  # the view is the window itself: no sampling
    padded_B2: NDArray[np.int64]  # the window's rows and columns filled up to whole level pixels
    affine_B23: NDArray[np.float64]  # (column, row, 1) from the view's centre, in view sides -> grid_sample's (x, y)

    def window(self, number: int) -> Window:
        """Return one view's window as plain numbers."""
        top, left, bottom, right = self.window_B4[number].tolist()
        rows, columns = self.padded_B2[number].tolist()
        level, exact = int(self.level_B[number]), bool(self.exact_B[number])
        return Window(top, left, bottom, right, rows, columns, level, exact)


def place_views(drawn: Drawn, shapes_B2: NDArray[np.float64], size: int, elastic_deviation: float) -> Placement:
    """Place views of ``size`` x ``size`` pixels in sites of the given heights and widths."""
    shapes_B2 = np.asarray(shapes_B2, np.float64)
    side_B2 = drawn.box_B4[:, 2:]
    centre_B2 = drawn.box_B4[:, :2] + side_B2 / 2.0
    cos_B, sin_B = np.cos(drawn.angle_B), np.sin(drawn.angle_B)
    sign_B2 = np.where(drawn.flip_B2, -1.0, 1.0)
    across_B, down_B = sign_B2[:, 1] * side_B2[:, 1], sign_B2[:, 0] * side_B2[:, 0]
    # Rows of the map are y then x here, as everywhere on the host; columns are the view's row, column.
    turn_B22 = np.stack(
        [np.stack([cos_B * down_B, sin_B * across_B], -1), np.stack([-sin_B * down_B, cos_B * across_B], -1)], 1
    )
    level_B = np.ceil(np.log2(np.sqrt(side_B2.prod(1)) / size / _SHRINK)).clip(min=0).astype(np.int64)
    cell_B1 = (1 << level_B)[:, None]
    exact_B = (
        (drawn.angle_B == 0.0)
        & ~drawn.flip_B2.any(1)
        & ~drawn.elastic_B
        & (side_B2 == size).all(1)
        & (drawn.box_B4 == np.rint(drawn.box_B4)).all(1)
        & (drawn.box_B4[:, :2] >= 0.0).all(1)
        & (drawn.box_B4[:, :2] + side_B2 <= shapes_B2).all(1)
    )

    spread_B2 = np.abs(turn_B22).sum(2) / 2.0 + _REACH * elastic_deviation * drawn.elastic_B[:, None]
    low_B2, high_B2 = _window(centre_B2 - spread_B2 - cell_B1, centre_B2 + spread_B2 + cell_B1, shapes_B2, cell_B1)
    box_B4 = np.rint(drawn.box_B4).astype(np.int64)
    low_B2 = np.where(exact_B[:, None], box_B4[:, :2], low_B2)
    high_B2 = np.where(exact_B[:, None], box_B4[:, :2] + box_B4[:, 2:], high_B2)

    padded_B2 = -(-(high_B2 - low_B2) // cell_B1) * cell_B1
    unit_B2 = 2.0 / padded_B2  # of grid_sample's [-1, 1] a site pixel
    affine_B23 = np.concatenate(
        [turn_B22 * unit_B2[..., None], ((centre_B2 - low_B2) * unit_B2 - 1.0)[..., None]], axis=2
    )
    return Placement(
        window_B4=np.concatenate([low_B2, high_B2], axis=1),
        level_B=level_B,
        exact_B=exact_B,
        padded_B2=padded_B2,
        affine_B23=affine_B23[:, ::-1][:, :, [1, 0, 2]],
    )


def _window(
    low_B2: NDArray[np.float64],
    high_B2: NDArray[np.float64],
    shapes_B2: NDArray[np.float64],
    cell_B1: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Round a range outward to whole level pixels within the site.

    The range is symmetric about a point within the site, so what it reaches beyond an edge is the reflection of what
    it holds already.
    """
    extent_B2 = shapes_B2.astype(np.int64)
    below_B2, above_B2 = low_B2 < 0.0, high_B2 > shapes_B2
    first_B2 = np.floor(low_B2.clip(min=0.0)).astype(np.int64)
    last_B2 = np.minimum(np.ceil(high_B2).astype(np.int64), extent_B2)
    # From an edge that reflects, level pixels are counted inward; what then lacks to whole ones is padded.
    last_B2 = np.where(above_B2, last_B2, np.minimum(last_B2 + (first_B2 - last_B2) % cell_B1, extent_B2))
    first_B2 = np.where(below_B2, first_B2, np.maximum(first_B2 - (first_B2 - last_B2) % cell_B1, 0))
    return first_B2, last_B2


def grid_planes(
    placement: Placement,
    drawn: Drawn,
    shapes_B2: NDArray[np.float64],
    size: int,
    alpha: float,
    sigma: float,
    rows: slice,
    device: torch.device,
) -> Tensor:
    """Build the sampling grids of some of a batch's views: ``(b, 2, size, size)`` float32, x then y in [-1, 1]."""
    affine_b23 = send(placement.affine_B23[rows], device)
    line_S = (torch.arange(size, dtype=torch.float32, device=device) + 0.5) / size - 0.5
    across_b21S = affine_b23[:, :, :1, None] * line_S + affine_b23[:, :, 2:, None]
    down_b2S1 = affine_b23[:, :, 1:2, None].mT * line_S[:, None]
    planes_b2SS = across_b21S + down_b2S1

    deformed = np.flatnonzero(drawn.elastic_B[rows])
    if len(deformed):
        every = np.arange(len(drawn))[rows][deformed]
        field_b2SS = _fields(drawn, placement, shapes_B2, size, alpha, sigma, every, device)
        if len(deformed) == len(planes_b2SS):
            planes_b2SS += field_b2SS
        else:
            planes_b2SS.index_add_(0, send(deformed, device), field_b2SS)
    return planes_b2SS


def _fields(
    drawn: Drawn,
    placement: Placement,
    shapes_B2: NDArray[np.float64],
    size: int,
    alpha: float,
    sigma: float,
    which: NDArray[np.int64],
    device: torch.device,
) -> Tensor:
    """Sample displacements at the views' pixels, in grid_sample's units: ``(b, 2, size, size)``, x then y.

    Alpha and sigma are site pixels, so the field is as coarse in a small crop as in a large one.
    """
    series = [elastic.spectrum(float(extent), sigma) for extent in shapes_B2[which].max(axis=1)]
    terms = np.array([len(omega) for omega, _ in series])
    most = int(terms.max())
    omega_bM, amplitude_bM = np.zeros((2, len(which), most), np.float32)
    z_b2RR = np.zeros((len(which), 2, 2 * most - 1, 2 * most - 1), np.float32)
    for count in np.unique(terms):
        same = np.flatnonzero(terms == count)
        omega_bM[same, :count] = [series[i][0] for i in same]
        amplitude_bM[same, :count] = [series[i][1] for i in same]
        columns = np.r_[0:count, most : most + count - 1]  # constant and cosines, then sines
        z_b2RR[np.ix_(same, np.arange(2), columns, columns)] = elastic.waves(
            drawn.elastic_keys_B[which[same]], int(count)
        )
    z_b2RR *= (2.0 * elastic.deviation(alpha, sigma) / placement.padded_B2[which][:, ::-1, None, None]).astype(
        np.float32
    )

    z, omega, amplitude, side_b2 = (send(x, device) for x in (z_b2RR, omega_bM, amplitude_bM, drawn.box_B4[which, 2:]))
    line_S = (torch.arange(size, dtype=torch.float32, device=device) + 0.5) / size
    down_bSR = elastic.factor(side_b2[:, :1] * line_S, omega, amplitude)
    across_bSR = elastic.factor(side_b2[:, 1:] * line_S, omega, amplitude)
    # An NVIDIA GPU may round float32 factors to ten bits, 1e-2 px, and adds up in an order that depends on the batch.
    # The products are few, so doubles cost nothing there.
    kind = torch.float64 if device.type == "cuda" else torch.float32
    field_b2SS = down_bSR[:, None].to(kind) @ z.to(kind) @ across_bSR.mT[:, None].to(kind)
    return field_b2SS.to(torch.float32)


def fold_back(planes_2SS: Tensor, window: Window) -> None:
    """Reflect a view's grid at the window's edges, in place, where padding has moved an end away from the site's."""
    extents = (window.right - window.left, window.columns), (window.bottom - window.top, window.rows)
    for number, (extent, padded) in enumerate(extents):
        if padded != extent:
            pixel_SS = planes_2SS[number].add_(1.0).mul_(padded / 2.0).remainder_(2.0 * extent)
            pixel_SS.sub_(extent).abs_().neg_().add_(extent).mul_(2.0 / padded).sub_(1.0)


def fold_together(planes_n2SS: Tensor, windows: Sequence[Window], rows: int, columns: int) -> Tensor:
    """Turn grids of each window into grids of a buffer of ``rows`` x ``columns`` that holds the windows, each at 0, 0.

    What ``grid_sample`` does at its input's edges is done here at the windows': reflect, then stay within the centres
    of the outermost level pixels.
    """
    cell = 1 << windows[0].level
    padded_n2 = np.array([(window.columns, window.rows) for window in windows], np.float32)
    extent_n2 = np.array([(w.right - w.left, w.bottom - w.top) for w in windows], np.float32)
    padded_n211, extent_n211 = send(np.stack([padded_n2, extent_n2]), planes_n2SS.device)[..., None, None]
    pixel_n2SS = planes_n2SS.add_(1.0).mul_(padded_n211 / 2.0).remainder_(2.0 * extent_n211)
    pixel_n2SS.sub_(extent_n211).abs_().neg_().add_(extent_n211)
    pixel_n2SS = torch.minimum(pixel_n2SS.clamp_(min=cell / 2.0), padded_n211 - cell / 2.0)
    buffer_211 = send(np.array([columns, rows], np.float32), planes_n2SS.device)[:, None, None]
    return pixel_n2SS.mul_(2.0 / buffer_211).sub_(1.0)


def average(images_CHW: Tensor, level: int) -> Tensor:
    """Average over 2^level x 2^level pixels; the last ones are repeated where that does not divide the size."""
    cell = 1 << level
    bottom, right = -images_CHW.shape[-2] % cell, -images_CHW.shape[-1] % cell
    if bottom or right:
        images_CHW = functional.pad(images_CHW, (0, right, 0, bottom), mode="replicate")
    for _ in range(level):
        rows = images_CHW[:, 0::2] + images_CHW[:, 1::2]
        images_CHW = rows[..., 0::2] + rows[..., 1::2]
    return images_CHW.mul_(0.25**level) if level else images_CHW
