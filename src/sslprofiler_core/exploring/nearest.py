"""Exact nearest neighbours: a matrix product in panels, a block top-k, then true distances among the best few.

The product ranks in float32, where nearly equal distances drown in rounding. So a few more candidates than asked for
are taken, and their distances computed from differences: exact zeros for equal rows, and ties in the order of the
database. Where a processor has matrix instructions for bfloat16, `rounded_search` finds the same in half the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .rounded_search import RoundedSearch, pays

if TYPE_CHECKING:
    from torch import Tensor

Metric = Literal["cosine", "euclidean"]

# Each of: a panel of the database, a tile of queries, what ties are looked for in.
CHUNK_BYTES = 64 * 2**20
SCORE_BYTES = 24 * 2**20  # of a tile of queries against a panel
MARGIN = 6  # candidates beyond k
BLOCK = 64  # columns of which only the best is looked at first
# What is ranked at once stays in a processor's cache; a GPU wants more of it.
_RANKED_BYTES = {"cpu": 2 * 2**20}
_HELD = 1 << 16  # queries whose candidates are kept at once


def neighbours(queries_QD: Any, database_ND: Any, k: int, metric: Metric = "cosine") -> tuple[Any, Any]:
    """Find the k nearest rows of a database for each query.

    Parameters
    ----------
    queries_QD, database_ND
        (Q, D) and (N, D), numpy or torch (then on one device), of any float type; compared in float32.
    k
        1 to N.
    metric
        ``"cosine"``: ``1 - q . d / (|q| |d|)``, 1 for a row of zeros, as scikit-learn has it. ``"euclidean"``:
        ``|q - d|``.

    Returns
    -------
    indices, distances
        int64 and float32 (Q, k), nearest first, ties by the lower index; of the kind given. A query that is itself in
        the database is its own first neighbour.

    Raises
    ------
    UserError
        For k out of range, widths that differ, or values that are not finite.

    Notes
    -----
    Memory beside the inputs and what is returned, for any Q, N and D: at most 256 MiB and 12 (k + 6) bytes for each of
    65,536 queries (one row of either may be wider than that). Arrays in a memory-mapped file are read a part at a time.

    The block top-k is exact: the c best of a row lie within its c blocks of 64 with the best maxima.
    """
    import torch

    queries, database = _tensor(queries_QD), _tensor(database_ND)
    if queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise UserError(
            f"Queries {tuple(queries.shape)} and database {tuple(database.shape)} are not rows of one width. "
            "Give profiles of the same table."
        )
    count = len(database)
    if not 1 <= k <= count:
        raise UserError(f"k = {k} neighbours of {count} rows cannot be found. Choose k from 1 to {count}.")
    if metric not in ("cosine", "euclidean"):
        raise UserError(f"Unknown metric {metric!r}. Choose cosine or euclidean.")
    with torch.inference_mode():
        search = _Search(database, metric, k)
        norms_Q = search.norms_N if queries_QD is database_ND else _norms(queries)
        indices = torch.empty((len(queries), k), dtype=torch.int64, device=queries.device)
        distances = torch.empty((len(queries), k), dtype=torch.float32, device=queries.device)
        parts: Iterable[slice | Tensor] = [slice(at, at + _HELD) for at in range(0, len(queries), _HELD)]
        if pays(queries, database, search.norms_N, k):
            rounded = RoundedSearch(database, search.norms_N, k, metric)
            left = rounded.nearest(queries, norms_Q, distances, indices)
            parts = torch.split(torch.nonzero(torch.from_numpy(left))[:, 0], search.panel)
            del rounded
        for part in parts:
            distances[part], indices[part] = search.nearest(queries[part], norms_Q[part])
    if isinstance(queries_QD, torch.Tensor):
        return indices, distances
    found: tuple[NDArray[np.int64], NDArray[np.float32]] = indices.cpu().numpy(), distances.cpu().numpy()
    return found


class _Search:
    """A database, and what of it is needed again and again."""

    def __init__(self, database: Tensor, metric: Metric, k: int) -> None:
        self.database, self.metric, self.k = database, metric, k
        self.norms_N = _norms(database)
        self.candidates = min(len(database), k + MARGIN)
        self.panel = max(1, min(len(database), CHUNK_BYTES // (4 * max(1, database.shape[1]))))
        # q . d - |d|^2 / 2 is -|q - d|^2 / 2 but for |q|^2 / 2, which does not change the order.
        self.half_squares_N = None if metric == "cosine" else 0.5 * self.norms_N.square()
        self._memory: dict[str, Tensor] = {}

    def nearest(self, queries: Tensor, norms_Q: Tensor) -> tuple[Tensor, Tensor]:
        """Distances and indices (Q, k)."""
        import torch

        distances = torch.empty((len(queries), self.k), device=queries.device)
        indices = torch.empty((len(queries), self.k), dtype=torch.int64, device=queries.device)
        step = max(1, min(self.panel, SCORE_BYTES // (4 * self.panel)))
        tiles = [slice(start, min(start + step, len(queries))) for start in range(0, len(queries), step)]
        best: list[tuple[Tensor, Tensor] | None] = [None] * len(tiles)
        for start, panel_PD in self._panels():
            for number, tile in enumerate(tiles):
                scores_QP = self._scores(self._rows(queries, norms_Q, tile, "queries"), panel_PD, start)
                values, at = _block_top(scores_QP, min(self.candidates, len(panel_PD)))
                best[number] = _merged(best[number], values, at + start, self.candidates)
        for tile, held in zip(tiles, best, strict=True):
            assert held is not None
            distances[tile], indices[tile] = self._ranked(queries, norms_Q, tile, held[1])
            if self.candidates < len(self.database):
                self._settle_ties(queries, norms_Q, tile, held[0], distances, indices)
        return distances, indices

    def _panels(self) -> Iterator[tuple[int, Tensor]]:
        for start in range(0, len(self.database), self.panel):
            yield start, self._rows(self.database, self.norms_N, slice(start, start + self.panel), "panel")

    def _rows(self, whole: Tensor, norms: Tensor, rows: slice | Tensor, where: str = "") -> Tensor:
        """Rows in float32, of length 1 where directions are compared; their memory is used again if it has a name."""
        import torch

        part = whole[rows]
        if self.metric == "euclidean":
            return part.float()
        norm = norms[rows, None]
        out = self._kept(where, len(part), part.shape[1]) if where else None
        return torch.div(part.float(), norm.masked_fill(norm == 0.0, 1.0), out=out)

    def _kept(self, name: str, rows: int, columns: int) -> Tensor:
        """Memory that is used again and again: fresh pages cost as much as what is written to them."""
        import torch

        if name not in self._memory or self._memory[name].numel() < rows * columns:
            self._memory[name] = torch.empty(rows * columns, device=self.database.device)
        return self._memory[name][: rows * columns].view(rows, columns)

    def _scores(self, queries_QD: Tensor, panel_PD: Tensor, start: int) -> Tensor:
        """Scores (Q, P) of which the largest are wanted, up to whole blocks in columns of minus infinity."""
        import torch

        count = len(panel_PD)
        scores = self._kept("scores", len(queries_QD), -(-count // BLOCK) * BLOCK)
        scores[:, count:] = -torch.inf
        own = scores[:, :count]
        torch.mm(queries_QD, panel_PD.T, out=own)
        if self.half_squares_N is not None:
            own.sub_(self.half_squares_N[start : start + count])
        return scores

    def _ranked(self, queries: Tensor, norms_Q: Tensor, tile: slice, near: Tensor) -> tuple[Tensor, Tensor]:
        """True distances to the candidates (Q, c), the first k by (distance, index)."""
        import torch

        near = near.sort(dim=1).values
        distances = torch.empty(near.shape, device=near.device)
        held = _RANKED_BYTES.get(near.device.type, CHUNK_BYTES)
        step = max(1, held // (4 * near.shape[1] * max(1, queries.shape[1])))
        for start in range(tile.start, tile.stop, step):
            rows = slice(start, min(start + step, tile.stop))
            own = slice(rows.start - tile.start, rows.stop - tile.start)
            distances[own] = self._distances(queries, norms_Q, rows, near[own])
        ranked, order = distances.sort(dim=1, stable=True)
        return ranked[:, : self.k], near.gather(1, order)[:, : self.k]

    def _distances(self, queries: Tensor, norms_Q: Tensor, rows: slice, near: Tensor) -> Tensor:
        import torch

        own = self._rows(queries, norms_Q, rows)[:, None]
        gathered = self._kept("gathered", near.numel(), queries.shape[1])
        if self.database.dtype == torch.float32:
            torch.index_select(self.database, 0, near.flatten(), out=gathered)
        else:
            gathered.copy_(self.database[near.flatten()])
        gathered = gathered.view(*near.shape, -1)
        if self.metric == "euclidean":
            lengths: Tensor = torch.linalg.vector_norm(gathered.sub_(own), dim=-1)
            return lengths
        norms = self.norms_N[near]
        divisors = norms.masked_fill(norms == 0.0, 1.0)[..., None]
        differences = torch.addcdiv(own.neg(), gathered, divisors, out=gathered)
        # For unit vectors 1 - q . d = |q - d|^2 / 2, which is exact for near ones; a row of zeros is at 1 from all.
        distances: Tensor = torch.linalg.vector_norm(differences, dim=-1).square_().mul_(0.5)
        return distances.masked_fill_((norms_Q[rows] == 0.0)[:, None] | (norms == 0.0), 1.0)

    def _settle_ties(
        self, queries: Tensor, norms_Q: Tensor, tile: slice, scores: Tensor, distances: Tensor, indices: Tensor
    ) -> None:
        """Where more rows tie at the edge, as far as float32 can tell, than the margin holds, rank all that do."""
        import torch

        one = torch.ones((), device=scores.device)
        length = norms_Q[tile] if self.metric == "euclidean" else one
        longest = self.norms_N.max() if self.metric == "euclidean" else one
        slack = 1e-6 * (length + 1.0) * (longest + 1.0) * max(1.0, queries.shape[1] ** 0.5 / 16)
        edge = scores[:, self.k - 1] - slack
        tied = torch.nonzero(scores[:, -1] >= edge).flatten()
        step = max(1, CHUNK_BYTES // (16 * len(self.database)))
        for start in range(0, len(tied), step):
            some = tied[start : start + step]
            at = tile.start + some
            chosen = self._rows(queries, norms_Q, at)
            pairs = [
                torch.nonzero(self._scores(chosen, panel, first) >= edge[some, None])
                + torch.tensor([0, first], device=at.device)
                for first, panel in self._panels()
            ]
            row_M, near_M = torch.cat(pairs).unbind(1)
            for number, row in enumerate(at.tolist()):
                wide = near_M[row_M == number][None]
                distances[row], indices[row] = (x[0] for x in self._ranked_wide(queries, norms_Q, row, wide))

    def _ranked_wide(self, queries: Tensor, norms_Q: Tensor, row: int, near: Tensor) -> tuple[Tensor, Tensor]:
        """`_ranked` of one query with many candidates, a part of them at a time."""
        import torch

        here = slice(row, row + 1)
        parts = torch.split(near, self.panel, dim=1)
        distances = torch.cat([self._distances(queries, norms_Q, here, part) for part in parts], 1)
        ranked, order = distances.sort(dim=1, stable=True)
        return ranked[:, : self.k], near.gather(1, order)[:, : self.k]


def _block_top(scores_QP: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of each row: (values, columns), from the blocks with the best maxima."""
    import torch

    blocks = scores_QP.view(len(scores_QP), -1, BLOCK)
    if blocks.shape[1] <= 2 * count:
        values, at = scores_QP.topk(count)
        return values, at
    best = blocks.amax(2).topk(count, sorted=False).indices
    inside = blocks.gather(1, best[:, :, None].expand(-1, -1, BLOCK)).flatten(1)
    values, at = inside.topk(count)
    chosen = best.gather(1, torch.div(at, BLOCK, rounding_mode="floor"))
    return values, chosen * BLOCK + at % BLOCK


