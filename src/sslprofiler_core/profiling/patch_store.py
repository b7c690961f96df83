"""Dense features beside a sites table: every patch token of every site, float16, in one Zarr group a plate.

``sites.patches.zarr/<plate>/<group>`` is an array (sites, patches, D), a row a site in the plate's own order, NaN for a
site that could not be read. Its attributes ``wells`` and ``sites`` name the rows, ``grid`` is the rows and columns of
patches. A chunk is one site; as many sites as a batch has make a file.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError

from .tables import part_path

if TYPE_CHECKING:
    from sslprofiler_core.plates import Site


def patches_path(table: Path, plate: str) -> Path:
    """Where a plate's patch features are: ``sites.patches.zarr/<plate>`` beside ``sites.parquet``."""
    return table.with_name(f"{table.name.removesuffix('.parquet')}.patches.zarr") / part_path("", plate).stem


class PatchWriter:
    """Writes one plate's patch tokens, whole or not at all: beside, then renamed."""

    def __init__(self, table: Path, plate: str, sites: Sequence[Site], batch: int, info: Mapping[str, Any]) -> None:
        self.path = patches_path(table, plate)
        self._aside = self.path.with_name(f".{self.path.name}.partial")
        self._sites, self._batch, self._info = sites, batch, dict(info)
        self._arrays: dict[str, Any] = {}
        shutil.rmtree(self._aside, ignore_errors=True)

    def write(self, group: str, rows: Sequence[int], tokens_BND: NDArray[np.float16]) -> None:
        """Put sites in their rows; those of a batch between them that are not given stay NaN."""
        if group not in self._arrays:
            self._arrays[group] = self._array(group, *tokens_BND.shape[1:])
        first = rows[0] // self._batch * self._batch
        # Whole files are written at once, so that none is read again.
        whole = np.full((min(self._batch, len(self._sites) - first), *tokens_BND.shape[1:]), np.nan, np.float16)
        whole[np.asarray(rows) - first] = tokens_BND
        self._guarded(lambda: self._arrays[group].__setitem__(slice(first, first + len(whole)), whole))

    def finish(self) -> None:
        """Give the plate its name."""

        def rename() -> None:
            shutil.rmtree(self.path, ignore_errors=True)
            self._aside.replace(self.path)

        self._guarded(rename)

    def _array(self, group: str, patches: int, width: int) -> Any:
        import zarr

        side = math.isqrt(patches)
        attributes: dict[str, Any] = {
            "wells": [site.well for site in self._sites],
            "sites": [site.site for site in self._sites],
            "grid": [side, side] if side * side == patches else [patches, 1],
            "sslprofiler": self._info,
        }
        shape = (len(self._sites), patches, width)
        return self._guarded(
            lambda: zarr.create_array(
                store=str(self._aside / group),
                shape=shape,
                chunks=(1, patches, width),
                shards=(self._batch, patches, width),
                dtype="float16",
                fill_value=np.float16(np.nan),
                compressors=None,
                attributes=attributes,
            )
        )

    def _guarded(self, work: Any) -> Any:
        try:
            return work()
        except OSError as error:
            raise UserError(
                f"Cannot write {self.path} ({error.strerror or error}). Make room, or embed without --patches."
            ) from error
