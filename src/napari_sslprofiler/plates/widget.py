"""Plugins > SSLProfiler > Plates: open plates, see them as maps, and any site in a click."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_sslprofiler import style
from napari_sslprofiler.background import Report, Task
from napari_sslprofiler.lifetime import hear
from napari_sslprofiler.names_box import NamesBox
from napari_sslprofiler.plates.gap_list import GapList
from napari_sslprofiler.plates.legend import Legend
from napari_sslprofiler.plates.opening import measure_contrast, open_screen, with_contrast
from napari_sslprofiler.plates.plate_map import PlateMap
from napari_sslprofiler.plates.site_picker import SitePicker
from napari_sslprofiler.plates.wells import (
    broken_wells,
    colour_wells,
    columns_to_colour,
    describe_well,
    in_plate_order,
    plate_summary,
)
from napari_sslprofiler.site_display import display_of
from napari_sslprofiler.state import Screen, session_of

if TYPE_CHECKING:
    from napari import Viewer

    from sslprofiler_core.plates import Plate, Site

_WELCOME = (
    "Open a folder of plates, or drop one here. Images named as Phenix and Harmony do, CellProfiler's LoadData tables "
    "and OME-Zarr plates are known."
)
_SHOWN_FACTS = 6


class PlatesWidget(QWidget):
    """A plate map, a site picker, and what is known about the well on show."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._session = session_of(napari_viewer)
        self._display = display_of(napari_viewer)
        self._plate: Plate | None = None
        self._well = ""
        self._site = 0
        self._task: Task[Screen] | None = None
        self._contrast: Task[dict[str, tuple[float, float]]] | None = None
        self.setAcceptDrops(True)
        self._build()
        hear(self._session.events.screen, self._show_screen, self)
        if self._session.screen is not None:
            self._show_screen(self._session.screen)

    # --- What the widget is made of --------------------------------------------------------------------------------

    def _build(self) -> None:
        self.open_button = QPushButton("&Open plates…")
        self.open_button.setToolTip("A plate's folder, or a folder of plates")
        self.open_button.clicked.connect(self._ask_plates)
        self.metadata_button = QPushButton("&Metadata…")
        self.metadata_button.setToolTip("What is in which well: a plate map, a table of plates, or a folder of both")
        self.metadata_button.clicked.connect(self._ask_metadata)
        self.copy_button = QPushButton("&Copy command")
        self.copy_button.setToolTip("The same on the command line: sslprofiler inspect …")
        self.copy_button.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.command()))
        buttons = QHBoxLayout()
        for button in (self.open_button, self.metadata_button, self.copy_button):
            buttons.addWidget(button)

        self.busy = QProgressBar()
        self.busy.setTextVisible(True)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(self.cancel)
        working = QHBoxLayout()
        working.addWidget(self.busy, 1)
        working.addWidget(self.cancel_button)
        self._working = QWidget()
        self._working.setLayout(working)
        working.setContentsMargins(0, 0, 0, 0)
        self._working.hide()
        self.message = style.hint(_WELCOME)

        self.plate_box = NamesBox("Plate")
        self.plate_box.currentIndexChanged.connect(self._choose_plate)
        self.colour_box = QComboBox()
        self.colour_box.setAccessibleName("Colour by")
        self.colour_box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.colour_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.colour_box.currentIndexChanged.connect(self._recolour)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("&Plate", self.plate_box)
        form.addRow("Colour &by", self.colour_box)
        self.summary = style.hint()

        self.map = PlateMap(selecting=False)
        self.map.clicked.connect(self.show_well)
        self.legend = Legend()
        self.well_title = style.heading("")
        self.picker = SitePicker()
        self.picker.picked.connect(self._pick_site)
        self.facts = QGridLayout()
        self.facts.setHorizontalSpacing(12)
        self.facts.setVerticalSpacing(2)
        self.facts.setColumnStretch(1, 1)
        about = QHBoxLayout()
        about.addWidget(self.picker, 0, Qt.AlignmentFlag.AlignTop)
        about.addSpacing(style.GAP)
        about.addLayout(self.facts, 1)

        self.gaps = GapList()

        body = QVBoxLayout()
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(style.GAP)
        body.addLayout(form)
        body.addWidget(self.summary)
        body.addWidget(self.map)
        body.addWidget(self.legend)
        body.addWidget(style.rule())
        body.addWidget(self.well_title)
        body.addLayout(about)
        body.addWidget(self.gaps)
        body.addStretch(1)
        self._body = QWidget()
        self._body.setLayout(body)
        self._body.hide()
        scroll = QScrollArea()
        scroll.setWidget(self._body)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

        layout = QVBoxLayout(self)
        layout.setContentsMargins(style.MARGIN, style.MARGIN, style.MARGIN, style.MARGIN)
        layout.setSpacing(style.GAP)
        layout.addLayout(buttons)
        layout.addWidget(self.message)
        layout.addWidget(self._working)
        layout.addWidget(scroll, 1)
        self.setMinimumWidth(300)
        self._enable()

    # --- Opening ---------------------------------------------------------------------------------------------------

    def open(self, paths: Sequence[Path], metadata: Path | None = None) -> None:
        """Open plates in the background; replaces what is open once they are read."""
        paths = [Path(path) for path in paths]
        self._start(f"Opening {paths[0]}", lambda report: open_screen(paths, report, metadata=metadata))

    def open_made(self, words: str, make: Callable[[Report], Path]) -> None:
        """Make plates in the background (a sample), then open the folder that ``make`` gives."""

        def work(report: Report) -> Screen:
            folder = make(report)
            return open_screen([folder], report)

        self._start(words, work)

    def _start(self, words: str, work: Callable[[Report], Screen]) -> None:
        self._cancel()
        self.message.setText(f"{words} …")
        self.message.show()
        self.busy.setRange(0, 0)
        self._working.show()
        task = self._task = Task(
            work,
            self._opened,
            self._failed,
            label=words,
            parent=self,
            # Of one that another has taken the place of, nothing is said.
            cancelled=lambda: self._failed("Cancelled.") if self._task is task else None,
            progressed=self._progressed,
        )

    def _progressed(self, done: int, total: int, seconds_left: float | None) -> None:
        self.busy.setRange(0, total)
        self.busy.setValue(done)
        self.busy.setFormat(f"{done} of {total}, {style.seconds_text(seconds_left)} left" if seconds_left else "%p %")

    def _ask_plates(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A plate's folder, or a folder of plates")
        if chosen:
            self.open([Path(chosen)])

    def _ask_metadata(self) -> None:
        screen = self._session.screen
        chosen = QFileDialog.getExistingDirectory(self, "A folder with plate maps and tables of plates")
        if chosen and screen is not None:
            self.open(screen.paths, metadata=Path(chosen))

    def _opened(self, screen: Screen) -> None:
        self._task = None
        self._ended("")
        before = self._session.screen
        if before is not None and before.plates == screen.plates:
            # The same plates with other metadata: keep the contrast that is measured.
            screen = Screen(
                screen.plates,
                screen.paths,
                before.scale,
                screen.metadata,
                screen.metadata_path,
                screen.channels_file,
                screen.notes,
            )
        self._session.screen = screen

    def _failed(self, message: str) -> None:
        self._task = None
        self._display.drop_pending()
        self._ended(message)

    def cancel(self) -> None:
        """Stop what is being opened; what was open before stays."""
        if self._task is not None:
            self._task.cancel()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _ended(self, words: str) -> None:
        self._working.hide()
        self._say(words or ("" if self._session.screen else _WELCOME))
        self._enable()

    def _say(self, words: str) -> None:
        self.message.setText(words)
        self.message.setVisible(bool(words))

    def _enable(self) -> None:
        there = self._session.screen is not None
        self.metadata_button.setEnabled(there)
        self.copy_button.setEnabled(there)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.open(paths)

    # --- Showing ---------------------------------------------------------------------------------------------------

    def _show_screen(self, screen: Screen | None) -> None:
        self._body.setVisible(screen is not None)
        self._enable()
        if screen is None:
            return
        if self._plate is not None and screen.plate(self._plate.name) is self._plate:
            return  # only the contrast is new
        keep = self._plate.name if self._plate else self._on_show(screen)
        self._say("\n".join(screen.notes[:3]))
        self.plate_box.blockSignals(True)
        self.plate_box.clear()
        self.plate_box.addItems([plate.name for plate in screen.plates])
        at = max(0, self.plate_box.findText(keep))
        self.plate_box.setCurrentIndex(at)
        self.plate_box.blockSignals(False)
        self._choose_plate(at)

    def _on_show(self, screen: Screen) -> str:
        """The plate whose site is on show already, in a dock that is opened again; its well and site are kept."""
        site = self._session.shown
        plate = screen.plate(site.plate) if site is not None else None
        sites = plate.sites_of(site.well) if plate is not None and site is not None else ()
        if site is None or site not in sites:
            return ""
        self._well, self._site = site.well, sites.index(site)
        return site.plate

    def _choose_plate(self, number: int) -> None:
        screen = self._session.screen
        if screen is None or not 0 <= number < len(screen.plates):
            return
        plate = self._plate = screen.plates[number]
        self.summary.setText(plate_summary(plate))
        names = columns_to_colour(screen, plate)
        wanted = self.colour_box.currentData() or (names[1] if len(names) > 1 else names[0])
        self.colour_box.blockSignals(True)
        self.colour_box.clear()
        for name in names:
            self.colour_box.addItem(name.removeprefix("Metadata_"), name)
        self.colour_box.setCurrentIndex(max(0, self.colour_box.findData(wanted)))
        self.colour_box.blockSignals(False)
        self._recolour()
        self.gaps.show_gaps(plate)
        self._measure(plate)
        wells = plate.wells
        if wells:
            self.show_well(self._well if self._well in wells else in_plate_order(list(wells))[0])

    def _recolour(self) -> None:
        screen, plate = self._session.screen, self._plate
        if screen is None or plate is None:
            return
        column = self.colour_box.currentData()
        found = colour_wells(screen, plate, column)
        self.map.set_wells(found.colours, lambda well: found.tooltips.get(well, well), marks=set(broken_wells(plate)))
        self.map.current = self._well
        self.legend.show_entries(found.entries, found.limits)

    def _measure(self, plate: Plate) -> None:
        """Measure the contrast of a plate that is shown for the first time."""
        screen = self._session.screen
        if screen is None or plate.name in screen.scale or not plate.sites:
            return
        if self._contrast is not None:
            self._contrast.cancel()

        def work(report: Report) -> dict[str, tuple[float, float]]:
            return measure_contrast(plate, report)

        def done(contrast: dict[str, tuple[float, float]]) -> None:
            current = self._session.screen
            if current is not None and current.plate(plate.name) is plate:
                self._session.screen = with_contrast(current, plate.name, contrast)

        self._contrast = Task(work, done, self._say, label=f"Contrast of {plate.name}", parent=self)

    def show_well(self, well: str) -> None:
        """Show a well: its facts, its sites, and one of them in napari."""
        screen, plate = self._session.screen, self._plate
        if screen is None or plate is None:
            return
        sites = plate.sites_of(well)
        self._well = well
        self.map.current = well
        facts = describe_well(screen, plate, well)
        compound = next((value for name, value in facts if name == "Compound"), "")
        self.well_title.setText(f"<b>{well}</b>&nbsp; {compound}")
        self._fill_facts([(name, value) for name, value in facts if name != "Compound"])
        self._site = min(self._site, max(0, len(sites) - 1))
        self.picker.show_sites(sites, self._site)
        if sites:
            self._show_site(sites[self._site], compound)

    def _pick_site(self, number: int) -> None:
        self._site = number
        self.show_well(self._well)

    def _show_site(self, site: Site, caption: str) -> None:
        assert self._plate is not None
        self._display.show(self._plate, site, caption=caption)

    def _fill_facts(self, facts: list[tuple[str, str]]) -> None:
        while (item := self.facts.takeAt(0)) is not None:
            item.widget().deleteLater()
        for row, (name, value) in enumerate(facts[:_SHOWN_FACTS]):
            label = QLabel(name)
            label.setEnabled(False)
            text = style.ElidedLabel(value)
            self.facts.addWidget(label, row, 0)
            self.facts.addWidget(text, row, 1)

    def command(self) -> str:
        """The command that inspects the same plates."""
        screen = self._session.screen
        if screen is None:
            return ""
        words = ["sslprofiler", "inspect", *map(str, screen.paths)]
        if screen.metadata_path is not None:
            words += ["--metadata", str(screen.metadata_path)]
        return shlex.join(words)
