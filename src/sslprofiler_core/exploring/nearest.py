"""Exact nearest neighbours: a matrix product in chunks, then true distances among the best few.

The product ranks in float32, where nearly equal distances drown in rounding. So a few more candidates than asked for
are taken, and their distances computed from differences: exact zeros for equal rows, and ties in the order of the
database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Metric = Literal["cosine", "euclidean"]

CHUNK_BYTES = 128 * 2**20  # each of the score matrix and the gathered candidates
MARGIN = 6  # candidates beyond k


def neighbours(queries_QD: Any, database_ND: Any, k: int, metric: Metric = "cosine") -> tuple[Any, Any]:
    """Find the k nearest rows of a database for each query.

    Parameters
    ----------
    queries_QD, database_ND
        (Q, D) and (N, D), numpy or torch (then on one device); computed in float32.
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
    Memory beside the inputs: their float32 copies and at most 256 MiB of chunks.
    """
    import torch

    queries = torch.as_tensor(queries_QD).to(torch.float32)
    database = torch.as_tensor(database_ND).to(torch.float32)
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
    finite = bool(torch.isfinite(queries).all()) and bool(torch.isfinite(database).all())
    if not finite:
        raise UserError("Profiles hold empty or infinite values. Drop those features or fill them.")
    with torch.inference_mode():
        if metric == "cosine":
            queries, database = _unit(queries), _unit(database)
        half_squares = 0.5 * (database * database).sum(1)
        empty = half_squares == 0.0
        if metric == "cosine":
            half_squares = torch.full_like(
                half_squares, 0.5
            )  # 1 - q . d for rows of zeros too, which are at 1 from all
        candidates = min(count, k + MARGIN)
        indices = torch.empty((len(queries), k), dtype=torch.int64, device=queries.device)
        distances = torch.empty((len(queries), k), dtype=torch.float32, device=queries.device)
        step = max(1, CHUNK_BYTES // (4 * max(count, candidates * database.shape[1])))
        for start in range(0, len(queries), step):
            chunk = queries[start : start + step]
            # |q - d|^2 / 2 without |q|^2 / 2, which does not change the order.
            scores = torch.addmm(half_squares, chunk, database.T, alpha=-1.0)
            best, near = scores.topk(candidates, largest=False)
            own, at = _rank(chunk, database, empty, near, metric, k)
            if candidates < count:
                # More rows tie at the edge, as far as float32 can tell, than the margin holds: rank all that do.
                largest = (chunk.norm(dim=1) + 1.0) * (half_squares.max().mul(2).sqrt() + 1.0)
                slack = 1e-6 * largest * max(1.0, database.shape[1] ** 0.5 / 16)
                for row in torch.nonzero(best[:, -1] - best[:, k - 1] <= slack).flatten().tolist():
                    wide = torch.nonzero(scores[row] <= best[row, k - 1] + slack[row]).flatten()
                    own[row], at[row] = (
                        x[0] for x in _rank(chunk[row : row + 1], database, empty, wide[None], metric, k)
                    )
            distances[start : start + step], indices[start : start + step] = own, at
    if isinstance(queries_QD, torch.Tensor):
        return indices, distances
    found: tuple[NDArray[np.int64], NDArray[np.float32]] = indices.cpu().numpy(), distances.cpu().numpy()
    return found


def _unit(rows: Tensor) -> Tensor:
    norm = rows.norm(dim=1, keepdim=True)
    unit: Tensor = rows / norm.masked_fill(norm == 0.0, 1.0)
    return unit


def _rank(
    queries: Tensor, database: Tensor, empty_N: Tensor, near: Tensor, metric: Metric, k: int
) -> tuple[Tensor, Tensor]:
    """True distances to the candidates, the first k by (distance, index)."""
    near = near.sort(dim=1).values
    gathered = database[near]
    squares = (gathered - queries[:, None]).square_().sum(-1)
    if metric == "euclidean":
        distances = squares.sqrt_()
    else:
        # For unit vectors 1 - q . d = |q - d|^2 / 2, which is exact for near ones; a row of zeros is at 1 from all.
        empty = (queries.square().sum(-1) == 0.0)[:, None] | empty_N[near]
        distances = (0.5 * squares).masked_fill_(empty, 1.0)
    ranked, order = distances.sort(dim=1, stable=True)
    return ranked[:, :k], near.gather(1, order)[:, :k]
