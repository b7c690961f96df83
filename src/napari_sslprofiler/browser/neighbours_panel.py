"""The panel of neighbours: who is near the current row or the selected group, side by side with it in napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_sslprofiler import style
from napari_sslprofiler.background import Latest
from napari_sslprofiler.lifetime import later
from napari_sslprofiler.site_display import display_of

from .gallery_flow import FlowBar
from .gallery_view import GalleryView
from .neighbours_panel_query import Answer, Finder, Position, Question, alignment_warning, features_bytes
from .one_frame import Prompt
from .state import BrowserState
from .thumbnails_bar import ChannelBar
from .thumbnails_link import thumbnails_of

if TYPE_CHECKING:
    from napari import Viewer

    from sslprofiler_core.exploring import TableView
    from sslprofiler_core.exploring.queries import Same
    from sslprofiler_core.plates import Plate, Site

    from .images import Images

# From this size on a button asks before features are read.
ASK_BYTES = 1 << 30
_PATIENCE = 40  # milliseconds until a click's site is on its way
_NOT_SAME: tuple[Same, ...] = ("plate", "well", "position", "compound")
_TIPS = {
    "plate": "Leave out rows of the same plate",
    "well": "Leave out the other sites of the same well",
    "position": "Leave out the same well position on every plate",
    "compound": "Leave out rows of the same compound",
    "cell_line": "Only rows of the same cell line",
}


@dataclass(frozen=True, eq=False)
class Pair:
    """A neighbour that is to be shown beside the query."""

    images: Images
    row: int
    query: int | None
    caption: str


class NeighboursPanel(QWidget):
    """Neighbours, their distances and pictures; how often they agree; what position alone would do."""

    def __init__(self, state: BrowserState, viewer: Viewer) -> None:
        super().__init__()
        self._state, self._viewer = state, viewer
        self.thumbnails = thumbnails_of(state, viewer)
        self.finder = Finder()
        self.answer: Answer | None = None
        self.position: Position | None = None
        self.query_box, self.distance = QComboBox(), QComboBox()
        self.k = QSpinBox()
        self.not_same: dict[Same, QCheckBox] = {}
        self.not_the_same, self.same_line = QLabel("not same"), QCheckBox("same cell line")
        self.centred = QCheckBox("plates centred")
        self.channels = ChannelBar(self.thumbnails)
        self.warning, self.summary, self.control = QLabel(), QLabel(), QLabel()
        self.read_button = QPushButton()
        self.view = GalleryView(
            self.thumbnails.store, self.thumbnails.caption, self.thumbnails.reason, who="neighbours"
        )
        self._allowed: TableView | None = None  # a table whose features may be read, large as they are
        self._control_of: tuple[TableView, str, bool] | None = None  # whose position control is on show, or on its way
        self._beside: int | None = None
        self._stale = True
        self._asking: Prompt[Question, Answer] = Prompt(self.finder.answer, self._answered, self._failed, self)
        self._controlling: Prompt[tuple[TableView, Any, bool], tuple[TableView, Position]] = Prompt(
            self._find_position, self._positioned, self.control.setText, self
        )
        self._pairing: Latest[Pair, tuple[Pair, tuple[Plate, Site] | None]] = Latest(
            _find_pair, self._show_pair, self._failed, self
        )
        self._first_site = later(self, _PATIENCE, self._ask_after_site)
        self._set_up()
        self._lay_out()
        self._connect()
        self._new_table(state.table)

    @property
    def busy(self) -> bool:
        """Whether anything is being found."""
        asking = self._asking.busy or self._first_site.isActive()
        return asking or self._controlling.busy or self._pairing.busy or self.thumbnails.store.busy

    # --- Building --------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        self.query_box.addItem("current row", "current")
        self.query_box.addItem("selected group", "group")
        self.query_box.setToolTip("Neighbours of what: one row, or the mean of what is selected")
        self.query_box.setAccessibleName("Query")
        self.distance.addItem("cosine", "cosine")
        self.distance.addItem("Euclidean", "euclidean")
        self.distance.setToolTip("Distance between profiles")
        self.distance.setAccessibleName("Distance")
        self.k.setRange(1, 200)
        self.k.setValue(12)
        self.k.setSuffix(" nearest")
        self.k.setAccessibleName("How many neighbours")
        for same in _NOT_SAME:
            box = QCheckBox(same)
            box.setToolTip(_TIPS[same])
            self.not_same[same] = box
        self.not_same["well"].setChecked(True)
        self.same_line.setToolTip(_TIPS["cell_line"])
        self.centred.setToolTip(
            "Take each plate's mean profile away first: what all its wells share, such as the stain, then does "
            "not count"
        )
        for label in (self.warning, self.summary, self.control):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.warning.setObjectName("alignment_warning")
        self.warning.setStyleSheet(
            f"#alignment_warning {{ border: 1px solid {style.WARNING}; border-radius: 5px; padding: 4px; }}"
        )
        self.warning.setToolTip(
            "Each well was moved towards the mean of its well position over all plates, whatever was done to it. As a "
            "compound often sits at one position, even random features would then agree. Neighbours in a table made "
            "without --align tell more."
        )
        self.read_button.hide()
        self.view.side = 104

    def _lay_out(self) -> None:
        bar = FlowBar(self.k, self.query_box, self.distance, self.channels, gap=style.GAP)
        filters = FlowBar(self.not_the_same, *self.not_same.values(), self.same_line, self.centred, gap=style.GAP)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(style.GAP, style.GAP, style.GAP, style.GAP)
        layout.setSpacing(style.GAP)
        layout.addWidget(bar)
        layout.addWidget(filters)
        layout.addWidget(self.warning)
        layout.addWidget(self.read_button, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.summary)
        layout.addWidget(self.view, 1)
        layout.addWidget(self.control)

    def _connect(self) -> None:
        self.query_box.currentIndexChanged.connect(lambda _: self.ask())
        self.distance.currentIndexChanged.connect(lambda _: self.ask())
        self.k.valueChanged.connect(lambda _: self.ask())
        for box in (*self.not_same.values(), self.same_line, self.centred):
            box.toggled.connect(lambda _: self.ask())
        self.read_button.clicked.connect(self._allow)
        self.view.clicked.connect(self.show_beside)
        self.view.activated.connect(self._make_query)
        self.view.picked.connect(self._pick)
        self.view.hovered.connect(self._hover)
        self.thumbnails.store.arrived.connect(self._pictures_came)
        self.thumbnails.store.changed.connect(self.view.ask)
        events = self._state.events
        events.table.connect(self._new_table)
        events.current.connect(self._new_current)
        events.selection.connect(self._new_selection)

    # --- From the state --------------------------------------------------------------------------------------------

    def _new_table(self, table: TableView | None) -> None:
        self._asking.forget()
        self._controlling.forget()
        self.answer = self.position = self._control_of = None
        self._beside = None
        roles = table.roles if table is not None else None
        there = {
            "plate": roles is not None and roles.plate is not None,
            "well": roles is not None and roles.well is not None and roles.site is not None,
            "position": roles is not None and roles.well is not None,
            "compound": roles is not None and roles.label is not None,
        }
        for same, box in self.not_same.items():
            box.setVisible(there[same])
        self.not_the_same.setVisible(any(there.values()))
        self.same_line.setVisible(roles is not None and roles.cell_line is not None)
        self.centred.setVisible(there["plate"])
        words = alignment_warning(table) if table is not None else ""
        self.warning.setText(words)
        self.warning.setVisible(bool(words))
        self.control.setText("")
        self._show_nothing()
        self.ask()

    def _pictures_came(self) -> None:
        self.view.refresh()

    def _new_current(self) -> None:
        self._new_query("current")

    def _new_selection(self) -> None:
        self._new_query("group")

    def _new_query(self, kind: str) -> None:
        if self.query_box.currentData() == kind:
            self._end_beside()
            self.ask()

    def question(self) -> Question | None:
        """What is asked, None without a query."""
        table = self._state.table
        if table is None:
            return None
        if self.query_box.currentData() == "group":
            rows = self._state.selected_rows()
        else:
            rows = np.array([] if self._state.current is None else [self._state.current], np.int64)
        if not rows.size:
            return None
        exclude = tuple(same for same, box in self.not_same.items() if not box.isHidden() and box.isChecked())
        line = not self.same_line.isHidden() and self.same_line.isChecked()
        within: tuple[Same, ...] = ("cell_line",) if line else ()
        centred = not self.centred.isHidden() and self.centred.isChecked()
        return Question(table, rows, self.k.value(), self.distance.currentData(), exclude, within, centred)

    def ask(self) -> None:
        """Ask anew, if the panel is looked at: it is this that reads features."""
        if not self.isVisible():
            self._stale = True
            return
        self._stale = False
        question = self.question()
        if question is None:
            self._asking.forget()
            self.answer = None
            self._show_nothing()
            return
        size = features_bytes(question.table)
        must_ask = size > ASK_BYTES and self._allowed is not question.table
        self.read_button.setVisible(must_ask)
        if must_ask:
            self.read_button.setText(f"Find neighbours: reads {size / 1e9:.1f} GB of features")
            return
        if size:
            self.summary.setText("Reading features …")
            self._first_site.start()
        else:
            self._asking.ask(question, self.finder.quick(question))

    def _ask_after_site(self) -> None:
        """Reading features takes what the site on its way needs too, and that is what was clicked for."""
        if display_of(self._viewer).busy:
            self._first_site.start()
        elif (question := self.question()) is not None:
            self._asking.ask(question)

    def _allow(self) -> None:
        self._allowed = self._state.table
        self.ask()

    def _show_nothing(self) -> None:
        self.read_button.hide()
        group = self.query_box.currentData() == "group"
        self.view.empty_words = (
            "Select a group to see what is near its mean." if group else "Click a point to see its neighbours."
        )
        self.view.set_items(np.empty(0, np.int64))
        self.summary.setText("")
        self._state.neighbours = []

    def _answered(self, answer: Answer) -> None:
        if answer.question.table is not self._state.table:
            return
        self.answer = answer
        query = answer.question.rows
        single = len(query) == 1
        self.view.empty_words = answer.words()
        shown = np.concatenate([query, answer.rows]) if single and len(answer.rows) else answer.rows
        place = {int(row): i for i, row in enumerate(answer.rows)}

        def badge(row: int) -> tuple[str, str] | None:
            if row in place:
                at = place[row]
                return f"{answer.distances[at]:.3g}", "#7ee2a8" if answer.agree[at] else "#ffffff"
            return ("query", "#ffd479") if single and row == query[0] else None

        self.view.set_badge(badge)
        self.view.set_items(shown)
        words = answer.words()
        if not single:
            words = f"Near the mean of {len(query):,} {answer.question.table.unit}s: {words}"
        self.summary.setText(words)
        self.summary.setToolTip(f"found in {1000 * answer.seconds:.0f} ms; green: the same label as the query's")
        self._state.neighbours = answer.rows
        wanted = (answer.question.table, answer.question.metric, answer.question.centred)
        if wanted != self._control_of:
            self._control_of = wanted
            self._controlling.ask(wanted)

    def _failed(self, message: str) -> None:
        self.summary.setText(message)

    def _find_position(self, wish: tuple[TableView, Any, bool]) -> tuple[TableView, Position]:
        return wish[0], self.finder.position(*wish)

    def _positioned(self, made: tuple[TableView, Position]) -> None:
        table, position = made
        if table is not self._state.table:
            return
        self.position = position
        self.control.setText(position.words())
        self._colour_control()
        self.control.setToolTip(
            "1-NN from control wells to their own well position on other plates. All of them hold the same vehicle, so "
            "what is above chance comes from the position alone."
        )

    def _colour_control(self) -> None:
        strong = self.position is not None and self.position.strong
        amber = style.WARNING if style.is_dark(self) else "#8a5a00"  # the same one, readable on white
        self.control.setStyleSheet(f"color: {amber};" if strong else "")

    # --- From the person -------------------------------------------------------------------------------------------

    def show_beside(self, row: int) -> None:
        """Show a neighbour's site at the right of the query's; the query itself ends that."""
        query = self._state.current
        self.view.set_marked(frozenset({row}))
        if row == query:
            self._end_beside()
            return
        images = self._state.images
        if images is None:
            return
        self._beside = row
        answer, caption = self.answer, self.thumbnails.caption(row)[0]
        if answer is not None and (found := np.flatnonzero(answer.rows == row)).size:
            caption = f"{caption}  distance {answer.distances[found[0]]:.3g}"
        self._pairing.ask(Pair(images, row, query, caption))

    def _show_pair(self, found: tuple[Pair, tuple[Plate, Site] | None]) -> None:
        pair, place = found
        if pair.row != self._beside:
            return
        display = display_of(self._viewer)
        if place is None:
            display.clear(1)
            return
        display.show(*place, slot=1, caption=pair.caption)

    def _end_beside(self) -> None:
        if self._beside is not None:
            self._beside = None
            self._pairing.forget()
            display_of(self._viewer).clear(1)
        self.view.set_marked(frozenset())

    def _make_query(self, row: int) -> None:
        self.query_box.setCurrentIndex(0)
        self._state.current = row

    def _pick(self, rows: NDArray[np.int64], how: str) -> None:
        self._state.select(rows, "add" if how == "add" else "remove" if how == "remove" else "replace")

    def _hover(self, row: int) -> None:
        self._state.hovered = row if row >= 0 else None

    # --- Qt --------------------------------------------------------------------------------------------------------

    def showEvent(self, event: Any) -> None:
        """Ask what was not asked while nobody looked."""
        super().showEvent(event)
        self._colour_control()
        if self._stale:
            self.ask()

    def changeEvent(self, event: QEvent) -> None:
        """Another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange and self.position is not None:
            self._colour_control()


def _find_pair(pair: Pair) -> tuple[Pair, tuple[Plate, Site] | None]:
    """A neighbour's site: of the same number as the query's where there is one."""
    found = pair.images.sites(pair.row)
    if found is None:
        return pair, None
    plate, sites = found
    query = pair.images.sites(pair.query) if pair.query is not None else None
    number = query[1][0].site if query is not None else None
    return pair, (plate, next((site for site in sites if site.site == number), sites[0]))
