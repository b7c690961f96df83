"""The maps of wells, laid out by a child process: numba compiles for ten seconds, which another core can use."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.exploring import umap_layout
from sslprofiler_core.profiling import WellsTable, read_info, read_metadata, read_wells
from sslprofiler_core.profiling.parquet import write_parquet

from .features import centred_per_plate

AXES = ("Metadata_UMAP1", "Metadata_UMAP2")
# The same of profiles less their plate's mean.
CENTRED_AXES = ("Metadata_CentredUMAP1", "Metadata_CentredUMAP2")

Layouts = tuple[NDArray[np.float32], NDArray[np.float32]]


class WellMap:
    """The maps of a wells table, ``<stem>.umap.parquet`` beside it; entering starts them, unless they are there.

    Parameters
    ----------
    wells
        The wells table.
    seed
        Of the maps.
    wanted
        False starts nothing, and there are no maps.
    """

    def __init__(self, wells: Path, seed: int, *, wanted: bool = True) -> None:
        self._wells, self._seed, self._wanted = wells, seed, wanted
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._wanted and not _is_of(map_path(self._wells), read_wells(self._wells), self._seed):
            command = [sys.executable, "-m", __name__, str(self._wells), str(self._seed)]
            self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            if self._child.poll() is None:
                self._child.terminate()
            self._child.wait()

    def layouts(self) -> Layouts | None:
        """Wait for the maps of the profiles as they are, and centred per plate: each (W, 2); None when not wanted."""
        if not self._wanted:
            return None
        if self._child is not None and self._child.wait() != 0:
            write_map(self._wells, self._seed)  # once more here, where the reason is seen
        table = read_metadata(map_path(self._wells))
        return table[list(AXES)].to_numpy(np.float32), table[list(CENTRED_AXES)].to_numpy(np.float32)


def map_path(wells: Path) -> Path:
    """Where a wells table's map lies."""
    return wells.with_name(f"{wells.stem}.umap.parquet")


def write_map(wells: Path, seed: int) -> None:
    """Lay a wells table out and write its maps."""
    table = read_wells(wells)
    metadata = table.metadata[["Metadata_Plate", "Metadata_Well"]].copy()
    metadata[list(AXES)] = umap_layout(table.profiles, seed=seed)
    metadata[list(CENTRED_AXES)] = umap_layout(centred_per_plate(table.profiles, table.metadata), seed=seed)
    write_parquet(map_path(wells), metadata, {}, {"profiles": _digest(table), "seed": seed})


def _is_of(path: Path, table: WellsTable, seed: int) -> bool:
    if not path.is_file():
        return False
    info = read_info(path)
    return bool(info.get("profiles") == _digest(table) and info.get("seed") == seed)


def _digest(table: WellsTable) -> str:
    return hashlib.sha256(np.ascontiguousarray(table.profiles).tobytes()).hexdigest()[:16]


if __name__ == "__main__":
    write_map(Path(sys.argv[1]), int(sys.argv[2]))
