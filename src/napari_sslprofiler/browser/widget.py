"""Plugins > SSLProfiler > Browser: a map of a table, where every point leads back to its cells."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QResizeEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sslprofiler import style
from napari_sslprofiler.lifetime import hear, later
from napari_sslprofiler.state import session_of

from .banner import Banner
from .calm import Calm
from .dock_room import DockRoom
from .export_menu import TakeAway
from .image_link import ImageLink
from .jobs import COMPUTED, MAP_AT_ONCE, Jobs, Opened
from .layer_link import LayerLink
from .legend import Legend
from .map_tools import MapTools
from .map_view import MapView
from .one_frame import OneFrame
from .saved import SUFFIX, save_state
from .state import BrowserState
from .top_bar import TopBar

if TYPE_CHECKING:
    from napari import Viewer

_TABLES = (".parquet", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".h5ad", SUFFIX)
_FILTER = f"Tables and saved browsers (*.parquet *.csv *.csv.gz *.tsv *.tsv.gz *.h5ad *{SUFFIX});;All files (*)"
_WELCOME = (
    "Open a table of wells or sites, or drop one here.\n\n"
    "wells.parquet, sites.parquet, AnnData, and tables of CellProfiler and pycytominer"
)
# Panels by tab: module and class. Each takes (state, viewer).
_PANELS = (
    ("Neighbours", "neighbours_panel", "NeighboursPanel"),
    ("Gallery", "gallery_panel", "GalleryPanel"),
    ("Plates", "plates_panel", "PlatesPanel"),
    ("Table", "table_panel", "TablePanel"),
)
_FELT = 150  # milliseconds
# From this shape on the panels stand beside the map.
_WIDE = 1.45


class BrowserWidget(Calm):
    """Map, legend and panels of one table."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self.state = BrowserState()
        self.jobs = Jobs(self.state, self)
        self.images = ImageLink(self.state, napari_viewer, self)
        self.layers = LayerLink(self.state, napari_viewer, self)
        self._one_frame = OneFrame(self.state.events, self)
        self.top = TopBar(self.state)
        self.banner = Banner()
        self.map = MapView(self.state)
        self.tools = MapTools(self.map)
        self.legend = Legend(self.state)
        self.panels = QTabWidget()
        self.panels.setDocumentMode(True)
        self.panels.tabBar().setDrawBase(False)  # a white line in napari's dark theme
        self.status = style.ElidedLabel()
        self.take_away = TakeAway(self.state, self)  # its menu's entries stand in the menu of the selection
        self.take_away.hide()
        self.progress = QProgressBar()
        self.progress.setMaximumHeight(14)
        self.cancel = QPushButton("Cancel")
        self.setAcceptDrops(True)
        self.setMinimumSize(360, 420)
        DockRoom(self)
        self._lay_out()
        self._fill_menus()
        self._connect()
        self._opening = ""
        self._slow = later(self, _FELT, lambda: self.status.set_words(self._opening))
        self._pages: dict[str, tuple[str, str]] = {}
        self._add_panels()
        self.map.say(_WELCOME)
        self._show_progress(-1, 0, None)
        if self._session.table is not None:
            self.open(self._session.table)

    # --- Building --------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        upper = QSplitter(Qt.Orientation.Horizontal)
        upper.addWidget(self.map)
        upper.addWidget(Calm(self.legend))
        upper.setStretchFactor(0, 1)
        upper.setStretchFactor(1, 0)
        upper.setSizes([425, 195])
        upper.setChildrenCollapsible(False)
        self.split = QSplitter(Qt.Orientation.Vertical)
        self.split.addWidget(upper)
        self.split.addWidget(self.panels)
        self.split.setStretchFactor(0, 3)
        self.split.setStretchFactor(1, 2)
        bottom = QHBoxLayout()
        bottom.addWidget(self.status, 1)
        bottom.addWidget(self.progress)
        bottom.addWidget(self.cancel)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(style.MARGIN, style.MARGIN, style.MARGIN, style.GAP)
        layout.setSpacing(style.GAP)
        layout.addWidget(self.top)
        layout.addWidget(self.banner)
        layout.addWidget(self.split, 1)
        layout.addLayout(bottom)
        self.hold(content)

    def _fill_menus(self) -> None:
        menu = self.top.open_button.menu()
        menu.addAction("Table or saved browser …", self.ask_table)
        menu.addAction("Sites table (a folder) …", self.ask_folder)
        menu.addSeparator()
        menu.addAction("Where are the images? …", self.ask_images)
        menu = self.top.select_button.menu()
        menu.addSeparator()
        menu.addActions(self.take_away.menu().actions())
        menu.aboutToShow.connect(self.take_away.refresh)
        menu = self.top.map_button.menu()
        self._plain = menu.addAction("Profiles as they are", lambda: self.jobs.make_map(centred=False))
        self._centred = menu.addAction("Each plate centred first", lambda: self.jobs.make_map(centred=True))
        for action in (self._plain, self._centred):
            action.setCheckable(True)
        menu.aboutToShow.connect(self._refresh_map_menu)
        menu.addSeparator()
        menu.addAction("Show all\tH", self.map.home)
        menu.addAction("Centre on the current row\tC", self.map.centre_on_current)
        menu = self.top.save_button.menu()
        menu.addAction("Picture of the map …", self.ask_picture)
        menu.addAction("This browser, for a colleague …", self.ask_save)

    def _connect(self) -> None:
        self.jobs.opened.connect(self._opened)
        self.jobs.problem.connect(self._say_problem)
        self.jobs.map_progress.connect(self._show_progress)
        self.jobs.computing.connect(self._say_computing)
        self.take_away.said.connect(self.status.set_words)
        self.images.unknown.connect(self._ask_where)
        self.images.problem.connect(self.banner.say)
        self.images.status.connect(self.status.set_words)
        self.top.computed_wanted.connect(self.compute)
        self.cancel.clicked.connect(self.jobs.cancel_map)
        self.panels.currentChanged.connect(self._fill_panel)
        hear(self._session.events.table, self._session_table, self)
        self.state.events.positions.connect(lambda _: self._refresh_message())
        # Not when all is done: what is begun with a table may run the event loop, and the timer with it.
        self.state.events.table.connect(lambda _: self._slow.stop())

    def _add_panels(self) -> None:
        for title, module, name in _PANELS:
            path = f"{__package__}.{module}"
            if importlib.util.find_spec(path) is None:
                continue
            self._pages[title] = (path, name)
            self.panels.addTab(Calm(), title)
        self.panels.setVisible(self.panels.count() > 0)
        self._fill_panel(0)

    def _fill_panel(self, place: int) -> None:
        """A panel is made when it is first looked at."""
        page = self.panels.widget(place)
        if not isinstance(page, Calm) or page.content is not None:
            return
        path, name = self._pages[self.panels.tabText(place)]
        try:
            panel: QWidget = getattr(importlib.import_module(path), name)(self.state, self._viewer)
        except Exception as error:
            panel = QLabel(f"This panel cannot be shown: {error}")
        page.hold(panel)

    def panel(self, title: str) -> QWidget | None:
        """A panel by its tab's title, made and brought to the front; None where there is no such tab."""
        for place in range(self.panels.count()):
            if self.panels.tabText(place) == title:
                self.panels.setCurrentIndex(place)
                self._fill_panel(place)
                page = self.panels.widget(place)
                return page.content if isinstance(page, Calm) else None
        return None

    # --- Tables ----------------------------------------------------------------------------------------------------

    def open(self, path: Path | str) -> None:
        """Open a table or a saved browser, soon: it is read in a thread."""
        self.banner.hide()
        # Words for a wait that can be felt: each frame of the window would delay what is waited for.
        self._opening = f"opening {Path(path).name} …"
        self._slow.start()
        self.jobs.open(Path(path))

    def ask_table(self) -> None:
        """Let the person choose a table or a saved browser."""
        path, _ = QFileDialog.getOpenFileName(self, "Open a table", self._folder(), _FILTER)
        if path:
            self.open(path)

    def ask_folder(self) -> None:
        """Let the person choose a sites table."""
        path = QFileDialog.getExistingDirectory(self, "Open a sites table", self._folder())
        if path:
            self.open(path)

    def ask_images(self) -> None:
        """Let the person say where the images are."""
        path = QFileDialog.getExistingDirectory(self, "Where are the images of these plates?", self._folder())
        if path:
            self.images.look_in(Path(path))

    def ask_save(self) -> None:
        """Save the state for a colleague."""
        table = self.state.table
        if table is None:
            return
        start = str(table.path.parent / (table.path.name.split(".")[0] + SUFFIX))
        path, _ = QFileDialog.getSaveFileName(self, "Save this browser", start, f"Saved browser (*{SUFFIX})")
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Save the state; problems are said in the banner."""
        from sslprofiler_core.errors import UserError

        try:
            written = save_state(self.state, path, {"centred": self.jobs.centred})
        except UserError as error:
            self.banner.say(str(error))
        else:
            self.status.set_words(f"saved {written.name}")

    def ask_picture(self) -> None:
        """Save a picture of the map."""
        table = self.state.table
        if table is None or self.state.positions is None:
            return
        start = str(table.path.parent / f"{table.path.name.split('.')[0]}-map.png")
        path, _ = QFileDialog.getSaveFileName(self, "Save a picture", start, "Picture (*.png *.svg)")
        if path:
            self.save_picture(Path(path))

    def save_picture(self, path: Path) -> None:
        """Save the map as on show, with its legend, as PNG or SVG; problems are said in the banner."""
        from sslprofiler_core.errors import UserError

        from .picture import save_picture

        try:
            view = None if self.map.at_home else self.map.view
            save_picture(self.state, view, path, size=self.map.overlay.marks.radius * 2, dense=self.map.dense)
        except UserError as error:
            self.banner.say(str(error))
        else:
            self.status.set_words(f"saved {path.name}")

    def compute(self, name: str) -> None:
        """Compute a column and colour by it."""
        recipe = dict(COMPUTED[name])
        if recipe["kind"] == "distance":
            if self.state.current is None:
                self.banner.say("Click a point first: distances are measured from the current row.")
                self.top.refresh()
                return
            recipe["rows"] = [self.state.current]
        self.jobs.compute(name, recipe)

    def _folder(self) -> str:
        return str(self.state.table.path.parent) if self.state.table is not None else ""

    def _session_table(self, path: Path | None) -> None:
        shown = self.state.table
        # The same path given anew is a table that was written anew: what is read of it later must fit what is on show.
        if path is not None and (shown is None or shown.path is not path):
            self.open(path)

    def _say_problem(self, message: str) -> None:
        self._slow.stop()
        if self.status.words == self._opening:
            self.status.set_words("")
        self.banner.say(message)

    def _opened(self, opened: Opened) -> None:
        table = opened.table
        self._session.table = table.path
        if table.notes:
            self.banner.say(" ".join(table.notes))
        self._refresh_message()

    def _refresh_message(self) -> None:
        table = self.state.table
        words = ""
        if table is None:
            words = _WELCOME
        elif self.state.positions is None:
            words = f"{len(table):,} {table.unit}s have no map yet."
            if self.jobs.laying_out:
                words = f"Laying out {len(table):,} {table.unit}s …"
            elif len(table) > MAP_AT_ONCE:
                words += "\n\nMap > Profiles as they are lays it out; that takes a while."
        self.map.say(words)

    def _refresh_map_menu(self) -> None:
        made = self.state.positions is not None
        self._plain.setChecked(made and not self.jobs.centred)
        self._centred.setChecked(made and self.jobs.centred)
        table = self.state.table
        self._centred.setEnabled(table is not None and table.roles.plate is not None)

    def _show_progress(self, done: int, total: int, left: float | None) -> None:
        running = done >= 0
        self.progress.setVisible(running)
        self.cancel.setVisible(running)
        if not running:
            self._refresh_message()
            return
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        table = self.state.table
        if table is not None and self.state.positions is None:
            words = f"Laying out {len(table):,} {table.unit}s …"
            if left is not None and total:
                words += f"\nabout {style.seconds_text(left)} left"
            self.map.say(words)

    def _say_computing(self, words: str) -> None:
        self.status.set_words(f"computing: {words} …" if words else "")

    def _ask_where(self) -> None:
        self.banner.ask(
            "Where are the images of these plates?",
            ("Choose a folder …", self.ask_images),
            ("None at hand", self.images.decline),
        )

    # --- The window ------------------------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files that may be tables."""
        if _dropped(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        path = _dropped(event)
        if path is not None:
            event.acceptProposedAction()
            self.open(path)

    def sizeHint(self) -> QSize:
        """Room for a map, its legend and five thumbnails a row, beside napari's canvas on a small screen."""
        return QSize(620, 760)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Put the panels beside the map where there is room."""
        super().resizeEvent(event)
        wide = self.width() > 900 and self.width() > _WIDE * self.height()
        way = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if self.split.orientation() != way or event.oldSize().width() <= 0:
            self.split.setOrientation(way)
            self.split.setSizes([530, 470])  # in parts

    def hideEvent(self, event: QEvent) -> None:
        """The card belongs to the pointer."""
        self.map.card.hide()

    def closeEvent(self, event: QEvent) -> None:
        """Stop what is under way."""
        self.jobs.stop()


def _dropped(event: QDragEnterEvent | QDropEvent) -> Path | None:
    for url in event.mimeData().urls():
        path = Path(url.toLocalFile())
        if path.name.lower().endswith(_TABLES):
            return path
    return None