def _merged(held: tuple[Tensor, Tensor] | None, values: Tensor, at: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best so far with those of one more panel."""
    import torch

    if held is None:
        return values, at
    values, at = torch.cat([held[0], values], 1), torch.cat([held[1], at], 1)
    best, order = values.topk(min(count, values.shape[1]))
    return best, at.gather(1, order)


def _norms(rows: Tensor) -> Tensor:
    """Length of each row, and the check that all are finite; a part at a time where that takes a copy."""
    import torch

    norms = torch.empty(len(rows), device=rows.device)
    step = max(1, CHUNK_BYTES // (4 * max(1, rows.shape[1])))
    for start in range(0, len(rows), step):
        norms[start : start + step] = torch.linalg.vector_norm(rows[start : start + step].float(), dim=1)
    if not bool(torch.isfinite(norms.square()).all()):
        raise UserError(
            "Profiles hold empty or infinite values, or some too large to square. Drop those features or fill them."
        )
    return norms


def _tensor(values: Any) -> Tensor:
    """A tensor of the same memory where that can be had."""
    import torch

    if isinstance(values, torch.Tensor):
        return values
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    if array.size and not array.flags.writeable:
        # torch has no read-only tensors and warns; nothing here writes.
        array = np.ascontiguousarray(array)
        kind = np.ctypeslib.as_ctypes_type(array.dtype) * array.size
        kept = kind.from_address(array.ctypes.data)
        kept._array = array  # keeps the memory
        array = np.ctypeslib.as_array(kept).reshape(array.shape)
    return torch.from_numpy(array)
