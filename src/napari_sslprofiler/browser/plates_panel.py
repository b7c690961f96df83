"""Plates of the same selection, in the map's colours: one large, all of them small beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication, QResizeEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_sslprofiler import style
from napari_sslprofiler.background import Latest
from napari_sslprofiler.names_box import NamesBox
from napari_sslprofiler.plates.plate_map import PlateMap

from .colouring import Colouring
from .columns import Column
from .gallery_flow import FlowBar
from .jobs import compute
from .one_frame import FEW_ROWS, Prompt
from .palette import hex_of
from .plates_panel_grid import Grid, grid_of, well_colours, words_of_rows
from .plates_panel_key import ColourKey
from .plates_panel_strip import PlateStrip
from .state import BrowserState, TableView

if TYPE_CHECKING:
    from napari import Viewer

CONTROLS = "Metadata_ControlDistance"


@dataclass(frozen=True, eq=False)
class Wish:
    """What is to be drawn; columns that are ``named`` are made ready on the way."""

    table: TableView
    colouring: Colouring
    shown: NDArray[np.bool_]
    named: tuple[str | None, ...]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Wells of all plates in their colours; None where the table has no wells."""

    table: TableView
    grid: Grid | None
    colours: NDArray[np.uint8]
    there: NDArray[np.bool_]


