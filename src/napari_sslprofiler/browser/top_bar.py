"""The browser's top: which table, what it is coloured by, the search, and menus."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from napari_sslprofiler import style

from .columns import title_of
from .gallery_flow import FlowBar
from .jobs import COMPUTED
from .state import BrowserState

_ONE_COLOUR = "one colour"
_WHAT_IS_FOUND = "what the search finds"


class TopBar(QWidget):
    """Two rows of controls, three where the widget is narrow.

    Signals
    -------
    computed_wanted
        A computed column's name that the person wants to colour by.
    """

    computed_wanted = Signal(str)

    def __init__(self, state: BrowserState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._offered: tuple[list[str], bool] = ([], False)  # columns on the list, and whether there is a table
        self.open_button = _menu_button("Open")
        self.select_button = _menu_button("Selection")
        self.map_button = _menu_button("Map")
        self.save_button = _menu_button("Save")
        self.table_name = style.ElidedLabel()
        self.colour = QComboBox()
        self.colour.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.colour.setMinimumContentsLength(10)
        self.colour.setMaxVisibleItems(30)
        self.colour.setAccessibleName("Colour by")
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search compounds, wells, plates …")
        self.search.setClearButtonEnabled(True)
        self.search.setAccessibleName("Search")
        self.only = QCheckBox("only these")
        self.only.setToolTip("Hide what the search does not find")
        first = QHBoxLayout()
        first.setSpacing(style.GAP)
        first.addWidget(self.open_button)
        first.addWidget(self.table_name, 1)
        for button in (self.select_button, self.map_button, self.save_button):
            first.addWidget(button)
        for widget in (self.colour, self.search):
            widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        second = FlowBar(QLabel("Colour by"), self.colour, self.search, self.only, gap=style.GAP)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setVerticalSpacing(style.GAP)
        layout.addLayout(first, 0, 0)
        layout.addWidget(second, 1, 0)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(150)
        self._typing.timeout.connect(self._search)
        self.search.textChanged.connect(lambda _: self._typing.start())
        self.search.returnPressed.connect(self._search)
        self.only.toggled.connect(lambda on: state.set_search(self.search.text(), on))
        self.colour.activated.connect(self._choose)
        self._fill_selection_menu()
        for event in (state.events.table, state.events.columns, state.events.colouring):
            event.connect(self.refresh)
        state.events.matches.connect(self._refresh_search)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show what the state says."""
        state, table = self._state, self._state.table
        self.table_name.set_words("" if table is None else table.path.name)
        if table is not None:
            self.table_name.setToolTip("\n".join([str(table.path), *table.notes]))
        for widget in (self.colour, self.search, self.only, self.select_button, self.map_button, self.save_button):
            widget.setEnabled(table is not None)
        colouring = state.colouring
        names = [name for name in state.column_names if name not in COMPUTED]
        offered = [name for name in names if name == colouring.column or state.columns.tells(name)]
        self.colour.blockSignals(True)
        if self._offered != (offered, table is not None):
            self._offered = (offered, table is not None)
            self._fill_colours()
        wanted = _WHAT_IS_FOUND if colouring.kind == "search" else colouring.column
        self.colour.setCurrentIndex(self.colour.findData(wanted))
        self.colour.blockSignals(False)

    def _fill_colours(self) -> None:
        names, opened = self._offered
        self.colour.clear()
        for name in names:
            self.colour.addItem(title_of(name), name)
        if opened:
            self.colour.insertSeparator(self.colour.count())
            for name in COMPUTED:
                self.colour.addItem(title_of(name), name)
            self.colour.insertSeparator(self.colour.count())
            self.colour.addItem(_ONE_COLOUR, "")
            self.colour.addItem(_WHAT_IS_FOUND, _WHAT_IS_FOUND)

    def _choose(self, place: int) -> None:
        name = self.colour.itemData(place)
        if name == _WHAT_IS_FOUND:
            self._state.colour_by_search()
        elif name in COMPUTED and (name == "Metadata_QueryDistance" or name not in self._state.column_names):
            self.computed_wanted.emit(name)
        elif name is not None:
            self._state.colour_by(name)

    def _search(self) -> None:
        self._typing.stop()
        self._state.set_search(self.search.text(), self.only.isChecked())

    def _refresh_search(self, *_: object) -> None:
        if self.search.text().strip() != self._state.search:
            self.search.blockSignals(True)
            self.search.setText(self._state.search)
            self.search.blockSignals(False)
        self.only.blockSignals(True)
        self.only.setChecked(self._state.search_hides)
        self.only.blockSignals(False)

    def _fill_selection_menu(self) -> None:
        state, menu = self._state, self.select_button.menu()
        menu.addAction("Select all that is shown\tCtrl+A", state.select_all)
        menu.addAction("Invert\tI", state.invert)
        menu.addAction("Clear\tEsc", state.clear_selection)
        menu.addAction("Select what the search finds", self._select_found)
        menu.addSeparator()
        menu.addAction("Show the selection alone", lambda: state.isolate(state.selection))
        menu.addAction("Hide the selection", lambda: state.isolate(state.filter & ~state.selection))
        menu.addAction("Show all", state.show_all)
        self.same_menu = menu.addMenu("Select the same as the current row")
        self.same_menu.aboutToShow.connect(self._fill_same)

    def _fill_same(self) -> None:
        self.same_menu.clear()
        table = self._state.table
        if table is None or self._state.current is None:
            self.same_menu.addAction("Click a point first").setEnabled(False)
            return
        roles = table.roles
        for name in dict.fromkeys(
            (roles.label, self._state.colouring.column, roles.plate, roles.well, roles.cell_line)
        ):
            if name:
                self.same_menu.addAction(title_of(name), partial(self._select_same, name))

    def _select_same(self, name: str) -> None:
        column, row = self._state.column(name), self._state.current
        if row is None:
            return
        codes = column.codes if column.names or column.values is None else column.values
        self._state.select((codes == codes[row]) & self._state.filter)

    def _select_found(self) -> None:
        if self._state.matches is not None:
            self._state.select(self._state.matches & self._state.filter)


def _menu_button(words: str) -> QToolButton:
    button = QToolButton()
    # An arrow of our own: napari's style puts Qt's over the last letter.
    button.setText(f"{words} ▾")
    button.setStyleSheet("QToolButton::menu-indicator { image: none; width: 0; } QToolButton { padding: 2px 6px; }")
    button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    button.setMenu(QMenu(button))
    return button
