"""Drag a plate's folder, a LoadData table or an OME-Zarr plate into napari: it opens in the Plates widget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.types import LayerData

PathOrPaths = str | list[str]


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerData]] | None:
    """Give napari a reader for what looks like plates; None, in milliseconds, for all else."""
    from sslprofiler_core.plates import looks_like_plates

    paths = [path] if isinstance(path, str) else path
    return read_plates if paths and all(looks_like_plates(Path(one)) for one in paths) else None


def read_plates(path: PathOrPaths) -> list[LayerData]:
    """Open plates in the Plates widget of the current viewer; without a window, read the first site's layers."""
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    widget = open_plates_widget()
    if widget is not None:
        widget.open(paths)
        return [(None,)]  # napari's word for "read, and no layer to add"
    return first_site(paths)


def open_plates_widget() -> Any:
    """The Plates widget of the current viewer, shown; None where there is no window."""
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        return None
    _, widget = viewer.window.add_plugin_dock_widget("napari-sslprofiler", "Plates")
    return widget


def first_site(paths: list[Path]) -> list[LayerData]:
    """The layers of the first site of some plates."""
    from napari_sslprofiler.plates.opening import CONTRAST_SITES
    from napari_sslprofiler.site_layers import site_layers
    from sslprofiler_core.errors import UserError
    from sslprofiler_core.plates import measure_scale, open_plates, read_site

    plate = next((plate for plate in open_plates(paths) if plate.sites), None)
    if plate is None:
        raise UserError(f"No plate in {paths[0]} has a complete site. `sslprofiler inspect` says what is missing.")
    scale = measure_scale([plate], sites=CONTRAST_SITES)[plate.name]
    return site_layers(plate, plate.sites[0], read_site(plate.sites[0]), scale)
