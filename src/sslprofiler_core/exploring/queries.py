"""Neighbours with filters: who is near, not on the same plate, of the same cell line. One query at a time, at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .nearest import MARGIN, Metric
from .roles import Roles, control_rows, roles_of

Same = Literal["plate", "well", "position", "compound", "cell_line"]
SAMES: tuple[Same, ...] = ("plate", "well", "position", "compound", "cell_line")


@dataclass(frozen=True, eq=False)
class Found:
    """Neighbours of Q queries.

    ``indices`` (Q, k) int64, nearest first, -1 where there are fewer than k; ``distances`` (Q, k) float32, NaN there.
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]

    def of(self, query: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """One query's neighbours without the empty places."""
        there = self.indices[query] >= 0
        return self.indices[query][there], self.distances[query][there]


class NeighbourIndex:
    """Rows of a table, made ready once, so that each query is one product of a matrix and a vector."""

    def __init__(
        self, features_ND: NDArray[Any], metadata: pd.DataFrame, metric: Metric = "cosine", roles: Roles | None = None
    ) -> None:
        """``features_ND`` may have rows that are not finite: they are nobody's neighbours and have none."""
        features = np.asarray(features_ND, np.float32)
        if features.ndim != 2 or len(features) != len(metadata):
            raise ValueError(f"features of shape {features.shape} do not fit {len(metadata)} rows of metadata")
        if metric not in ("cosine", "euclidean"):
            raise UserError(f"Unknown metric {metric!r}. Choose cosine or euclidean.")
        self.metric = metric
        self.finite = finite_rows(features)
        rows = features if self.finite.all() else np.where(self.finite[:, None], features, np.float32(0.0))
        squares = np.einsum("nd,nd->n", rows, rows)
        if metric == "cosine":
            norm = np.sqrt(squares)[:, None]
            # A second copy of the table, without which each query would divide anew.
            rows = rows / np.where(norm > 0.0, norm, np.float32(1.0))
            self._empty = squares == 0.0
            self._half = np.full(len(rows), 0.5, np.float32)
        else:
            self._empty = np.zeros(len(rows), bool)
            self._half = (0.5 * squares).astype(np.float32)
        self._rows = rows
        self._roles = roles or roles_of(metadata)
        self._codes = row_codes(metadata, self._roles)

    def __len__(self) -> int:
        return len(self._rows)

    def query(self, rows: Iterable[int], k: int, exclude: Sequence[Same] = (), within: Sequence[Same] = ()) -> Found:
        """Neighbours of each row; see `query_neighbours`."""
        wanted = np.asarray(list(rows), np.int64)
        self._check(wanted, k, exclude, within)
        found = Found(np.full((len(wanted), k), -1, np.int64), np.full((len(wanted), k), np.nan, np.float32))
        for at, row in enumerate(wanted):
            if self.finite[row]:
                allowed = allowed_rows(self._codes, self.finite, np.array([row]), exclude, within)
                self._nearest(self._rows[row], bool(self._empty[row]), allowed, k, found, at)
        return found

    def query_group(
        self, rows: Iterable[int], k: int, exclude: Sequence[Same] = (), within: Sequence[Same] = ()
    ) -> Found:
        """Neighbours of a group's mean (of unit vectors, for cosine), the group itself left out.

        A row is excluded when it has the plate (well, compound ...) of any member, and within when it has that of any.
        """
        wanted = np.asarray(list(rows), np.int64)
        self._check(wanted, k, exclude, within)
        found = Found(np.full((1, k), -1, np.int64), np.full((1, k), np.nan, np.float32))
        members = wanted[self.finite[wanted]]
        if members.size:
            mean = self._mean(members)
            allowed = allowed_rows(self._codes, self.finite, members, exclude, within)
            self._nearest(mean, not mean.any(), allowed, k, found, 0)
        return found

    def distances_to(self, rows: Iterable[int]) -> NDArray[np.float32]:
        """Distance of every row to the mean of some, (N,); NaN for rows without values."""
        members = np.asarray(list(rows), np.int64)
        members = members[self.finite[members]]
        if not members.size:
            return np.full(len(self), np.nan, np.float32)
        return self._distances(np.arange(len(self)), self._mean(members))

    def distances_to_controls(self, controls_N: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Distance of every row to the mean of its own plate's controls, (N,); NaN on plates without controls."""
        distances = np.full(len(self), np.nan, np.float32)
        plates = self._codes.get("plate", np.zeros(len(self), np.int64))
        for plate in np.unique(plates[controls_N]):
            own = np.flatnonzero(plates == plate)
            members = own[controls_N[own] & self.finite[own]]
            if members.size:
                distances[own] = self._distances(own, self._mean(members))
        return distances

    def _mean(self, members: NDArray[np.int64]) -> NDArray[np.float32]:
        mean = self._rows[members].mean(axis=0, dtype=np.float64)
        norm = float(np.linalg.norm(mean))
        if self.metric == "cosine" and norm > 0.0:
            mean = mean / norm
        return np.asarray(mean, np.float32)

    def _distances(self, rows: NDArray[np.int64], query: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = len(rows) == len(self)
        product = (self._rows if whole else self._rows[rows]) @ query
        if self.metric == "cosine":
            distances = np.clip(1.0 - product, 0.0, 2.0)
        else:
            squares = 2.0 * (self._half[rows] - product) + float(query @ query)
            distances = np.sqrt(np.maximum(squares, 0.0))
        distances[~self.finite[rows]] = np.nan
        return np.asarray(distances, np.float32)

    def _check(self, rows: NDArray[np.int64], k: int, exclude: Sequence[Same], within: Sequence[Same]) -> None:
        if k < 1:
            raise UserError(f"k = {k} neighbours cannot be found. Choose 1 or more.")
        if rows.size and (rows.min() < 0 or rows.max() >= len(self)):
            raise ValueError(f"rows {rows.min()} to {rows.max()} of a table of {len(self)}")
        for same in (*exclude, *within):
            if same not in SAMES:
                raise UserError(f"Unknown filter {same!r}. Choose from {', '.join(SAMES)}.")
            if same not in self._codes:
                words = {"position": "well", "cell_line": "cell line"}.get(same, same)
                raise UserError(f"The table has no column for {words}, so neighbours cannot be filtered by it.")

    def _nearest(
        self, query: NDArray[np.float32], empty: bool, allowed: NDArray[np.bool_], k: int, found: Found, at: int
    ) -> None:
        count = int(allowed.sum())
        take = min(k, count)
        if not take:
            return
        scores = self._half - self._rows @ query
        scores[~allowed] = np.inf
        candidates = min(count, k + MARGIN)
        # Rows that float32 cannot tell from the last one of k are ranked too.
        edge = float(np.partition(scores, take - 1)[take - 1]) if candidates < count else np.inf
        scale = (float(np.linalg.norm(query)) + 1.0) * (float(np.sqrt(2.0 * self._half.max())) + 1.0)
        slack = 1e-6 * scale * max(1.0, len(query) ** 0.5 / 16)
        near = np.flatnonzero(allowed & (scores <= edge + slack))
        differences = self._rows[near] - query
        squares = np.einsum("nd,nd->n", differences, differences)
        if self.metric == "cosine":
            distances = np.where(self._empty[near] | empty, np.float32(1.0), 0.5 * squares)
        else:
            distances = np.sqrt(squares)
        order = np.argsort(distances, kind="stable")[:take]
        found.indices[at, :take] = near[order]
        found.distances[at, :take] = distances[order]


def query_neighbours(
    features_ND: NDArray[Any],
    metadata: pd.DataFrame,
    rows: Iterable[int],
    k: int,
    *,
    exclude: Sequence[Same] = (),
    within: Sequence[Same] = (),
    metric: Metric = "cosine",
) -> Found:
    """Find the k nearest other rows of a table for some of its rows, under filters.

    Parameters
    ----------
    features_ND, metadata
        (N, D), and N rows in the same order. For more than one call make a `NeighbourIndex` and keep it.
    rows
        The queries; a row is never its own neighbour.
    k
        Fewer are found where fewer are allowed.
    exclude
        Leave out rows that share this with the query: ``"plate"``, ``"well"`` (of the same plate), ``"position"``
        (the same well on any plate), ``"compound"`` (the label), ``"cell_line"``.
    within
        Only rows that share this with the query.

    Returns
    -------
    `Found`, ties by the lower row; as scikit-learn's brute force among the rows that the filters leave.

    Raises
    ------
    UserError
        For an unknown filter, or one that the table has no column for.
    """
    return NeighbourIndex(features_ND, metadata, metric).query(rows, k, exclude, within)


def allowed_rows(
    codes: Mapping[Same, NDArray[np.int64]],
    finite_N: NDArray[np.bool_],
    rows: NDArray[np.int64],
    exclude: Sequence[Same] = (),
    within: Sequence[Same] = (),
) -> NDArray[np.bool_]:
    """Mark the rows that may be neighbours of some rows under filters, (N,).

    Parameters
    ----------
    codes
        What rows share, as `row_codes` gives it.
    finite_N
        Rows that have values; no other is anybody's neighbour.
    rows
        The queries, which are not neighbours of their own; those without values count for nothing.
    exclude, within
        As in `query_neighbours`, of any of the rows.
    """
    members = rows[finite_N[rows]]
    allowed = finite_N.copy()
    allowed[members] = False
    for same in exclude:
        own = codes[same][members]
        allowed &= ~_among(codes[same], own[own >= 0])  # an empty cell is like no other
    for same in within:
        allowed &= _among(codes[same], codes[same][members])
    return allowed


def label_agreement(labels: Iterable[Any], query: Any, neighbours: NDArray[np.int64]) -> tuple[int, int]:
    """How many of a query's neighbours have its label: (agreeing, neighbours that have any label)."""
    values = pd.Series(list(labels) if not isinstance(labels, pd.Series) else labels).reset_index(drop=True)
    own = values.iloc[neighbours]
    if pd.isna(query):
        return 0, 0
    return int((own == query).sum()), int(own.notna().sum())


def control_distances(index: NeighbourIndex, metadata: pd.DataFrame) -> NDArray[np.float32]:
    """Distance of every row to its plate's negative controls, (N,); all NaN where no controls are known."""
    return index.distances_to_controls(control_rows(metadata))


def finite_rows(features_ND: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows that have values, all finite, (N,)."""
    if not features_ND.shape[1]:
        return np.zeros(len(features_ND), bool)
    return np.asarray(np.isfinite(features_ND).all(axis=1), np.bool_)


def _among(codes: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.bool_]:
    """``np.isin`` without its sort, for codes from -1."""
    table = np.zeros(int(codes.max(initial=-1)) + 2, bool)
    table[wanted + 1] = True
    return table[codes + 1]


def row_codes(metadata: pd.DataFrame, roles: Roles) -> dict[Same, NDArray[np.int64]]:
    """What rows share, as codes (N,), -1 for an empty cell, of those that the table has columns for."""
    codes: dict[Same, NDArray[np.int64]] = {}
    single: dict[Same, str | None] = {
        "plate": roles.plate,
        "position": roles.well,
        "compound": roles.label,
        "cell_line": roles.cell_line,
    }
    for same, column in single.items():
        if column is not None:
            codes[same] = pd.factorize(metadata[column])[0].astype(np.int64)
    if "position" in codes:
        plates = codes.get("plate", np.zeros(len(metadata), np.int64))
        wells = codes["position"]
        both = plates * (int(wells.max(initial=-1)) + 1) + wells
        codes["well"] = np.where((plates >= 0) & (wells >= 0), pd.factorize(both)[0], -1).astype(np.int64)
    return codes
