"""The browser's thumbnails: one store a state, fed with its table's images, their channels and their contrast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QImage

from napari_sslprofiler.background import Latest
from napari_sslprofiler.lifetime import hear, later
from napari_sslprofiler.site_display import display_of
from napari_sslprofiler.state import Screen, session_of

from .contrast import contrast_of
from .gallery_order import text_of
from .state import BrowserState
from .thumbnails import ThumbnailStore
from .thumbnails_cache import DiskCache
from .thumbnails_paint import ChannelColour, channel_colours
from .thumbnails_read import Choice
from .thumbnails_sites import Missing, find_images

if TYPE_CHECKING:
    from napari import Viewer

    from .images import Images

_HOLD, _MOST_HELD = 25, 20  # milliseconds, and how often
_Limits = dict[str, tuple[float, float]]


class Thumbnails(QObject):
    """Thumbnails of a state's rows.

    Signals
    -------
    channels_changed
        The channels that can be shown are others.

    Attributes
    ----------
    store
        Where the pictures are.
    channels
        Those of the table's plates, as far as they are open.
    """

    channels_changed = Signal()

    def __init__(self, state: BrowserState, viewer: Viewer, cache: DiskCache | None = None) -> None:
        super().__init__()
        self._state = state
        self._session = session_of(viewer)
        self.store = ThumbnailStore(cache=cache or DiskCache(), parent=self)
        self.channels: tuple[ChannelColour, ...] = ()
        self._captions: dict[int, tuple[str, str]] = {}
        self._describing: Latest[Images, tuple[Images, tuple[ChannelColour, ...]]] = Latest(
            _describe, self._described, None, self
        )
        meter = contrast_of(viewer)
        self.store.unmeasured.connect(meter.want, Qt.ConnectionType.QueuedConnection)
        meter.measured.connect(self._measured)
        state.events.table.connect(self._forget_captions)
        state.events.images.connect(self._new_images)
        hear(self._session.events.screen, self._new_screen, self)
        hear(self._session.events.shown, self._give_way, self)
        self._display = display_of(viewer)
        self._held = 0
        self._go_on = later(self, _HOLD, self._try_again)
        state.thumbnail_for = self.thumbnail_for
        self._new_images(state.images)
        self._new_screen(self._session.screen)

    def thumbnail_for(self, row: int) -> QImage | None:
        """The row's picture if it is here; else it is made next."""
        return self.store.thumbnail_for(row)

    def caption(self, row: int) -> tuple[str, str]:
        """A row's two lines: what was done to it, and where it is."""
        found = self._captions.get(row)
        if found is None:
            if len(self._captions) > 50_000:
                self._captions.clear()
            found = self._captions[row] = caption_of(self._state, row)
        return found

    def _forget_captions(self) -> None:
        self._captions.clear()

    def reason(self, row: int) -> tuple[str, str]:
        """Why a row has no picture: a few words, and a sentence; both "" while it is on its way."""
        missing = self.store.missing(row)
        return (missing.short, missing.reason) if missing else ("", "")

    def show(self, channels: Mapping[str, bool] | None = None, whole_well: bool | None = None) -> None:
        """Show these channels, and wells as one site or as all."""
        choice = self.store.choice
        names = choice.channels if channels is None else tuple(name for name, on in channels.items() if on)
        self.store.choice = Choice(names, choice.whole_well if whole_well is None else whole_well)

    def _new_images(self, images: Images | None) -> None:
        table = self._state.table
        if images is None or table is None:
            self.store.set_source(lambda row: Missing("no table", "No table is open."))
            return
        self.store.set_source(lambda row: find_images(images, table, row))
        if images.known:
            self._describing.ask(images)

    def _described(self, made: tuple[Images, tuple[ChannelColour, ...]]) -> None:
        images, channels = made
        if images is not self._state.images or not channels or channels == self.channels:
            return
        self.channels = channels
        shown = [c.name for c in channels if c.name in self.store.choice.channels]
        names = shown or [c.name for c in channels if c.fluorescent] or [channels[0].name]
        self.store.choice = Choice(tuple(names), self.store.choice.whole_well)
        self.channels_changed.emit()

    # --- Giving way ------------------------------------------------------------------------------------------------

    def _give_way(self, _: object) -> None:
        """A site is on its way to napari: it comes twice as soon when no thumbnails are made meanwhile."""
        self.store.hold()
        self._held = _MOST_HELD
        self._go_on.start()

    def _try_again(self) -> None:
        self._held -= 1
        if self._display.busy and self._held > 0:
            self._go_on.start()
        else:
            self.store.release()

    # --- Contrast --------------------------------------------------------------------------------------------------

    def _new_screen(self, screen: Screen | None) -> None:
        if screen is not None:
            self.store.set_contrast(screen.scale)

    def _measured(self, name: str, limits: _Limits) -> None:
        self.store.set_contrast({name: limits})


def caption_of(state: BrowserState, row: int) -> tuple[str, str]:
    """Two lines that say what a row is: its label (the plate, where there is none), then plate, well and site."""
    table = state.table
    if table is None:
        return "", ""
    roles, frame = table.roles, table.metadata
    label = text_of(frame[roles.label].iloc[row]) if roles.label else ""
    words = [text_of(frame[name].iloc[row]) for name in (roles.plate, roles.well) if name]
    if roles.site:
        words.append(f"s{text_of(frame[roles.site].iloc[row])}")
    where = "  ".join(word for word in words if word) or f"row {row + 1:,}"
    return label or "–", where


def _describe(images: Images) -> tuple[Images, tuple[ChannelColour, ...]]:
    for name in sorted(images.folders):
        if name in images.names() and (plate := images.plate(name)) is not None:
            return images, channel_colours(plate)
    return images, ()


# Weak on both sides: what holds a state may not be kept by it.
_all: WeakKeyDictionary[Any, ref[Thumbnails]] = WeakKeyDictionary()


def thumbnails_of(state: BrowserState, viewer: Viewer) -> Thumbnails:
    """The state's thumbnails, made when first asked for."""
    found = _all[state]() if state in _all else None
    if found is None:
        found = Thumbnails(state, viewer)
        _all[state] = ref(found)
    return found
