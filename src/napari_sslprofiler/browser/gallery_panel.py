"""The gallery: thumbnails of the selection, or of all that is shown; sorted, grouped, and linked both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QSlider, QToolButton, QVBoxLayout, QWidget

from napari_sslprofiler import style
from napari_sslprofiler.background import Latest
from napari_sslprofiler.site_display import display_of

from .columns import title_of
from .export_menu import TakeAway
from .gallery_flow import FlowBar
from .gallery_layout import Group
from .gallery_order import arrange
from .gallery_view import SIZES, GalleryView
from .one_frame import FEW_ROWS, Prompt
from .state import BrowserState
from .thumbnails_bar import ChannelBar
from .thumbnails_link import thumbnails_of

if TYPE_CHECKING:
    from napari import Viewer
    from pandas import DataFrame

    from sslprofiler_core.plates import Plate, Site

    from .images import Images

_TABLE_ORDER = "Sort by …"
_NO_GROUPS = "Group by …"


@dataclass(frozen=True, eq=False)
class Wish:
    """What is to be shown, and how."""

    metadata: DataFrame
    rows: NDArray[np.int64]
    sort: str
    descending: bool
    group: str
    keep_place: bool


@dataclass(frozen=True, eq=False)
class Order:
    """Rows in order, and their groups."""

    rows: NDArray[np.int64]
    groups: tuple[Group, ...]
    keep_place: bool


class GalleryPanel(QWidget):
    """Thumbnails of rows.

    With nothing selected it shows all rows that pass the filter, and what is picked there becomes the selection; with
    a selection it shows that, and picking thins it out or adds to it.
    """

    def __init__(self, state: BrowserState, viewer: Viewer) -> None:
        super().__init__()
        self._state, self._viewer = state, viewer
        self.thumbnails = thumbnails_of(state, viewer)
        self.view = GalleryView(self.thumbnails.store, self.thumbnails.caption, self.thumbnails.reason)
        self.only_selected = QCheckBox("Selection only")
        self.only_selected.setToolTip("Show what is selected; all that passes the filter when nothing is")
        self.only_selected.setChecked(True)
        self.sort, self.group = QComboBox(), QComboBox()
        self.descending = QToolButton()
        self.zoom = QSlider(Qt.Orientation.Horizontal)
        self.channels = ChannelBar(self.thumbnails)
        self.count = style.ElidedLabel()
        self.take_away = TakeAway(state, self)
        self._picking = False
        self._ordering: Prompt[Wish, Order] = Prompt(_order, self._ordered, self.count.set_words, self)
        self._finding: Latest[tuple[Images, int], tuple[int, tuple[Plate, tuple[Site, ...]] | None]] = Latest(
            _find, self._found, self.count.set_words, self
        )
        self._stale = True
        self._set_up()
        self._lay_out()
        self._connect()
        self._new_columns()

    @property
    def busy(self) -> bool:
        """Whether rows are being put in order, or pictures made."""
        return self._ordering.busy or self.thumbnails.store.busy

    # --- Building --------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        for box, name, tip in (
            (self.sort, "Sort by", "Sort by a column"),
            (self.group, "Group by", "Put rows with one value of a column under a heading"),
        ):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(7)
            box.setMaxVisibleItems(30)
            box.setAccessibleName(name)
            box.setToolTip(tip)
        self.descending.setCheckable(True)
        self.descending.setText("↑")
        self.descending.setToolTip("Largest first")
        self.descending.setAccessibleName("Largest first")
        self.zoom.setRange(*SIZES)
        self.zoom.setValue(self.view.side)
        self.zoom.setFixedWidth(90)
        self.zoom.setToolTip("Size of the thumbnails")
        self.zoom.setAccessibleName("Size of the thumbnails")
        self.view.empty_words = "Nothing to show: no row passes the filter."

    def _lay_out(self) -> None:
        controls = (self.channels, self.sort, self.descending, self.group, self.zoom, self.only_selected)
        bar = FlowBar(*controls, gap=style.GAP)
        below = QHBoxLayout()
        below.addWidget(self.count, 1)
        below.addWidget(self.take_away)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(style.GAP, style.GAP, style.GAP, style.GAP)
        layout.setSpacing(style.GAP)
        layout.addWidget(bar)
        layout.addWidget(self.view, 1)
        layout.addLayout(below)

    def _connect(self) -> None:
        view, state = self.view, self._state
        view.clicked.connect(self._click)
        view.activated.connect(self.show_in_napari)
        view.picked.connect(self._pick)
        view.hovered.connect(self._hover)
        self.take_away.said.connect(self.count.set_words)
        self.zoom.valueChanged.connect(self._resize)
        self.sort.currentIndexChanged.connect(lambda _: self._arrange())
        self.group.currentIndexChanged.connect(lambda _: self._arrange())
        self.descending.toggled.connect(self._turn)
        self.only_selected.toggled.connect(lambda _: self._arrange())
        self.thumbnails.store.arrived.connect(self._pictures_came)
        self.thumbnails.store.changed.connect(self._again)
        state.events.columns.connect(self._new_columns)
        state.events.filter.connect(self._arrange)
        state.events.selection.connect(self._new_selection)
        state.events.current.connect(self._new_current)

    # --- From the state --------------------------------------------------------------------------------------------

    def _new_columns(self) -> None:
        for box, none in ((self.sort, _TABLE_ORDER), (self.group, _NO_GROUPS)):
            chosen = box.currentData()
            box.blockSignals(True)
            box.clear()
            box.addItem(none, "")
            for name in self._state.column_names:
                box.addItem(title_of(name), name)
            box.setCurrentIndex(max(0, box.findData(chosen)))
            box.blockSignals(False)
        self._arrange()

    def _new_selection(self) -> None:
        if self.only_selected.isChecked():
            self._arrange()
        else:
            self._mark()
            self._say(len(self.view.rows))

    def _mark(self) -> None:
        """Frame what is selected, unless all on show is."""
        selection, rows = self._state.selection, self.view.rows
        whole = bool(rows.size) and bool(selection[rows].all())
        self.view.set_marked(frozenset() if whole and self.only_selected.isChecked() else selection)

    def _new_current(self, row: int | None) -> None:
        if row is None:
            self.view.current = -1
            self.view.refresh()
        elif row != self.view.current:
            self.view.show_row(row)

    def shown_rows(self) -> NDArray[np.int64]:
        """The selection where it is what is shown, else all that passes the filter; ascending."""
        if self.only_selected.isChecked():
            selected = self._state.selected_rows()
            if selected.size:
                return selected
        return np.flatnonzero(self._state.filter)

    def _arrange(self) -> None:
        if not self.isVisible():
            self._stale = True  # in a tab that nobody looks at
            return
        self._stale = False
        keep = self._picking
        wish = Wish(
            self._state.metadata,
            self.shown_rows(),
            self.sort.currentData() or "",
            self.descending.isChecked(),
            self.group.currentData() or "",
            keep,
        )
        self._ordering.ask(wish, len(self._state) <= FEW_ROWS)

    def _ordered(self, order: Order) -> None:
        if order.rows.max(initial=-1) >= len(self._state):
            return  # of another table
        self.view.set_items(order.rows, order.groups, keep_place=order.keep_place)
        self._mark()
        self._say(len(order.rows))
        if self._state.current is not None:
            self.view.current = self._state.current

    def _say(self, count: int) -> None:
        table = self._state.table
        unit = f"{table.unit}s" if table is not None else "rows"
        selected = int(self._state.selection.sum())
        words = f"{count:,} {unit}"
        if self.only_selected.isChecked() and selected:
            words += " selected"
        elif selected:
            words += f", {selected:,} selected"
        self.count.set_words(words)

    def _pictures_came(self) -> None:
        self.view.refresh()

    def _again(self) -> None:
        self.view.refresh()
        self.view.ask()

    # --- From the person -------------------------------------------------------------------------------------------

    def _click(self, row: int) -> None:
        self._state.current = row

    def show_in_napari(self, row: int) -> None:
        """Make a row the current one, and show its site, also where it was current already."""
        self._state.current = row
        if self._state.images is not None:
            self._finding.ask((self._state.images, row))

    def _found(self, found: tuple[int, tuple[Plate, tuple[Site, ...]] | None]) -> None:
        row, images = found
        if images is not None and row == self._state.current:
            plate, sites = images
            display_of(self._viewer).show(plate, sites[0], caption=self.thumbnails.caption(row)[0])

    def _pick(self, rows: NDArray[np.int64], how: str) -> None:
        self._picking = True
        try:
            self._state.select(rows, "add" if how == "add" else "remove" if how == "remove" else "replace")
        finally:
            self._picking = False

    def _hover(self, row: int) -> None:
        self._state.hovered = row if row >= 0 else None

    def _resize(self, side: int) -> None:
        self.view.side = side

    def _turn(self, descending: bool) -> None:
        self.descending.setText("↓" if descending else "↑")
        self._arrange()

    # --- Qt --------------------------------------------------------------------------------------------------------

    def showEvent(self, event: Any) -> None:
        """What changed while nobody looked."""
        super().showEvent(event)
        if self._stale:
            self._arrange()
        self.view.ask()


def _order(wish: Wish) -> Order:
    rows, groups = arrange(wish.metadata, wish.rows, sort=wish.sort, descending=wish.descending, group=wish.group)
    return Order(rows, groups, wish.keep_place)


def _find(wish: tuple[Images, int]) -> tuple[int, tuple[Plate, tuple[Site, ...]] | None]:
    images, row = wish
    return row, images.sites(row)
