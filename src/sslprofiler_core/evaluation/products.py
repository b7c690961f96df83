"""Inner products of all wells, computed once: distances of every fold, distance and alignment follow from them.

An alignment is linear in the profiles, so aligned wells' inner products are sums over those of the wells as they are.
Modes, folds and transfers then cost a pass over a table of W x W numbers each, not a search through W x D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 1024  # rows of a tile
KEPT_BYTES = 6 * 2**30  # a larger table of products is not kept, but computed where it is needed

Floats = NDArray[np.float64]


class Products:
    """Inner products of profiles, their mean subtracted first.

    The mean is what would drown small distances in float32's rounding; `Rows` puts it back where cosine needs it.

    Parameters
    ----------
    values_WD
        Profiles, used as float32 and not changed.
    keep
        Whether the (W, W) table is held in memory; None where it takes at most 6 GiB.

    Raises
    ------
    UserError
        For values that are not finite.
    """

    def __init__(self, values_WD: NDArray[np.floating[Any]], keep: bool | None = None) -> None:
        import torch

        self.values = np.ascontiguousarray(values_WD, np.float32)
        total = self.values.sum(axis=0, dtype=np.float64)
        if not np.isfinite(total).all():  # a sum is not finite where a value is not
            raise UserError("Profiles hold empty or infinite values. Drop those features or fill them.")
        self.mean = (total / len(self.values)).astype(np.float32)
        self.squares, self.offsets = self._row_sums()
        self._table: Tensor | None = None
        if keep if keep is not None else 4 * len(self.values) ** 2 <= KEPT_BYTES:
            count = len(self.values)
            table = torch.empty((count, count), dtype=torch.float32)
            for start in range(0, count, BLOCK):
                own = self._centred(slice(start, start + BLOCK))
                for other in range(start, count, BLOCK):  # the other half is its mirror image
                    theirs = own if other == start else self._centred(slice(other, other + BLOCK))
                    tile = own @ theirs.T
                    table[start : start + BLOCK, other : other + BLOCK] = tile
                    table[other : other + BLOCK, start : start + BLOCK] = tile.T
            self._table = table

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, rows_Q: NDArray[np.int64]) -> Tensor:
        """Products of some rows with all: float32 (Q, W)."""
        import torch

        if self._table is not None:
            return self._table[torch.from_numpy(rows_Q)]
        own = self._centred(rows_Q)
        found = torch.empty((len(rows_Q), len(self.values)), dtype=torch.float32)
        for start in range(0, len(self.values), BLOCK):
            found[:, start : start + BLOCK] = own @ self._centred(slice(start, start + BLOCK)).T
        return found

    def among(self, rows_Q: NDArray[np.int64]) -> Floats:
        """Products among some rows, from float64 sums: (Q, Q)."""
        own = self.values[rows_Q].astype(np.float64) - self.mean
        found: Floats = own @ own.T
        return found

    def _centred(self, rows: Any) -> Tensor:
        import torch

        return torch.from_numpy(self.values[rows] - self.mean)

    def _row_sums(self) -> tuple[Floats, Floats]:
        """|c|^2 of each centred row, and o with x_i . x_j = c_i . c_j + o_i + o_j."""
        squares, offsets = np.empty(len(self.values)), np.empty(len(self.values))
        mean = self.mean.astype(np.float64)
        step = max(1, 2**24 // self.values.shape[1])
        for start in range(0, len(self.values), step):
            own = self.values[start : start + step].astype(np.float64) - mean
            squares[start : start + step] = np.einsum("wd,wd->w", own, own)
            offsets[start : start + step] = own @ mean + 0.5 * (mean @ mean)
        return squares, offsets


@dataclass(frozen=True, slots=True)
class Rows:
    """Profiles as they are, or some of them moved toward the centres of their positions (paper 3.3.3, see ``align``).

    ``squares`` and ``offsets`` are those of `Products`, of the moved rows; ``position`` says to which of P centres a
    row moved (-1: it stayed), ``share`` what it has in it, and ``weights`` (W, P) is the same as a matrix.
    """

    products: Products
    squares: Floats
    offsets: Floats
    alpha: float = 1.0
    weights: Tensor | None = None
    position: NDArray[np.int64] | None = None
    share: Floats | None = None
    from_centres: Tensor | None = None  # (P, W) products of centres and rows, where all rows move

    def block(self, queries_Q: NDArray[np.int64], others_N: NDArray[np.int64]) -> Tensor:
        """Centred products of queries and others, both moved: float32 (Q, N)."""
        import torch

        table = self.products.rows(queries_Q)
        at = torch.from_numpy(others_N)
        if self.weights is None or self.position is None:
            return table[:, at]
        moved = self.position[queries_Q] >= 0
        if moved.any():
            if self.from_centres is None:
                raise ValueError("queries move, but not all rows do")
            table = self.alpha * table + (1.0 - self.alpha) * self.from_centres[self.position[queries_Q]]
        where = torch.from_numpy(self.position[others_N])
        mine = table[:, at]
        centred = (table @ self.weights)[:, where.clamp(min=0)]
        mixed = mine.mul(self.alpha).add_(centred, alpha=1.0 - self.alpha)
        return torch.where(where >= 0, mixed, mine) if bool((where < 0).any()) else mixed

    def exact(self, rows_Q: NDArray[np.int64]) -> Floats:
        """The profiles themselves, moved, not centred: float64 (Q, D)."""
        values = self.products.values
        own = values[rows_Q].astype(np.float64)
        if self.position is not None and self.share is not None:
            places = self.position[rows_Q]
            for place in np.unique(places[places >= 0]):
                members = np.flatnonzero(self.position == place)
                centre = self.share[members] @ values[members].astype(np.float64)
                here = places == place
                own[here] = self.alpha * own[here] + (1.0 - self.alpha) * centre
        return own


def still(products: Products) -> Rows:
    """All profiles as they are."""
    return Rows(products, products.squares, products.offsets)


class Positions:
    """Well positions of profiles, and the products among the profiles of each."""

    def __init__(self, products: Products, plates_W: NDArray[Any], wells_W: NDArray[Any]) -> None:
        self.products = products
        _, self.place = np.unique(wells_W, return_inverse=True)
        _, self.plate = np.unique(plates_W, return_inverse=True)
        order = np.argsort(self.place, kind="stable")
        self.members = np.split(order, np.flatnonzero(np.diff(self.place[order])) + 1)
        self._among: list[Floats] = []

    @property
    def among(self) -> list[Floats]:
        """Products among each position's profiles."""
        if not self._among:
            self._among = [self.products.among(rows) for rows in self.members]
        return self._among

    def moved(self, alpha: float, moving_W: NDArray[np.bool_] | None = None) -> Rows:
        """Profiles after ``sslprofiler_core.profiling.align`` with the same plates, wells and arguments."""
        import torch

        products, count = self.products, len(self.products)
        if not 0.0 <= alpha <= 1.0:
            raise UserError(f"alpha = {alpha} is out of range. Give the part of a profile to keep, from 0 to 1.")
        if alpha == 1.0:
            return still(products)
        position = np.array(self.place, np.int64)
        if moving_W is not None:
            position[~moving_W] = -1
        weights, share = np.zeros((count, len(self.members)), np.float32), np.zeros(count)
        squares, offsets = products.squares.copy(), products.offsets.copy()
        for place, (everyone, among) in enumerate(zip(self.members, self.among, strict=True)):
            here = np.flatnonzero(position[everyone] >= 0)
            rows = everyone[here]
            if not here.size:
                continue
            # A plate counts once in its centre, however often the well stands in the table.
            weight = _normal(1.0 / np.bincount(self.plate[rows])[self.plate[rows]])
            weights[rows, place] = share[rows] = weight
            to_centre = among[np.ix_(here, here)] @ weight
            squares[rows] = (
                alpha**2 * products.squares[rows]
                + 2.0 * alpha * (1.0 - alpha) * to_centre
                + (1.0 - alpha) ** 2 * float(weight @ to_centre)
            )
            offsets[rows] = alpha * offsets[rows] + (1.0 - alpha) * float(weight @ products.offsets[rows])
        made = torch.from_numpy(weights)
        from_centres = None
        if moving_W is None:
            # Products are symmetric: rows by centres, turned.
            parts = [products.rows(np.arange(s, min(s + BLOCK, count))) @ made for s in range(0, count, BLOCK)]
            from_centres = torch.cat(parts).T.contiguous()
        return Rows(products, squares, offsets, alpha, made, position, share, from_centres)


def _normal(weights: NDArray[np.floating[Any]]) -> Floats:
    exact = weights.astype(np.float64)
    summed: Floats = exact / exact.sum()
    return summed
