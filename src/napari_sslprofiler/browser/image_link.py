"""From the current row to its images in napari: finds the plates once, shows the site, measures its contrast."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_sslprofiler.background import Latest
from napari_sslprofiler.lifetime import hear, later
from napari_sslprofiler.plates.opening import open_screen
from napari_sslprofiler.site_display import display_of
from napari_sslprofiler.state import Screen, session_of

from .contrast import contrast_of
from .remembered import folder_of, remember, was_declined
from .state import BrowserState

if TYPE_CHECKING:
    from napari import Viewer

    from sslprofiler_core.plates import Plate, Site

    from .images import Images

_WARM_AFTER = 1000  # milliseconds
FOLLOWED = 200_000  # of more rows an index by name takes seconds

_Found = tuple["Images", int, "tuple[Plate, tuple[Site, ...]] | None"]


class ImageLink(QObject):
    """Shows the current row's site, and tells when nobody knows where the images are.

    Signals
    -------
    unknown
        The current row has no images at hand, and nobody has been asked for this table.
    problem
        A sentence.
    status
        A few words on the images: how many plates are there.
    """

    unknown = Signal()
    problem = Signal(str)
    status = Signal(str)

    def __init__(self, state: BrowserState, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._state, self._viewer = state, viewer
        self._session = session_of(viewer)
        self._asked = False
        self._finding: Latest[tuple[Images, int], _Found] = Latest(_find, self._found, self.problem.emit, self)
        self._opening: Latest[tuple[Images, tuple[Path, ...]], tuple[Images, Screen]] = Latest(
            _open, self._opened, self._not_opened, self
        )
        self._meter = contrast_of(viewer)
        # What the first click would wait for is done before, when the first picture is out of the way.
        self._warming: Latest[Images, tuple[Plate | None, Any]] = Latest(_warm, self._warmed, None, self)
        self._warm_later = later(self, _WARM_AFTER, self._warm)
        self._wanted: Path | None = None
        state.events.table.connect(self._new_table)
        state.events.current.connect(self._show)
        hear(self._session.events.screen, self._new_screen, self)
        hear(self._session.events.shown, self._follow, self)

    @property
    def busy(self) -> bool:
        """Whether plates or a site are being looked for."""
        return self._finding.busy or self._opening.busy or self._warming.busy or self._meter.busy

    def look_in(self, folder: Path) -> None:
        """Look for the table's plates in a folder that a person gave, and remember it."""
        images = self._state.images
        if images is not None:
            self._wanted = folder
            self._opening.ask((images, (folder,)))

    def decline(self) -> None:
        """There are no images at hand: ask no more for this table."""
        if self._state.table is not None:
            remember(self._state.table.path, None)

    def _new_table(self, table: Any) -> None:
        images = self._state.images
        self._asked = False
        self._wanted = None
        if table is None or images is None:
            self.status.emit("")
            return
        if self._session.screen is not None and images.adopt(self._session.screen.plates, elsewhere=False):
            self._tell()
            return
        known = folder_of(table.path)
        folders = (known,) if known is not None else tuple(dict.fromkeys(images.folders.values()))
        if folders:
            self.status.emit("opening plates …")
            self._opening.ask((images, folders))
        else:
            self._tell()

    def _new_screen(self, screen: Screen | None) -> None:
        images = self._state.images
        if screen is None or images is None:
            return
        before = images.folders
        images.adopt(screen.plates, elsewhere=False)
        if images.folders != before:
            self._tell()
            self._state.images_changed()
            self._show(self._state.current)

    def _opened(self, made: tuple[Images, Screen]) -> None:
        images, screen = made
        if images is not self._state.images or self._state.table is None:
            return
        taken = images.adopt(screen.plates)
        if self._wanted is not None:
            if not taken:
                there = ", ".join(plate.name for plate in screen.plates[:3])
                wanted = ", ".join(sorted(images.names())[:3]) or "no plates"
                self.problem.emit(f"{self._wanted} has {there}, but the table has {wanted}. Choose another folder.")
                return
            remember(self._state.table.path, self._wanted)
        self._tell()
        self._state.images_changed()
        if self._session.screen is None:
            self._session.screen = screen
        self._show(self._state.current)

    def _not_opened(self, message: str) -> None:
        self._tell()
        # What the table or an earlier visit says may be gone; only a folder given now is worth words.
        if self._wanted is not None:
            self.problem.emit(message)

    def _tell(self) -> None:
        images = self._state.images
        if images is None:
            return
        names, known = images.names(), images.folders
        there = sum(name in known for name in names)
        self.status.emit(f"images of {there:,} of {len(names):,} plates" if there else "no images at hand")
        if there:
            self._warm_later.start()

    def _show(self, row: int | None) -> None:
        images = self._state.images
        if row is None or images is None or self._opening.busy:
            return
        if not images.known:
            if not self._asked and self._state.table is not None and not was_declined(self._state.table.path):
                self._asked = True
                self.unknown.emit()
            return
        self._finding.ask((images, row))

    def _follow(self, site: Site | None) -> None:
        """Another widget shows a site: its row becomes the current one."""
        images, state = self._state.images, self._state
        if site is None or images is None or len(state) > FOLLOWED:
            return
        row = images.row_of(site, state.current)
        if row is not None:
            state.current = row

    def _found(self, found: _Found) -> None:
        images, row, sites = found
        if images is not self._state.images or row != self._state.current or self._state.table is None:
            return
        if sites is None:
            self.status.emit(f"no images of {self._state.table.row_name(row)}")
            return
        self._tell()
        plate, own = sites
        display_of(self._viewer).show(plate, own[0], caption=self._caption(row))
        screen = self._session.screen
        if screen is not None and screen.plate(plate.name) is not None and plate.name not in screen.scale:
            self._meter.want(plate)

    def _caption(self, row: int) -> str:
        table = self._state.table
        if table is None or table.label is None:
            return ""
        value = table.metadata[table.label].iloc[row]
        return "" if value != value else str(value)  # NaN differs from itself

    def _warm(self) -> None:
        if self._state.images is not None:
            self._warming.ask(self._state.images)

    def _warmed(self, made: tuple[Plate | None, Any]) -> None:
        plate, units = made
        use_units(units)
        screen = self._session.screen
        if plate is not None and screen is not None and screen.plate(plate.name) is not None:
            self._meter.want(plate)


def _find(wish: tuple[Images, int]) -> _Found:
    images, row = wish
    return images, row, images.sites(row)


def _open(wish: tuple[Images, tuple[Path, ...]]) -> tuple[Images, Screen]:
    images, folders = wish
    return images, open_screen(folders, lambda done, total: None)


def _warm(images: Images) -> tuple[Plate | None, Any]:
    """Import what napari's first image imports, read pint's units, and find the plate whose contrast will be needed."""
    import pint

    importlib.import_module("scipy.ndimage")

    plate = next((plate for name in sorted(images.folders) if (plate := images.plate(name)) is not None), None)
    return plate, pint.UnitRegistry() if _units_are_unused() else None


def use_units(made: Any) -> None:
    """Let napari have a registry of units that was made in a thread, unless it has one of its own by now.

    Its first layer makes pint's own, for which the window stands still for half a second. That one is no affair of
    threads: whoever uses it while it is being made gets half of it.
    """
    import pint

    application: Any = pint.application_registry
    if made is not None and _units_are_unused():
        application.set(made)


def _units_are_unused() -> bool:
    import pint

    application: Any = pint.application_registry
    return type(application.get()) is pint.registry.LazyRegistry  # its class changes with its first use
