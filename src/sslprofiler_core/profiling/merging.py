"""From the embeddings of a well's sites to one vector (paper 3.3.1 and 3.3.2)."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
# A numpy array or a torch tensor; functions give back the kind that they were given.
Either = TypeVar("Either")
Sites = Literal["concat", "mean"]

SLOTS = 9


class SiteCountWarning(UserWarning):
    """A well has neither 9 nor 16 sites: what is missing was filled with the well's mean."""


def merge_granularities(cls_SD: Either, patch_SD: Either) -> Either:
    """Put the image-level and the patch-level embedding of each site side by side.

    Parameters
    ----------
    cls_SD, patch_SD
        (S, D): CLS tokens, and means of the patch tokens; numpy or torch.

    Returns
    -------
    (S, 2D). Paper 3.3.1: ``z_p = concat(z_p^CLS, z_p^Patch)``.
    """
    cls, patch = np.asarray(cls_SD), np.asarray(patch_SD)
    if cls.shape[:-1] != patch.shape[:-1]:
        raise ValueError(f"CLS {cls.shape} and patch embeddings {patch.shape} are not of the same sites")
    return _like(np.concatenate([cls, patch], axis=-1), cls_SD)


def merge_sites(embeddings_SD: Either, positions_S2: Any = None, how: Sites = "concat") -> Either:
    """Merge the sites of one well.

    Parameters
    ----------
    embeddings_SD
        (S, D), in the order of their field numbers; numpy or torch.
    positions_S2
        Stage positions (x, y) in any unit, None where unknown. Sites then take their places in the grid by position
        (rows along y, both ascending), and in the order given where the positions form no grid.
    how
        ``"concat"``: nine places one after the other. ``"mean"``: the mean over the sites that are there.

    Returns
    -------
    (9 D,) for ``"concat"``, (D,) for ``"mean"``.

    Notes
    -----
    Paper 3.3.2, with 16 sites as a 4 x 4 grid that becomes 3 x 3 by bilinear interpolation. The paper does not say
    which one: ours samples at 1/6, 3/2 and 17/6 of the grid's rows and columns (``align_corners=False``), so each
    sample stands for a third of the well. Nine sites keep their values. Our choices for other counts, with a
    `SiteCountWarning`: the well stands on the smallest n x n grid that holds its sites, n at least 3; empty places get
    the well's mean, which leaves the mean over sites as it was; 5 x 5 and larger grids are interpolated like 4 x 4.
    """
    embeddings = np.asarray(embeddings_SD)
    if embeddings.ndim != 2 or not len(embeddings):
        raise ValueError(f"merge_sites wants (S, D) with at least one site, not {embeddings.shape}")
    count = len(embeddings)
    if how == "mean":
        return _like(_mean(embeddings), embeddings_SD)
    if how != "concat":
        raise ValueError(f"how is 'concat' or 'mean', not {how!r}")
    side = grid_side(count)
    if count not in (9, 16):
        filled = side * side - count
        note = f"{filled} places get the well's mean" if filled else "its grid is interpolated to 3 x 3"
        warnings.warn(f"A well has {count} sites, not 9 or 16: {note}.", SiteCountWarning, stacklevel=2)
    places = None if positions_S2 is None else grid_places(np.asarray(positions_S2), side)
    return _like(merge_places(embeddings, places, side), embeddings_SD)


def grid_side(count: int) -> int:
    """Side of the smallest square grid for so many sites, at least 3."""
    return max(3, math.isqrt(count - 1) + 1)


def grid_places(positions_S2: Array, side: int) -> NDArray[np.int64] | None:
    """Places of sites in a ``side`` x ``side`` grid, row-major by stage position.

    Parameters
    ----------
    positions_S2
        (S, 2): x and y in any unit.

    Returns
    -------
    (S,) of ``row * side + column``, rows along ascending y and columns along ascending x; None when the positions
    form no such grid (two sites in one place, too many rows or columns, a position that is not known).
    """
    positions = np.asarray(positions_S2, np.float64)
    if positions.shape != (len(positions), 2) or not np.isfinite(positions).all():
        return None
    columns, rows = (_lines(positions[:, axis]) for axis in (0, 1))
    if max(columns.max(), rows.max()) >= side:
        return None
    places = rows * side + columns
    return places if len(np.unique(places)) == len(places) else None


def merge_places(embeddings_SD: Array, places_S: NDArray[np.int64] | None, side: int) -> Array:
    """Concatenate the nine places of a well whose sites stand at ``places_S`` of a ``side`` x ``side`` grid.

    Parameters
    ----------
    embeddings_SD
        (S, D).
    places_S
        (S,) within ``side * side``, each once; None: in the order given.

    Returns
    -------
    (9 D,), of the embeddings' dtype; empty places hold the mean over the sites.
    """
    count, width = embeddings_SD.shape
    if places_S is None:
        places_S = np.arange(count)
    grid = np.empty((side * side, width), embeddings_SD.dtype)
    if count < side * side:
        grid[:] = _mean(embeddings_SD)
    grid[places_S] = embeddings_SD
    if side == 3:
        return grid.reshape(-1)
    weights = _thirds(side)
    merged: Array = np.einsum(
        "ri,cj,ijd->rcd", weights, weights, grid.reshape(side, side, width).astype(np.float64), optimize=True
    )
    flat: Array = merged.reshape(-1).astype(embeddings_SD.dtype)
    return flat


@lru_cache
def _thirds(side: int) -> NDArray[np.float64]:
    """Bilinear weights (3, side) of the samples at ``(i + 1/2) side / 3 - 1/2`` along one axis."""
    at = (np.arange(3) + 0.5) * side / 3.0 - 0.5
    weights: NDArray[np.float64] = np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(side)))
    return weights


def _lines(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number the distinct coordinates along one axis; stage jitter up to a quarter of the pitch is one line."""
    order = np.sort(values)
    gaps = np.diff(order)
    pitch = gaps.max(initial=0.0)
    return np.searchsorted(order[1:][gaps > pitch / 4.0], values, side="right").astype(np.int64)


def _mean(embeddings: Array) -> Array:
    mean: Array = embeddings.mean(axis=0, dtype=np.float64).astype(embeddings.dtype)
    return mean


def _like(result: Array, given: Either) -> Either:
    if isinstance(given, np.ndarray) or not hasattr(given, "new_tensor"):
        return result  # type: ignore[return-value]  # numpy in, numpy out; lists too
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(result))
    return tensor.to(given.device)  # type: ignore[attr-defined,return-value]  # torch in, torch out
