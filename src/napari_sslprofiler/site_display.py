"""The site on show: one set of image layers, reused from site to site; others beside it for comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from qtpy.QtCore import QTimer

from napari_sslprofiler.background import Latest
from napari_sslprofiler.site_layers import site_layers
from napari_sslprofiler.state import session_of

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image
    from numpy.typing import NDArray

    from sslprofiler_core.plates import Plate, Site

PENDING = "sslprofiler-pending"  # marks a layer that stands in for a site that is on its way
_CAPTION_POINTS = 8
_GAP = 1.03  # a site beside another begins this many widths further


@dataclass(frozen=True, eq=False)
class Wish:
    """A site to be shown in a slot: 0 is the site on show, 1 and up lie to its right."""

    plate: Plate
    site: Site
    slot: int
    caption: str
    scale: dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Seen:
    """A wish with its pixels (C, H, W)."""

    wish: Wish
    pixels_CHW: NDArray[np.uint16]


def read_wish(wish: Wish) -> Seen:
    """Read a site; where the plate's contrast is not measured yet, the site's own percentiles stand in."""
    from sslprofiler_core.plates import read_site

    pixels_CHW = read_site(wish.site)
    scale = dict(wish.scale)
    for channel, pixels_HW in zip(wish.plate.channels, pixels_CHW, strict=True):
        if channel.name not in scale:
            # Every fourth pixel of every fourth row says as much, in a sixteenth of the time.
            low, high = np.percentile(pixels_HW[::4, ::4], (0.1, 99.9))
            scale[channel.name] = (float(low), float(high))
    return Seen(replace(wish, scale=scale), pixels_CHW)


class SiteDisplay:
    """Shows sites as layers of one viewer."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer_ref = ref(viewer)  # the displays are kept by their viewers, which must be free to go
        self._session = session_of(viewer)
        self._layers: dict[tuple[int, str], Image] = {}
        self._wishes: dict[int, Wish] = {}
        self._seen: dict[int, Wish] = {}  # those that have come
        self._readers: dict[int, Latest[Wish, Seen]] = {}
        self._to_add: dict[tuple[int, str], tuple[NDArray[np.uint16], dict[str, Any]]] = {}
        self._adding = False
        self.problem = ""
        self._session.events.screen.connect(self._rescale)

    @property
    def _viewer(self) -> Viewer:
        viewer = self._viewer_ref()
        if viewer is None:
            raise ReferenceError("the viewer is closed")
        return viewer

    def show(self, plate: Plate, site: Site, slot: int = 0, caption: str = "") -> None:
        """Show a site in a slot, soon: it is read in a thread, and the newest wish of a slot wins.

        ``caption`` is written over the canvas with the site's name.
        """
        screen = self._session.screen
        scale = screen.scale_of(plate) if screen else {}
        wish = Wish(plate, site, slot, caption, scale)
        self._wishes[slot] = wish
        if slot not in self._readers:
            self._readers[slot] = Latest(read_wish, self._arrived, self._failed)
        self._readers[slot].ask(wish)
        if slot == 0:
            self._session.shown = site

    def clear(self, slot: int) -> None:
        """Take a slot's site away."""
        self._wishes.pop(slot, None)
        self._seen.pop(slot, None)
        if slot in self._readers:
            self._readers[slot].forget()
        self._drop_others(slot, set())
        self._caption()

    def drop_pending(self) -> None:
        """Take away the layers that stood in for a site on its way."""
        for layer in [layer for layer in self._viewer.layers if layer.metadata.get(PENDING)]:
            self._viewer.layers.remove(layer)

    def shown_in(self, slot: int) -> Site | None:
        """The site that a slot shows, or soon will."""
        wish = self._wishes.get(slot)
        return wish.site if wish is not None else None

    @property
    def busy(self) -> bool:
        """Whether a site is on its way."""
        return self._adding or any(reader.busy for reader in self._readers.values())

    def _failed(self, message: str) -> None:
        from napari.utils.notifications import show_error

        self.problem = message
        show_error(message)

    def _arrived(self, seen: Seen) -> None:
        if self._is_closing():
            return
        self.problem = ""
        wish, before = seen.wish, self._seen.get(seen.wish.slot)
        self._seen[wish.slot] = wish
        changed_plate = before is None or (before.plate.root, before.site.plate) != (wish.plate.root, wish.site.plate)
        wanted: dict[tuple[int, str], tuple[NDArray[np.uint16], dict[str, Any]]] = {}
        for pixels_HW, settings, _ in site_layers(wish.plate, wish.site, seen.pixels_CHW, wish.scale):
            wanted[(wish.slot, settings["metadata"]["channel"])] = (pixels_HW, settings)
        self._drop_others(wish.slot, set(wanted))
        for key, content in wanted.items():
            if self._is_there(key):
                self._swap(key, *content, changed_plate)
            else:
                self._to_add[key] = content
        self._caption()
        if self._to_add and not self._adding:
            self._adding = True
            self._add_next()

    def _add_next(self) -> None:
        """Add one layer and let the window live before the next: napari takes a tenth of a second for each."""
        viewer = self._viewer_ref()
        if viewer is None or self._is_closing():
            self._to_add.clear()
            self._adding = False
            return
        if self._to_add:
            key = next(iter(self._to_add))
            first = not any(self._is_there(other) for other in self._layers)
            self._add(key, *self._to_add.pop(key))
            if first:
                self.drop_pending()
                viewer.reset_view()
        if self._to_add:
            QTimer.singleShot(0, self._add_next)
            return
        self._adding = False
        lit = [layer for key, layer in self._layers.items() if key[0] == 0 and layer.visible and self._is_there(key)]
        if lit:
            viewer.layers.selection.active = lit[-1]
        viewer.reset_view()

    def _is_closing(self) -> bool:
        """Whether the viewer's window is gone."""
        import napari

        viewer = self._viewer_ref()
        if viewer is None or napari.current_viewer() is None:
            return True
        try:
            viewer.window.geometry()
        except (AttributeError, RuntimeError):  # its Qt half has gone
            return True
        return False

    def _is_there(self, key: tuple[int, str]) -> bool:
        """Whether a slot's channel has a layer that the person has not removed."""
        return key in self._layers and self._layers[key] in self._viewer.layers

    def _drop_others(self, slot: int, wanted: set[tuple[int, str]]) -> None:
        """Another plate may have other channels."""
        for key in [key for key in self._to_add if key[0] == slot]:
            del self._to_add[key]
        for key in [key for key in self._layers if key[0] == slot and key not in wanted]:
            layer = self._layers.pop(key)
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _add(self, key: tuple[int, str], pixels_HW: NDArray[np.uint16], settings: dict[str, Any]) -> None:
        slot, name = key
        title = name if slot == 0 else f"{name} ({slot + 1})"
        if slot and settings["visible"] and not any(key[0] == slot and self._is_there(key) for key in self._layers):
            # Colours add up on black: napari sees to that below its first layer, which lies elsewhere.
            settings = {**settings, "blending": "opaque"}
        made = self._viewer.add_image(
            pixels_HW, **{**settings, "name": title, "translate": _shift(slot, pixels_HW, settings)}
        )
        if slot and self._is_there((0, name)):
            made.visible = self._layers[(0, name)].visible
        layers = self._viewer.layers
        ours = [layers.index(layer) for layer in self._layers.values() if layer in layers]
        if ours and max(ours) + 2 < len(layers):
            layers.move(len(layers) - 1, max(ours) + 1)  # below what lies on the sites already
        self._layers[key] = made

    def _swap(
        self, key: tuple[int, str], pixels_HW: NDArray[np.uint16], settings: dict[str, Any], changed_plate: bool
    ) -> None:
        layer = self._layers[key]
        layer.metadata = settings["metadata"]
        layer.data = pixels_HW
        scale = settings.get("scale", (1.0, 1.0))
        if tuple(layer.scale) != scale:
            layer.scale = scale
            layer.units = settings.get("units", ("pixel", "pixel"))
        shift = _shift(key[0], pixels_HW, settings)
        if tuple(layer.translate) != shift:
            layer.translate = shift
        if changed_plate:
            layer.contrast_limits = settings["contrast_limits"]

    def _rescale(self, screen: Any) -> None:
        """The plate-wide contrast has arrived for sites that are on show with their own."""
        if screen is None:
            return
        for (slot, name), layer in self._layers.items():
            wish = self._wishes.get(slot)
            known = screen.scale_of(wish.plate) if wish else {}
            if wish is None or name not in known or name in wish.scale:
                continue
            low, high = known[name]
            layer.contrast_limits = (low, max(high, low + 1.0))
        for slot, wish in list(self._wishes.items()):
            self._wishes[slot] = replace(wish, scale=screen.scale_of(wish.plate) or wish.scale)

    def _caption(self) -> None:
        overlay = self._viewer.canvas.overlays.text
        words, plate = [], ""
        for slot, wish in sorted(self._seen.items()):
            site = wish.site
            # A plate is named once, and a caption has its own line: the canvas beside a dock is narrow.
            parts = [ends(site.plate)] if site.plate != plate else []
            parts += [site.well, f"site {site.site}"]
            plate = site.plate
            words.append("  ".join(parts) if len(self._seen) == 1 else f"{slot + 1}: {'  '.join(parts)}")
            words += [ends(wish.caption)] if wish.caption else []
        overlay.text = "\n".join(words)
        overlay.font_size = _CAPTION_POINTS
        overlay.visible = bool(words)


def ends(name: str, most: int = 36) -> str:
    """A name, or both its ends where it has more letters: what is cut off at the canvas's edge cannot be read."""
    return name if len(name) <= most else f"{name[: (most - 1) // 2]}…{name[-(most // 2) :]}"


def slot_begins(slot: int, width: int) -> float:
    """At which column a slot begins, in pixels of sites of some width."""
    return slot * _GAP * width


def _shift(slot: int, pixels_HW: NDArray[np.uint16], settings: dict[str, Any]) -> tuple[float, float]:
    pixel = settings.get("scale", (1.0, 1.0))[1]
    return (0.0, slot_begins(slot, pixels_HW.shape[1]) * pixel)


_displays: WeakKeyDictionary[Viewer, SiteDisplay] = WeakKeyDictionary()


def display_of(viewer: Viewer) -> SiteDisplay:
    """The viewer's display of sites, made when first asked for."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    if viewer not in _displays:
        _displays[viewer] = SiteDisplay(viewer)
    return _displays[viewer]
