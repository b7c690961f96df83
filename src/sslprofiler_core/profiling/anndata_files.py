"""AnnData files: ``obs`` is metadata, ``X`` features, ``var_names`` their names, ``obsm`` maps."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError


def need_anndata(path: Path) -> None:
    """Raise a `UserError` where the package anndata is not installed."""
    if importlib.util.find_spec("anndata") is None:
        raise UserError(
            f"{path.name} is an AnnData file, and the package anndata is not installed. "
            "Install it: pip install 'napari-sslprofiler[anndata]'."
        )


def write_anndata(
    path: Path,
    metadata: pd.DataFrame,
    features_ND: NDArray[np.float32],
    names: Sequence[str],
    maps: Mapping[str, NDArray[np.float32]],
    index: Sequence[str],
) -> None:
    """Write ``obs``, ``X``, ``var_names`` and ``obsm``, whole or not at all."""
    need_anndata(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies' deprecations
        import anndata

        # Text as categories of plain strings, which every version can write and read.
        obs = pd.DataFrame(
            {name: _writable(metadata[name]) for name in metadata.columns}, index=pd.Index(list(index), dtype=object)
        )
        var = pd.DataFrame(index=pd.Index(list(names), dtype=object))
        table = anndata.AnnData(np.ascontiguousarray(features_ND), obs=obs, var=var, obsm=dict(maps))
        aside = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            table.write_h5ad(aside)
            aside.replace(path)
        except OSError as error:
            raise UserError(f"Cannot write {path} ({error}). Choose a folder you may write to.") from error
        finally:
            aside.unlink(missing_ok=True)


def read_anndata(path: Path) -> tuple[pd.DataFrame, tuple[str, ...], NDArray[np.float32]]:
    """Read ``obs`` (a default index), ``var_names`` and ``X`` as float32.

    Raises
    ------
    UserError
        Without the package anndata, for a file that is none of its, or one without ``X``.
    """
    need_anndata(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import anndata

            table = anndata.read_h5ad(path)
    except Exception as error:  # h5py and anndata raise many kinds for one rubbish file
        raise UserError(f"{path} cannot be read as AnnData: {error}. Write it again, or export a table.") from error
    if table.X is None:
        raise UserError(f"{path} has no X, so no features. Write it with X.")
    values: Any = table.X
    dense = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
    metadata = table.obs.reset_index(drop=True)
    for name in metadata.columns:
        if metadata[name].dtype == "category":
            metadata[name] = metadata[name].astype(metadata[name].cat.categories.dtype)
    return metadata, tuple(map(str, table.var_names)), np.asarray(dense, np.float32)


def _writable(column: pd.Series[Any]) -> Any:
    if pd.api.types.is_bool_dtype(column) or (
        pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_extension_array_dtype(column)
    ):
        return column.to_numpy()
    there = column.notna().to_numpy()
    texts = np.array([str(value) if known else "" for value, known in zip(column, there, strict=True)], dtype=object)
    categories, codes = np.unique(texts[there], return_inverse=True)
    every = np.full(len(texts), -1, np.int64)
    every[there] = codes
    return pd.Categorical.from_codes(every, pd.Index(categories, dtype=object))
