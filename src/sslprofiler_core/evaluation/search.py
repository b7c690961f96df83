"""k-NN classification from products: a fast search in float32, and exact distances where rounding could decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.exploring.nearest import Metric

from .classify import vote, votes_apart
from .products import Rows

if TYPE_CHECKING:
    from torch import Tensor

Found: TypeAlias = dict[tuple[Metric, int], NDArray[np.int64]]

CHUNK_BYTES = 24 * 2**20  # of one table of distances: several are held at once
EXACT_VALUES = 2**23  # profile values that are compared at once
MARGIN = 4

# Of a squared distance, as a part of |c_q|^2 + |c_n|^2. Measured: at most 7e-7 over 512 to 27,648 values, moved or not;
# blocked float32 sums do not get worse with their length.
ROUNDING = 1e-6


def classify(
    rows: Rows,
    tested_Q: NDArray[np.int64],
    training_N: NDArray[np.int64],
    codes_W: NDArray[np.int64],
    ks: Sequence[int],
    metrics: Sequence[Metric],
    hidden_W: NDArray[np.int64] | None = None,
) -> Found:
    """Predict classes of tested rows from training rows, as `knn_predict` does with the profiles themselves.

    Parameters
    ----------
    rows
        Profiles and their products, aligned or not.
    tested_Q, training_N
        Rows of the table.
    codes_W
        Class of each row, whole numbers.
    ks
        Each at most N.
    metrics
        Distances.
    hidden_W
        Training rows with the value of a tested row are hidden from it: "not the same well" with the positions here.

    Returns
    -------
    (distance, k) -> (Q,) classes.
    """
    found: Found = {(metric, k): np.empty(len(tested_Q), np.int64) for metric in metrics for k in ks}
    step = max(16, CHUNK_BYTES // (4 * len(rows.products)))
    for start in range(0, len(tested_Q), step):
        at = slice(start, start + step)
        chunk = _Chunk(rows, tested_Q[at], training_N, codes_W, hidden_W)
        for metric in metrics:
            for k, classes in chunk.classes(ks, metric).items():
                found[metric, k][at] = classes
    return found


class _Chunk:
    """Some tested rows against all training rows."""

    def __init__(
        self,
        rows: Rows,
        tested: NDArray[np.int64],
        training: NDArray[np.int64],
        codes: NDArray[np.int64],
        hidden: NDArray[np.int64] | None,
    ) -> None:
        import torch

        self.rows, self.tested, self.training, self.codes = rows, tested, training, codes
        self.hidden = None if hidden is None else torch.from_numpy(hidden[tested][:, None] == hidden[training][None])
        self.squares_q = torch.from_numpy(rows.squares[tested].astype(np.float32))[:, None]
        self.squares_n = torch.from_numpy(rows.squares[training].astype(np.float32))
        self.apart = rows.block(tested, training).mul_(-2.0).add_(self.squares_n).add_(self.squares_q).clamp_(min=0.0)

    def classes(self, ks: Sequence[int], metric: Metric) -> dict[int, NDArray[np.int64]]:
        """k -> classes."""
        import torch

        most, count = max(ks), len(self.training)
        scores = self._scores(metric)
        candidates = min(count, most + MARGIN)
        best, near = torch.topk(scores, candidates, largest=False, sorted=True)
        slack = self._slack(near, metric).numpy()
        distances, at = best.numpy().astype(np.float64), self.training[near.numpy()]
        # Where rounding may change who is among the first k, or make a zero of a distance.
        unsure = distances[:, 0] <= slack[:, 0]
        for k in ks:
            if k < count:
                with np.errstate(invalid="ignore"):  # hidden rows are infinitely far
                    unsure |= distances[:, k] - distances[:, k - 1] <= slack[:, k] + slack[:, k - 1]
        lengths = np.sqrt(distances) if metric == "euclidean" else distances
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = 1.0 / lengths[:, :most]
            part = 0.5 if metric == "euclidean" else 1.0  # a root halves the relative error
            doubt = np.nan_to_num(weights * part * slack[:, :most] / distances[:, :most], posinf=0.0)
        weights[unsure] = 1.0
        labels = self.codes[at[:, :most]]
        for k in ks:
            unsure |= votes_apart(labels[:, :k], weights[:, :k]) <= doubt[:, :k].sum(axis=1)
        found = {k: vote(labels[:, :k], weights[:, :k]) for k in ks}
        for row in np.flatnonzero(unsure):
            reach = float(best[row, most - 1]) + 2.0 * float(slack[row, most - 1])
            wide = torch.nonzero((scores[row] <= reach) & scores[row].isfinite()).flatten().numpy()
            if not wide.size:
                continue
            own, near_own = self._exact(int(row), wide, metric)
            with np.errstate(divide="ignore"):
                weight = 1.0 / own[None, :most]
            if own[0] == 0.0:
                weight = (own[None, :most] == 0.0).astype(np.float64)
            label = self.codes[near_own[None, :most]]
            for k in ks:
                found[k][row] = vote(label[:, :k], weight[:, :k])[0]
        return found

    def _scores(self, metric: Metric) -> Tensor:
        """Squared Euclidean distances, or cosine distances: (Q, N)."""
        import torch

        scores = self.apart
        if metric == "cosine":
            length_q, length_n = self._lengths()
            # 1 - q . n / (|q| |n|) from what differs: (|q - n|^2 - (|q| - |n|)^2) / (2 |q| |n|).
            scores = self.apart - (length_q - length_n).square_()
            scores.div_(2.0 * length_q * length_n).clamp_(min=0.0)
            empty = (length_q == 0.0) | (length_n == 0.0)
            if bool(empty.any()):  # a row of zeros is at 1 from all, as scikit-learn has it
                scores.masked_fill_(empty, 1.0)
        if self.hidden is not None:
            scores = scores.masked_fill(self.hidden, torch.inf)
        return scores

    def _lengths(self) -> tuple[Tensor, Tensor]:
        import torch

        def lengths(rows: NDArray[np.int64]) -> Tensor:
            squares = self.rows.squares[rows] + 2.0 * self.rows.offsets[rows]
            # What rounding leaves of a row of zeros.
            tiny = 1e-12 * (self.rows.squares[rows] + 2.0 * np.abs(self.rows.offsets[rows]))
            return torch.from_numpy(np.sqrt(np.where(squares > tiny, squares, 0.0)).astype(np.float32))

        return lengths(self.tested)[:, None], lengths(self.training)

    def _slack(self, near: Tensor, metric: Metric) -> Tensor:
        """By how much rounding may change the scores of some candidates."""
        slack = ROUNDING * (self.squares_q + self.squares_n[near])
        if metric == "cosine":
            length_q, length_n = self._lengths()
            slack = slack + 4e-7 * (length_q - length_n[near]).abs() * (length_q + length_n[near])
            slack = slack / (2.0 * length_q * length_n[near]).clamp_(min=1e-30)
        return slack.double()

    def _exact(
        self, row: int, wide: NDArray[np.int64], metric: Metric
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """True distances of one tested row to some training rows, nearest first, ties in the table's order."""
        query = self.rows.exact(self.tested[row : row + 1])
        others = self.training[wide]
        step = max(1, EXACT_VALUES // query.shape[1])
        parts = []
        for start in range(0, len(others), step):
            rows = self.rows.exact(others[start : start + step])
            if metric == "cosine":
                rows, own = _unit(rows), _unit(query)
                squares = 0.5 * np.square(rows - own).sum(axis=1)
                parts.append(np.where(rows.any(axis=1) & own.any(), squares, 1.0))
            else:
                parts.append(np.sqrt(np.square(rows - query).sum(axis=1)))
        distances = np.concatenate(parts)
        order = np.argsort(distances, kind="stable")
        return distances[order], others[order]


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.where(norm == 0.0, 1.0, norm)
    return unit
