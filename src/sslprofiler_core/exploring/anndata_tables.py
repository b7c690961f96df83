"""AnnData files as tables to look at: ``obs`` is metadata, ``X`` features, ``obsm["X_umap"]`` a map."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.profiling.anndata_files import need_anndata

from .tables import TableView, make_view, standardised


def open_anndata(path: Path) -> TableView:
    """Open an ``.h5ad`` file; ``X`` is read when features are asked for, ``obsm["X_pca"]`` is not looked at.

    Raises
    ------
    UserError
        Without the package anndata, or for a file that is none of its.
    """
    need_anndata(path)
    opened = _read(path, backed=True)
    try:
        metadata = opened.obs.copy()
        for name in metadata.columns:
            if metadata[name].dtype == "category":
                metadata[name] = metadata[name].astype(metadata[name].cat.categories.dtype)
        axes = opened.obsm.get("X_umap")
    finally:
        opened.file.close()

    def read() -> NDArray[np.float32]:
        values: Any = _read(path, backed=False).X
        if values is None:
            return np.empty((len(metadata), 0), np.float32)
        dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        return standardised(dense.astype(np.float32))

    layout = None if axes is None else np.ascontiguousarray(np.asarray(axes)[:, :2], np.float32)
    return make_view(path, "foreign", metadata, read, axes=layout)


def _read(path: Path, *, backed: bool) -> Any:
    import anndata

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own dependencies' deprecations
            return anndata.read_h5ad(path, backed="r" if backed else None)
    except Exception as error:  # h5py and anndata raise many kinds for one rubbish file
        raise UserError(f"{path} cannot be read as AnnData: {error}. Write it again, or export a table.") from error
