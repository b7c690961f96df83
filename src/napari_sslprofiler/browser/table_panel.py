"""The table of what is selected or shown: searched, sorted, its columns chosen; linked both ways, copied as text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtGui import QGuiApplication, QKeySequence, QShortcut
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLineEdit, QMenu, QToolButton, QVBoxLayout, QWidget

from napari_sslprofiler import style

from .columns import Column, title_of
from .export_menu import TakeAway
from .gallery_flow import FlowBar, dress_menu_button
from .one_frame import FEW_ROWS, Prompt
from .state import BrowserState
from .table_panel_model import View, arrange_rows, as_text, default_columns
from .table_panel_view import TableModel, TableView

if TYPE_CHECKING:
    from napari import Viewer

MOST_COPIED = 100_000  # rows; a clipboard is no file


@dataclass(frozen=True, eq=False)
class Wish:
    """What is to be shown; columns are chosen by ``choose`` in the worker where nobody has chosen yet."""

    view: View
    column: Callable[[str], Column]
    choose: tuple[tuple[str, ...], tuple[str | None, ...]] | None = None


@dataclass(frozen=True, eq=False)
class Shown:
    """Rows in order, by these columns."""

    rows: NDArray[np.int64]
    columns: tuple[str, ...]
    sort: tuple[str, bool]


class TablePanel(QWidget):
    """Rows as a table."""

    def __init__(self, state: BrowserState, viewer: Viewer) -> None:
        super().__init__()
        self._state, self._viewer = state, viewer
        self.model = TableModel(state.values, lambda row: state.colouring.colour(row))
        self.view = TableView(self.model)
        self.search = QLineEdit()
        self.only_selected = QCheckBox("Selection only")
        self.columns_button, self.copy_button = QToolButton(), QToolButton()
        self.take_away = TakeAway(state, self)
        self.count = style.ElidedLabel()
        self.columns: tuple[str, ...] = ()  # none: to be chosen
        self.sort: tuple[str, bool] = ("", False)
        self._stale = True
        self._fitted: tuple[str, ...] = ()
        self._arranging: Prompt[Wish, Shown] = Prompt(_arrange, self._arranged, self.count.set_words, self)
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(150)
        self._set_up()
        self._lay_out()
        self._connect()
        self._arrange()

    @property
    def busy(self) -> bool:
        """Whether rows are being searched or sorted."""
        return self._arranging.busy or self._typing.isActive()

    # --- Building --------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        self.search.setPlaceholderText("Find in these columns …")
        self.search.setToolTip("Rows that hold all these words; the map is not changed")
        self.search.setClearButtonEnabled(True)
        self.search.setMinimumWidth(130)
        self.search.setSizePolicy(self.search.sizePolicy().Policy.Expanding, self.search.sizePolicy().Policy.Fixed)
        self.search.setAccessibleName("Find in the table")
        self.only_selected.setChecked(True)
        self.only_selected.setToolTip("Show what is selected; all that passes the filter when nothing is")
        dress_menu_button(self.columns_button, "Columns")
        self.copy_button.setText("Copy")
        self.copy_button.setToolTip("Copy the rows on show as text, for a spreadsheet (Ctrl+C)")
        for button in (self.columns_button, self.copy_button):
            button.setAutoRaise(True)
            button.setStyleSheet(
                "QToolButton::menu-indicator { image: none; width: 0; } QToolButton { padding: 2px 6px; }"
            )
        self.view.horizontalHeader().setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)

    def _lay_out(self) -> None:
        bar = FlowBar(self.search, self.columns_button, self.only_selected, gap=style.GAP)
        below = QHBoxLayout()
        below.addWidget(self.count, 1)
        below.addWidget(self.copy_button)
        below.addWidget(self.take_away)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(style.GAP, style.GAP, style.GAP, style.GAP)
        layout.setSpacing(style.GAP)
        layout.addWidget(bar)
        layout.addWidget(self.view, 1)
        layout.addLayout(below)

    def _connect(self) -> None:
        view, events = self.view, self._state.events
        view.clicked_row.connect(self._click)
        view.activated_row.connect(self._click)
        view.picked.connect(self._pick)
        view.hovered.connect(self._hover)
        view.horizontalHeader().sectionClicked.connect(self._sort_by)
        view.horizontalHeader().customContextMenuRequested.connect(self._header_menu)
        self.search.textChanged.connect(lambda _: self._typing.start())
        self._typing.timeout.connect(self._arrange)
        self.only_selected.toggled.connect(lambda _: self._arrange())
        self.columns_button.menu().aboutToShow.connect(self._fill_columns)
        self.copy_button.clicked.connect(self.copy)
        self.take_away.said.connect(self.count.set_words)
        shortcut = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self)
        shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        shortcut.activated.connect(self.copy)
        events.table.connect(self._new_table)
        events.columns.connect(self._new_columns)
        events.filter.connect(self._arrange)
        events.selection.connect(self._new_selection)
        events.current.connect(self._new_current)
        events.colouring.connect(self._new_colours)

    # --- From the state --------------------------------------------------------------------------------------------

    def _new_table(self) -> None:
        self.columns, self.sort, self._fitted = (), ("", False), ()
        self.model.show(np.empty(0, np.int64), (), self.sort)
        self.model.current = -1
        self._arrange()

    def _new_columns(self) -> None:
        names = set(self._state.column_names)
        kept = tuple(name for name in self.columns if name in names)
        added = () if not self.columns else tuple(n for n in self._state.column_names if n not in self._known)
        self.columns = (*kept, *added)  # a computed column is what somebody has just asked for
        if self.sort[0] not in names:
            self.sort = ("", False)
        gone = [name for name in self.model.columns if name not in names]
        if gone:
            self.model.show(self.model.rows, kept, self.sort)
        self._arrange()

    _known: frozenset[str] = frozenset()

    def _new_colours(self) -> None:
        self.view.verticalHeader().viewport().update()

    def _new_selection(self, selection: NDArray[np.bool_]) -> None:
        self.model.selected = selection
        if self.only_selected.isChecked():
            self._arrange()
        else:
            self.view.viewport().update()
            self._say()

    def _new_current(self, row: int | None) -> None:
        if row is None:
            self.model.current = -1
            self.view.viewport().update()
        elif row != self.model.current:
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
            self._stale = True
            return
        self._stale = False
        table = self._state.table
        if table is None:
            return
        self._known = frozenset(self._state.column_names)
        choose = None
        if not self.columns:
            roles = table.roles
            choose = (self._state.column_names, (roles.label, roles.plate, roles.well, roles.site, roles.cell_line))
        words = tuple(self.search.text().split())
        view = View(self.shown_rows(), self.columns, words, *self.sort)
        self._arranging.ask(Wish(view, self._state.column, choose), choose is None and len(table) <= FEW_ROWS)

    def _arranged(self, shown: Shown) -> None:
        if not set(shown.columns) <= set(self._state.column_names) or (shown.rows.max(initial=-1) >= len(self._state)):
            return  # of another table
        self.columns = shown.columns
        self.model.selected = self._state.selection
        self.model.tinted = not bool(self._state.selection[shown.rows].all())
        self.model.current = -1 if self._state.current is None else self._state.current
        self.model.show(shown.rows, shown.columns, shown.sort)
        if shown.columns != self._fitted:
            self._fitted = shown.columns
            self.view.fit_columns()
        self.view.lay_out()
        self._say()

    def _say(self) -> None:
        table, count = self._state.table, len(self.model.rows)
        unit = table.unit if table is not None else "row"
        words = f"{count:,} {unit}{'' if count == 1 else 's'}"
        selected = int(self._state.selection.sum())
        if self.search.text().strip():
            words += " found"
        elif self.only_selected.isChecked() and selected:
            words += " selected"
        if selected and not (self.only_selected.isChecked() and count == selected):
            words += f", {selected:,} selected"
        self.count.set_words(words)

    # --- From the person -------------------------------------------------------------------------------------------

    def _click(self, row: int) -> None:
        self.model.current = row
        self.view.viewport().update()
        self._state.current = row

    def _pick(self, rows: NDArray[np.int64], how: str) -> None:
        self._state.select(rows, "add" if how == "add" else "remove" if how == "remove" else "replace")

    def _hover(self, row: int) -> None:
        self._state.hovered = row if row >= 0 else None

    def _sort_by(self, section: int) -> None:
        """Up, down, then the table's order again."""
        name = self.model.columns[section]
        steps = {(name, False): (name, True), (name, True): ("", False)}
        self.sort = steps.get(self.sort, (name, False))
        self._arrange()

    def show_columns(self, names: tuple[str, ...]) -> None:
        """Show these columns, in this order."""
        self.columns = names
        self._arrange()

    def _fill_columns(self) -> None:
        menu = self.columns_button.menu()
        menu.clear()
        for name in self._state.column_names:
            action = menu.addAction(title_of(name))
            action.setCheckable(True)
            action.setChecked(name in self.columns)
            action.triggered.connect(partial(self._toggle_column, name))
        menu.addSeparator()
        menu.addAction("All columns", lambda: self.show_columns(self._state.column_names))

    def _toggle_column(self, name: str, on: bool) -> None:
        others = tuple(column for column in self.columns if column != name)
        if on or others:
            self.show_columns((*others, name) if on else others)

    def _header_menu(self, point: QPoint) -> None:
        section = self.view.horizontalHeader().logicalIndexAt(point)
        if section < 0:
            return
        name = self.model.columns[section]
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction(f"Colour by {title_of(name)}", lambda: self._state.colour_by(name))
        menu.addAction("Hide this column", lambda: self._toggle_column(name, False))
        menu.popup(self.view.horizontalHeader().mapToGlobal(point))

    def text(self) -> str:
        """The rows on show as tab-separated text, `MOST_COPIED` of them at most."""
        model = self.model
        rows = [
            [model.cell(row, column) for column in range(len(model.columns))]
            for row in range(min(len(model.rows), MOST_COPIED))
        ]
        return as_text([title_of(name) for name in model.columns], rows)

    def copy(self) -> None:
        """Put the rows on show on the clipboard."""
        QGuiApplication.clipboard().setText(self.text())
        count = min(len(self.model.rows), MOST_COPIED)
        more = "" if count == len(self.model.rows) else f" of {len(self.model.rows):,}; export takes all"
        self.count.set_words(f"copied {count:,} rows{more}")

    # --- Qt --------------------------------------------------------------------------------------------------------

    def showEvent(self, event: Any) -> None:
        """What changed while nobody looked."""
        super().showEvent(event)
        if self._stale:
            self._arrange()


def _arrange(wish: Wish) -> Shown:
    view, columns = wish.view, wish.view.columns
    if wish.choose is not None:
        columns = tuple(default_columns(*wish.choose, wish.column))
    ordered = arrange_rows(View(view.rows, columns, view.words, view.sort, view.descending), wish.column)
    return Shown(ordered, columns, (view.sort, view.descending))