class PlatesPanel(QWidget):
    """One plate large, all plates small; wells are selected by clicking and dragging."""

    def __init__(self, state: BrowserState, viewer: Viewer) -> None:
        super().__init__()
        self._state, self._viewer = state, viewer
        self.map, self.strip, self.key = PlateMap(), PlateStrip(), ColourKey()
        self.plate_box = NamesBox("Plate")
        self.before, self.after = QToolButton(), QToolButton()
        self.everywhere = QCheckBox("Select on all plates")
        self.controls_button = QPushButton()
        self.note = QLabel()
        self.pages, self.split = QStackedWidget(), QSplitter(Qt.Orientation.Horizontal)
        self.grid: Grid | None = None
        self._drawn: Drawn | None = None
        self._grids: dict[int, tuple[TableView, Grid | None]] = {}
        self._setting = False
        self._stale = True
        self._drawing: Prompt[Wish, Drawn] = Prompt(self._draw, self._show, self.note.setText, self)
        self._computing: Latest[TableView, tuple[TableView, NDArray[Any]]] = Latest(
            _control_distances, self._computed, self._not_computed, self
        )
        self._set_up()
        self._lay_out()
        self._connect()
        self._redraw()

    @property
    def busy(self) -> bool:
        """Whether plates are being drawn or distances computed."""
        return self._drawing.busy or self._computing.busy

    @property
    def plate(self) -> int:
        """The plate that is shown large."""
        return self.plate_box.currentIndex()

    # --- Building --------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        self.plate_box.setMinimumContentsLength(11)
        self.plate_box.setMaxVisibleItems(30)
        for button, words, tip, step in (
            (self.before, "‹", "The plate before", -1),
            (self.after, "›", "The next plate", 1),
        ):
            button.setText(words)
            button.setToolTip(tip)
            button.setAccessibleName(tip)
            button.setAutoRaise(True)
            button.clicked.connect(lambda _, step=step: self._step(step))
        self.everywhere.setToolTip("What is selected here is selected at the same well positions of every plate")
        self.controls_button.setText("Distance to controls")
        self.controls_button.setToolTip("Colour by the distance to the mean profile of the plate's own controls")
        self.note.setWordWrap(True)
        self.note.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def _lay_out(self) -> None:
        chooser = QWidget()
        inner = QHBoxLayout(chooser)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(0)
        for widget in (self.before, self.plate_box, self.after):
            inner.addWidget(widget)
        bar = FlowBar(chooser, self.everywhere, self.controls_button, gap=style.GAP)
        large = QWidget()
        column = QVBoxLayout(large)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.map, 1)
        self.split.addWidget(large)
        self.split.addWidget(self.strip)
        self.split.setStretchFactor(0, 3)
        self.split.setStretchFactor(1, 1)
        self.split.setSizes([420, 150])
        self.split.setChildrenCollapsible(False)
        self.pages.addWidget(self.split)
        self.pages.addWidget(self.note)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(style.GAP, style.GAP, style.GAP, style.GAP)
        layout.setSpacing(style.GAP)
        layout.addWidget(bar)
        layout.addWidget(self.pages, 1)
        layout.addWidget(self.key)

    def _connect(self) -> None:
        self.plate_box.currentIndexChanged.connect(lambda _: self._show_plate())
        self.map.clicked.connect(self._click)
        self.map.activated.connect(self._click)
        self.map.selection_changed.connect(self._select)
        self.map.hovered.connect(self._hover)
        self.strip.clicked.connect(self._click_strip)
        self.strip.hovered.connect(self._hover_strip)
        self.controls_button.clicked.connect(self.colour_by_controls)
        events = self._state.events
        events.table.connect(self._redraw)
        events.filter.connect(self._redraw)
        events.colouring.connect(self._redraw)
        events.selection.connect(self._show_selection)
        events.current.connect(self._new_current)

    # --- From the state --------------------------------------------------------------------------------------------

    def _redraw(self) -> None:
        if not self.isVisible():
            self._stale = True
            return
        self._stale = False
        table = self._state.table
        if table is None:
            self._say("Open a table to see its plates.")
            return
        names = (table.label, self._state.colouring.column)
        wish = Wish(table, self._state.colouring, self._state.filter, names)
        kept = self._grids.get(0)
        self._drawing.ask(wish, kept is not None and kept[0] is table and len(table) <= FEW_ROWS)

    def _draw(self, wish: Wish) -> Drawn:
        """A table's grid is made once, in a thread."""
        kept = self._grids.get(0)
        grid = kept[1] if kept is not None and kept[0] is wish.table else grid_of(wish.table)
        self._grids[0] = (wish.table, grid)
        for name in wish.named:
            self._column(name)
        if grid is None:
            return Drawn(wish.table, None, np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, 1, 1), bool))
        return Drawn(wish.table, grid, *well_colours(grid, wish.colouring, wish.shown))

    def _show(self, drawn: Drawn) -> None:
        if drawn.table is not self._state.table:
            return
        self._drawn = drawn
        self.key.show_colouring(self._state.colouring)
        grid = drawn.grid
        if grid is None or not grid.plates:
            self._say("The table has no column of wells, so there is no plate to show.")
            return
        self.pages.setCurrentIndex(0)
        if grid is not self.grid:
            self.grid = grid
            self.plate_box.blockSignals(True)
            self.plate_box.clear()
            self.plate_box.addItems(grid.plates)
            self.plate_box.blockSignals(False)
            several = len(grid.plates) > 1
            for widget in (self.before, self.after, self.everywhere, self.strip):
                widget.setVisible(several)
        self.strip.set_plates(grid.plates, drawn.colours, drawn.there)
        self._show_current(follow=True)
        self._show_plate()

    def _say(self, words: str) -> None:
        self.grid = None
        self.note.setText(words)
        self.pages.setCurrentIndex(1)

    def _show_plate(self) -> None:
        """The large plate: colours, words, selection."""
        drawn, grid, plate = self._drawn, self.grid, self.plate
        if drawn is None or grid is None or drawn.grid is not grid or plate < 0:
            return
        rows, columns = np.nonzero(drawn.there[plate])
        places = rows * grid.shape[1] + columns
        names = [grid.well_of(int(place)) for place in places]
        colours = [hex_of(colour) for colour in drawn.colours[plate, rows, columns]]
        self._setting = True
        self.map.set_wells(dict(zip(names, colours, strict=True)), self._words_of, grid.shape)
        self._setting = False
        self.before.setEnabled(plate > 0)
        self.after.setEnabled(plate < len(grid.plates) - 1)
        self.strip.set_current(plate, self.strip.place)
        self._show_selection()
        self._show_current(follow=False)

    def _words_of(self, well: str) -> str:
        """What is known of a well of the large plate."""
        grid, table = self.grid, self._state.table
        if grid is None or table is None:
            return ""
        columns = (self._column(table.label), self._column(self._state.colouring.column))
        rows = grid.rows_of(self.plate, np.array([grid.place_of(well)]))
        rows = rows[self._state.filter[rows]]
        return "\n".join([well, *words_of_rows(rows, *columns)]) if rows.size else ""

    def _column(self, name: str | None) -> Column | None:
        return self._state.column(name) if name and name in self._state.column_names else None

    def _show_selection(self) -> None:
        grid = self.grid
        if grid is None or not self.isVisible():
            return
        wells = grid.shape[0] * grid.shape[1]
        cells = grid.cells[self._state.selected_rows()]
        marked = np.bincount(cells[cells >= 0], minlength=len(grid.plates) * wells) > 0
        selected = marked.reshape(len(grid.plates), wells)
        self.strip.set_selected(selected)
        if self.plate >= 0:
            self._setting = True
            self.map.selected = frozenset(grid.well_of(int(p)) for p in np.flatnonzero(selected[self.plate]))
            self._setting = False

    def _new_current(self) -> None:
        self._show_current(follow=True)

    def _show_current(self, *, follow: bool) -> None:
        grid, row = self.grid, self._state.current
        if grid is None or row is None or grid.place[row] < 0:
            return
        plate, place = int(grid.plate[row]), int(grid.place[row])
        if follow and plate >= 0 and plate != self.plate:
            self.plate_box.setCurrentIndex(plate)
        self.map.current = grid.well_of(place) if plate == self.plate else ""
        self.strip.set_current(self.plate, place)

    # --- From the person -------------------------------------------------------------------------------------------

    def _step(self, step: int) -> None:
        self.plate_box.setCurrentIndex(int(np.clip(self.plate + step, 0, self.plate_box.count() - 1)))

    def _first_row(self, plate: int, place: int) -> int | None:
        if self.grid is None:
            return None
        rows = self.grid.rows_of(plate, np.array([place]))
        rows = rows[self._state.filter[rows]]
        return int(rows[0]) if rows.size else None

    def _click(self, well: str) -> None:
        if self.grid is None:
            return
        place = self.grid.place_of(well)
        row = self._first_row(self.plate, place)
        self.strip.set_current(self.plate, place)
        if row is not None:
            self._state.current = row

    def _click_strip(self, plate: int, place: int) -> None:
        self.plate_box.setCurrentIndex(plate)
        if place >= 0:
            row = self._first_row(plate, place)
            self.strip.set_current(plate, place)
            if row is not None:
                self._state.current = row

    def _select(self, wells: frozenset[str]) -> None:
        if self._setting or self.grid is None:
            return
        grid, state = self.grid, self._state
        places = np.array([grid.place_of(well) for well in wells], np.int64)
        chosen = grid.rows_of(None if self.everywhere.isChecked() else self.plate, places)
        mask = np.zeros(len(state), bool)
        mask[chosen] = True
        mask &= state.filter
        keep = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        if QGuiApplication.keyboardModifiers() & keep and not self.everywhere.isChecked():
            mask |= state.selection & (grid.plate != self.plate)  # other plates stay as they are
        state.selection = mask

    def _hover(self, well: str) -> None:
        place = self.grid.place_of(well) if self.grid is not None and well else -1
        self._state.hovered = self._first_row(self.plate, place) if place >= 0 else None

    def _hover_strip(self, plate: int, place: int) -> None:
        self._state.hovered = self._first_row(plate, place) if place >= 0 else None

    # --- Distance to the controls ----------------------------------------------------------------------------------

    def colour_by_controls(self) -> None:
        """Colour everything by the distance to the plate's controls; reads features where nobody has yet."""
        table = self._state.table
        if table is None:
            return
        if CONTROLS in self._state.column_names:
            self._state.colour_by(CONTROLS)
            return
        self.controls_button.setEnabled(False)
        self.controls_button.setText("Computing …")
        self._computing.ask(table)

    def _computed(self, made: tuple[TableView, NDArray[Any]]) -> None:
        self._not_computed("")
        table, values = made
        if table is self._state.table:
            self._state.add_column(CONTROLS, values, {"kind": "controls"})
            self._state.colour_by(CONTROLS)

    def _not_computed(self, message: str) -> None:
        self.controls_button.setEnabled(True)
        self.controls_button.setText("Distance to controls")
        self.controls_button.setToolTip(message or "Colour by the distance to the mean of the plate's own controls")
        if message:
            self.controls_button.setText("No controls known")

    # --- Qt --------------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The small plates stand below where there is no room beside."""
        super().resizeEvent(event)
        beside = self.width() > 460 and self.width() > 0.9 * self.height()
        way = Qt.Orientation.Horizontal if beside else Qt.Orientation.Vertical
        if self.split.orientation() != way:
            self.split.setOrientation(way)
            self.split.setSizes([420, 150] if beside else [300, 140])

    def showEvent(self, event: Any) -> None:
        """What changed while nobody looked."""
        super().showEvent(event)
        if self._stale:
            self._redraw()
        else:
            self._show_selection()


def _control_distances(table: TableView) -> tuple[TableView, NDArray[Any]]:
    return table, compute(table, {"kind": "controls"}, lambda done, total: None)
