"""The drawn crops on their sites: that of ``v2`` on the site it is taken from, which is shown beside the first."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from napari_sslprofiler.site_display import display_of, slot_begins

from .crop_layer import CropLayer, crops_on

if TYPE_CHECKING:
    from napari import Viewer

    from sslprofiler_core.plates import Plate, Site

    from .model import Preview

_SLOT = 1
_CAPTION = "v2's"


class Crops:
    """The crops of a preview on the site on show, and on request on its second site too."""

    def __init__(self, viewer: Viewer) -> None:
        self._layer, self._second = CropLayer(viewer), SecondSite(viewer)

    def show(self, plate: Plate, preview: Preview, both: bool) -> None:
        """Show them; with ``both``, the site of ``v2`` beside the first."""
        if not both:
            self._second.clear()
        beside = self._second.show(plate, preview) if both else None
        self._layer.show(crops_on(preview, beside), plate.pixel_size_um, max(plate.shape or preview.shapes[0]))

    def hide(self) -> None:
        """Hide them until they are next shown; the second site goes."""
        self._second.clear()
        self._layer.hide()

    def clear(self) -> None:
        """Take all away."""
        self._second.clear()
        self._layer.clear()


class SecondSite:
    """Shows a preview's second site in the slot beside the first; the slot is other widgets' too."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer_ref = ref(getattr(viewer, "__wrapped__", viewer))
        self._site: Site | None = None

    def show(self, plate: Plate, preview: Preview) -> float | None:
        """Show the second site where it is not the first; at which column it begins, in pixels."""
        first, second = preview.request.first, preview.request.second
        if second.sources == first.sources:
            self.clear()
            return None
        # The site as it was read, of which the preview may have taken a piece.
        site = next((each for each in plate.sites_of(second.well) if each.sources == second.sources), None)
        viewer = self._viewer_ref()
        if viewer is None or site is None:
            return None
        display = display_of(viewer)
        if display.shown_in(_SLOT) != site:
            display.show(plate, site, slot=_SLOT, caption=_CAPTION)
        self._site = site
        pieces = second.tile[2] if second.tile is not None else 1
        return slot_begins(_SLOT, plate.shape[1] if plate.shape else preview.shapes[1][1] * pieces)

    def clear(self) -> None:
        """Take it away, unless another widget has shown something else there since."""
        viewer, site, self._site = self._viewer_ref(), self._site, None
        if viewer is not None and site is not None:
            display = display_of(viewer)
            if display.shown_in(_SLOT) == site:
                display.clear(_SLOT)
