"""What the preview puts into napari: the drawn crops on the site on show, and on request the views as layers."""

from __future__ import annotations

import importlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.layers import Vectors

from .model import Preview, corner_mark, crop_corners, tile_origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari import Viewer
    from numpy.typing import NDArray

    from .canvas import Panel

V1_COLOUR = "#f0c030"
V2_COLOUR = "#4fc3f7"
NAME = "Crops of the preview"
_WIDTH = 1 / 300  # of a line, in sides of the site


@dataclass(frozen=True, eq=False)
class Crop:
    """A crop on the site on show: corners as `crop_corners` gives them, and its colour."""

    corners: NDArray[np.float64]
    colour: str


def crops_on(preview: Preview, beside: float | None = None) -> list[Crop]:
    """The crops of both views on their sites, in the pixels of the site on show.

    Of a pseudo-site, in the pixels of the site that it was cut from. ``beside`` is the column at which the site of
    ``v2`` begins where it is another and is shown too; None where it is not: then only the crop of ``v1`` is there.
    """
    request = preview.request
    found = [Crop(crop_corners(preview.v1) + tile_origin(request.first, preview.shapes[0]), V1_COLOUR)]
    source = request.second if request.recipe.augment.local_aggregation else request.first
    if source.sources == request.first.sources:
        beside = 0.0
    if beside is not None:
        row, column = tile_origin(source, preview.shapes[1])
        found.append(Crop(crop_corners(preview.v2) + np.array([row, column + beside]), V2_COLOUR))
    return found


def outline(crop: Crop, side: float) -> NDArray[np.float64]:
    """The lines of a crop: (N, 2, 2), start and direction in row and column, as napari's vectors are.

    Its four sides, and along its first corner a mark: lines inward side by side, which all of one layer's widths being
    equal makes a thick one.
    """
    # napari puts a pixel's centre at its index, half a pixel from where continuous pixels begin.
    corners = crop.corners - 0.5
    lines = [(start, end) for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
    below, first, right = corner_mark(corners)
    down = (below - first) / np.linalg.norm(below - first)
    across = (right - first) / np.linalg.norm(right - first)
    for inward in np.arange(1, 5) * side * _WIDTH * 0.8:
        lines += [(first + inward * across, below + inward * across), (first + inward * down, right + inward * down)]
    return np.array([(start, end - start) for start, end in lines])


def warm_up() -> None:
    """Import what napari's first such layer does: for a worker thread.

    No layer is made: its units' registry builds itself when first used, which two threads at once break.
    """
    importlib.import_module("pandas")


class CropLayer:
    """One layer of lines in a viewer, reused from draw to draw.

    Vectors, since a Shapes layer's first use cost 1.9 s of the window's time (it imports and loads compiled
    triangulation), adding it 0.30 s and a change 40 ms; vectors cost 0.12 s and 5 ms (two shared cores).
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer_ref = ref(getattr(viewer, "__wrapped__", viewer))
        self._layer: Vectors | None = None
        self._colours: list[str] = []

    @property
    def layer(self) -> Vectors | None:
        """The layer, None while there is none."""
        return self._layer

    def show(self, crops: Sequence[Crop], pixel_size_um: float | None, side: float) -> None:
        """Show crops of a site whose pixels have a size, and whose sides are about ``side`` pixels."""
        viewer = self._viewer_ref()
        if viewer is None:
            return
        each = [outline(crop, side) for crop in crops]
        lines = np.concatenate(each)
        colours = [crop.colour for crop, some in zip(crops, each, strict=True) for _ in some]
        if self._layer is not None and self._layer not in viewer.layers:
            self._layer = None
        if self._layer is None:
            self._layer, self._colours = self._add(viewer, lines, colours, side, pixel_size_um), colours
            return
        if not np.array_equal(self._layer.data, lines):
            self._layer.data = lines
        if colours != self._colours:
            # Reading colours costs more than the lines themselves.
            self._layer.edge_color = colours
        self._colours = colours
        self._layer.visible = True

    def hide(self) -> None:
        """Hide them until they are next shown."""
        if self._layer is not None:
            self._layer.visible = False

    def clear(self) -> None:
        """Take the layer away."""
        viewer = self._viewer_ref()
        layer, self._layer = self._layer, None
        # A window that is closing has no canvas any more to take it from.
        with suppress(RuntimeError):
            if viewer is not None and layer is not None and layer in viewer.layers:
                viewer.layers.remove(layer)

    def _add(
        self,
        viewer: Viewer,
        lines: NDArray[np.float64],
        colours: list[str],
        side: float,
        pixel_size_um: float | None,
    ) -> Vectors:
        # The person's choice of layer stays.
        chosen, active = set(viewer.layers.selection), viewer.layers.selection.active
        more: dict[str, Any] = {}
        if pixel_size_um is not None:
            more = {"scale": (pixel_size_um, pixel_size_um), "units": ("um", "um")}
        layer = viewer.add_vectors(
            lines, edge_color=colours, edge_width=_WIDTH * side, vector_style="line", name=NAME, **more
        )
        if chosen:
            viewer.layers.selection = chosen
            viewer.layers.selection.active = active
        return layer


def add_pictures(viewer: Viewer, panels: Sequence[Panel], shape: tuple[int, int], pixel_size_um: float | None) -> None:
    """Put pictures side by side below a site of some height and width; those of an earlier call are replaced."""
    pixel = pixel_size_um or 1.0
    side = shape[1] * pixel / 3.1
    for place, panel in enumerate(panels):
        scale = side / len(panel.rgb_SS3)
        name = f"Preview: {panel.title.partition(',')[0]}"
        more: dict[str, Any] = {} if pixel_size_um is None else {"units": ("um", "um")}
        if name in viewer.layers:
            viewer.layers.remove(name)
        viewer.add_image(
            panel.rgb_SS3,
            name=name,
            rgb=True,
            scale=(scale, scale),
            translate=(1.03 * shape[0] * pixel, place * 1.05 * side),
            **more,
        )
    viewer.reset_view()
