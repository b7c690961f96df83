"""Exact nearest neighbours on processors that multiply bfloat16 matrices several times as fast as float32 ones.

Rows are rounded to bfloat16, and how far that may have moved each product is known: by at most
``|q - q'| |d| + |q'| |d - d'|`` (Cauchy and Schwarz), where q' and d' are the rounded rows, whose losses are measured.
So of each query only those rows get a true distance that may be among its nearest; what is found is what float32
finds. All rows are moved so that a mean lies at the origin, which changes no distance and makes what is lost smaller.
Queries of which too many rows may be near (tight clouds of many rows) are left to float32 products.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

PANEL_BYTES = 128 * 2**20
TILE_BYTES = 24 * 2**20  # of queries, and of their products with a panel
PROBED = 128  # queries by which the rest is judged
# Below these the plain way is as fast.
_LEAST_WIDTH, _LEAST_WORK = 192, 1 << 33
_MOST_WIDTH, _MOST_NEIGHBOURS = 1 << 16, 128
# A true distance takes as long as some thirty products.
_LOOKED_PART = 1 / 32


@lru_cache
def multiplies_bfloat16() -> bool:
    """Whether this processor has matrix instructions for bfloat16 (AMX), as far as torch can tell."""
    import torch

    capabilities = getattr(torch.cpu, "get_capabilities", None)  # torch 2.5 has none
    return bool(capabilities is not None and capabilities().get("amx_bf16", False))


def pays(queries: Tensor, database: Tensor, norms_N: Tensor, k: int) -> bool:
    """Whether `RoundedSearch` can be used for these, and is likely to be faster."""
    import torch

    count, width = database.shape
    if not (queries.device.type == database.device.type == "cpu" and multiplies_bfloat16()):
        return False
    if not all(rows.dtype == torch.float32 and rows.is_contiguous() for rows in (queries, database)):
        return False
    if not (_LEAST_WIDTH <= width <= _MOST_WIDTH and k <= _MOST_NEIGHBOURS):
        return False
    # With as few blocks as neighbours the likely ones would be all of a panel.
    if min(count, PANEL_BYTES // (2 * width)) < 64 * k:
        return False
    # Far from where squares of products leave float32.
    return len(queries) * count * width >= _LEAST_WORK and 1e-9 < float(norms_N.max()) < 1e9


# Does work on slices of rows, in so many parts at once.
_Shared = Callable[[Callable[[slice], None], range, int], None]


class _Rounded(NamedTuple):
    rows: NDArray[np.uint16]
    squares: NDArray[np.float32]
    lost: NDArray[np.float32]


class RoundedSearch:
    """A database, rounded a panel at a time (once, if all of it is one panel of 128 MiB)."""

    def __init__(self, database: Tensor, norms_N: Tensor, k: int, metric: Literal["cosine", "euclidean"]) -> None:
        self.database, self.k, self.cosine = database.detach().numpy(), k, metric == "cosine"
        count, self.width = self.database.shape
        self.divisors_N, self.empty_N = self._divisors(norms_N)
        chosen = np.unique(np.linspace(0, count - 1, min(count, 256)).astype(np.int64))
        sample = self.database[chosen] / self.divisors_N[chosen, None]
        self.centre_D = np.asarray(sample.mean(axis=0), np.float32)
        panels = -(-count // max(1, PANEL_BYTES // (2 * self.width)))
        self.panel = -(-count // panels)
        # Of float32's 2^-24 in every addition of a row: products are added in pairs, squares in eight parts or more.
        self.slacks = 1e-6 + self.width * 2.0**-25, 1e-6 + self.width * 2.0**-27
        self.most = max(64, 4 * k, int(_LOOKED_PART * count))
        self._memory: dict[str, Any] = {}
        self._held: tuple[int, _Rounded] | None = None

    def nearest(self, queries: Tensor, norms_Q: Tensor, distances: Tensor, indices: Tensor) -> NDArray[np.bool_]:
        """Fill in distances and indices (Q, k) of some queries; return which are left, (Q,)."""
        import torch

        queries_QD = queries.detach().numpy()
        divisors_Q, empty_Q = self._divisors(norms_Q)
        left_Q = np.ones(len(queries_QD), np.bool_)
        threads = torch.get_num_threads()
        with ThreadPoolExecutor(threads) as pool:

            def shared(work: Callable[[slice], None], rows: range, parts: int) -> None:
                step = max(1, -(-len(rows) // parts))
                for _ in pool.map(work, [slice(at, min(at + step, rows.stop)) for at in rows[::step]]):
                    pass

            step = max(1, min(TILE_BYTES // (2 * self.panel), TILE_BYTES // (2 * self.width)))
            for start in range(0, len(queries_QD), step):
                tile = slice(start, start + step)
                own = queries_QD[tile], divisors_Q[tile], empty_Q[tile]
                near, at, looked = self._tile(*own, 0 if start else PROBED, shared, threads)
                distances[tile], indices[tile] = torch.from_numpy(near), torch.from_numpy(at)
                left_Q[tile] = looked > self.most
                if left_Q[tile].all():
                    break
        return left_Q

    def _tile(
        self,
        queries_QD: NDArray[np.float32],
        divisors_Q: NDArray[np.float32],
        empty_Q: NDArray[np.bool_],
        probed: int,
        shared: _Shared,
        threads: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        """Distances, indices, and how many true distances each wanted; given up if the first ``probed`` want many."""
        import torch

        from .rounded_kernel import FAR, rank_rows

        distances = np.full((len(queries_QD), self.k), FAR, np.float32)
        indices = np.full((len(queries_QD), self.k), np.iinfo(np.int64).max, np.int64)
        looked = np.zeros(len(queries_QD), np.int64)
        query = self._rounded(queries_QD, divisors_Q, "queries", shared, threads)
        for first in range(0, len(self.database), self.panel):
            here = slice(first, min(first + self.panel, len(self.database)))
            if self._held is None or self._held[0] != first:
                rows = self._rounded(self.database[here], self.divisors_N[here], "panel", shared, threads)
                self._held = first, rows
            panel = self._held[1]
            shape = len(queries_QD), len(panel.rows)
            products = torch.from_numpy(self._kept("products", *shape)).view(torch.bfloat16)
            left, right = (torch.from_numpy(x).view(torch.bfloat16) for x in (query.rows, panel.rows))
            torch.mm(left, right.T, out=products)
            bits = products.view(torch.uint16).numpy()

            def rank(own: slice, bits: NDArray[np.uint16] = bits, panel: _Rounded = panel, here: slice = here) -> None:
                rank_rows(
                    bits[own], queries_QD[own], divisors_Q[own], query.squares[own], query.lost[own],
                    self.database[here], self.divisors_N[here], panel.squares, panel.lost, self.empty_N[here],
                    empty_Q[own], self.cosine, *self.slacks, here.start, self.most,
                    distances[own], indices[own], looked[own],
                )  # fmt: skip

            shared(rank, range(len(queries_QD))[:probed], 4 * threads)
            if probed and (looked[:probed] > self.most).mean() > 0.1:
                looked[:] = self.most + 1
                break
            shared(rank, range(len(queries_QD))[probed:], 4 * threads)
        return distances, indices, looked

    def _rounded(
        self,
        rows: NDArray[np.float32],
        divisors: NDArray[np.float32],
        name: str,
        shared: _Shared,
        threads: int,
    ) -> _Rounded:
        from .rounded_kernel import round_rows

        out = _Rounded(self._kept(name, *rows.shape), *np.empty((2, len(rows)), np.float32))

        def work(own: slice) -> None:
            round_rows(rows[own], divisors[own], self.centre_D, out.rows[own], out.squares[own], out.lost[own])

        shared(work, range(len(rows)), threads)
        return out

    def _divisors(self, norms: Tensor) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """What rows are divided by (their lengths, where directions are compared), and which rows are zero."""
        lengths = norms.numpy()
        empty = lengths == 0.0
        if not self.cosine:
            return np.ones_like(lengths), empty
        return np.where(empty, np.float32(1.0), lengths), empty

    def _kept(self, name: str, rows: int, columns: int) -> NDArray[np.uint16]:
        """Memory that is used again and again."""
        if name not in self._memory or self._memory[name].size < rows * columns:
            self._memory[name] = np.empty(rows * columns, np.uint16)
        held: NDArray[np.uint16] = self._memory[name][: rows * columns].reshape(rows, columns)
        return held
