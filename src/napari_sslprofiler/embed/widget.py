"""Plugins > SSLProfiler > Embed and profile: plates through trained runs, to well profiles in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_sslprofiler import style
from napari_sslprofiler.background import Report, Task
from napari_sslprofiler.child_process import run_child
from napari_sslprofiler.embed.plan import Plan, RunSummary, default_out, find_problems, make_plan, summarise_run
from napari_sslprofiler.lifetime import hear
from napari_sslprofiler.state import Screen, session_of

if TYPE_CHECKING:
    from napari import Viewer

_MERGES = (
    ("Concatenated (paper)", "concat"),
    ("Mean", "mean"),
)
_FEATURES = (
    ("CLS + mean patch (paper)", "cls+patch"),
    ("CLS alone", "cls"),
)


class EmbedWidget(QWidget):
    """Choose plates and runs, see whether they fit, embed, and look at the result in the browser."""

    finished = Signal(object)  # the table of wells

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self._runs: dict[Path, RunSummary] = {}
        self._task: Task[Path] | None = None
        self._build()
        hear(self._session.events.screen, self._list_plates, self)
        hear(self._session.events.runs, self._list_runs, self)
        self._list_plates(self._session.screen)
        self._list_runs(self._session.runs)

    def _build(self) -> None:
        self.plates = QListWidget()
        self.plates.setAccessibleName("Plates")
        self.plates.itemChanged.connect(self._check)
        self.runs = QListWidget()
        self.runs.setAccessibleName("Runs")
        for box in (self.plates, self.runs):
            box.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            box.setTextElideMode(Qt.TextElideMode.ElideRight)
            _fit(box, 2)
        self.runs.itemChanged.connect(self._check)
        add = QPushButton("&Add a run…")
        add.setToolTip("A folder that training wrote, here or on another machine")
        add.clicked.connect(self._ask_run)

        self.sites = _choices(_MERGES, "How the sites of a well become one profile (paper 3.3.2)")
        self.features = _choices(_FEATURES, "Which vectors of a site go into the profile (paper 3.3.1)")
        for choice in (self.sites, self.features):
            choice.currentIndexChanged.connect(self._check)
        self.out = QLineEdit()
        self.out.setPlaceholderText("folder for sites.parquet and wells.parquet")
        self.out.textChanged.connect(self._check)
        choose = QPushButton("…")
        choose.setToolTip("Choose a folder")
        choose.setFixedWidth(30)
        choose.clicked.connect(self._ask_out)
        place = QHBoxLayout()
        place.addWidget(self.out, 1)
        place.addWidget(choose)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("&Sites", self.sites)
        form.addRow("&Features", self.features)
        into = QLabel("Save &in")
        into.setBuddy(self.out)
        form.addRow(into, place)

        self.verdict = style.hint()
        self.start_button = QPushButton("&Embed and profile")
        self.start_button.clicked.connect(self.start)
        self.cancel_button = QPushButton("&Cancel")
        self.cancel_button.clicked.connect(self.cancel)
        self.cancel_button.setEnabled(False)
        self.copy_button = QPushButton("Copy c&ommand")
        self.copy_button.setToolTip("The same on the command line: sslprofiler embed …, sslprofiler profile …")
        self.copy_button.clicked.connect(self._copy)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start_button, 1)
        buttons.addWidget(self.cancel_button)
        buttons.addWidget(self.copy_button)
        self.bar = QProgressBar()
        self.bar.hide()
        self.status = style.hint()
        self.browse_button = QPushButton("Open in the &browser")
        self.browse_button.clicked.connect(self._browse)
        self.browse_button.hide()

        layout = QVBoxLayout(self)
        layout.setContentsMargins(style.MARGIN, style.MARGIN, style.MARGIN, style.MARGIN)
        layout.setSpacing(style.GAP)
        layout.addWidget(style.heading("Plates"))
        layout.addWidget(self.plates)
        heads = QHBoxLayout()
        heads.addWidget(style.heading("Runs, one a channel group"), 1)
        heads.addWidget(add)
        layout.addLayout(heads)
        layout.addWidget(self.runs)
        layout.addLayout(form)
        layout.addWidget(self.verdict)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.browse_button)
        layout.addStretch(1)
        self.setMinimumWidth(320)

    # --- What there is to choose from ------------------------------------------------------------------------------

    def _list_plates(self, screen: Screen | None) -> None:
        names = [plate.name for plate in screen.plates] if screen else []
        shown = [self.plates.item(row).data(Qt.ItemDataRole.UserRole) for row in range(self.plates.count())]
        if names != shown:
            self.plates.blockSignals(True)
            self.plates.clear()
            for plate in screen.plates if screen else ():
                _add(self.plates, f"{plate.name}   {len(plate.sites):,} sites", plate.name, True)
            self.plates.blockSignals(False)
            _fit(self.plates, 8)
        self._check()

    def _list_runs(self, runs: tuple[Path, ...]) -> None:
        listed = {path for path, known in self._runs.items() if not known.problem}
        chosen = set(self._chosen(self.runs))
        self._runs = {path: summarise_run(path) for path in runs}
        # The newest good run of each group is what people mean; of those that were listed, what they chose.
        new: dict[str, Path] = {}
        for path, known in self._runs.items():
            if path not in listed and not known.problem:
                new.setdefault(known.group, path)
        self.runs.blockSignals(True)
        self.runs.clear()
        for path, known in self._runs.items():
            take = path == new[known.group] if known.group in new else path in chosen
            item = _add(self.runs, f"{path.name}   {known.words or 'cannot be used'}", path, take)
            item.setToolTip(f"{path}\n{known.problem or known.words}")
        self.runs.blockSignals(False)
        _fit(self.runs, 5)
        if not self.out.text() and (place := default_out(self._chosen(self.runs))):
            self.out.setText(str(place))
        self._check()

    @staticmethod
    def _chosen(box: QListWidget) -> list[Any]:
        items = [box.item(row) for row in range(box.count())]
        return [item.data(Qt.ItemDataRole.UserRole) for item in items if item.checkState() == Qt.CheckState.Checked]

    def add_run(self, path: Path) -> None:
        """Add a run folder to those of the viewer, and choose it."""
        self._session.add_run(Path(path))
        self.runs.item(0).setCheckState(Qt.CheckState.Checked)

    def _ask_run(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A run folder")
        if chosen:
            self.add_run(Path(chosen))

    def _ask_out(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the tables", self.out.text())
        if chosen:
            self.out.setText(chosen)

    # --- What will be done -----------------------------------------------------------------------------------------

    def plan(self) -> Plan | None:
        """What Start would do, None while something is missing."""
        screen = self._session.screen
        runs, names = self._chosen(self.runs), self._chosen(self.plates)
        if screen is None or not self.out.text().strip() or not runs or not names:
            return None
        return make_plan(
            screen,
            [str(name) for name in names],
            runs,
            Path(self.out.text().strip()).expanduser(),
            sites=self.sites.currentData(),
            features=self.features.currentData(),
        )

    def _check(self) -> None:
        screen = self._session.screen
        if screen is None:
            problems = ["Open plates first: Plugins > SSLProfiler > Plates."]
        else:
            names = set(self._chosen(self.plates))
            plates = [plate for plate in screen.plates if plate.name in names]
            problems = find_problems(plates, [self._runs[path] for path in self._chosen(self.runs)])
        if not problems and not self.out.text().strip():
            problems = ["Choose a folder to save in."]
        plan = self.plan()
        good = not problems and plan is not None
        if plan is not None and good:
            count = sum(len(plate.sites) for plate in plates)
            groups = " and ".join(self._runs[path].group for path in plan.runs)
            self.verdict.setText(f"✓ Channels match. {count:,} sites through {groups}.")
        else:
            self.verdict.setText("\n".join(problems))
        self.start_button.setEnabled(good and self._task is None)
        self.copy_button.setEnabled(plan is not None)

    def _copy(self) -> None:
        plan = self.plan()
        if plan is not None:
            QGuiApplication.clipboard().setText(plan.command())

    # --- Doing it --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Embed and profile in a child process; goes on with plates that an earlier call did not finish."""
        plan = self.plan()
        if plan is None or self._task is not None:
            return

        def work(report: Report) -> Path:
            plan.out.mkdir(parents=True, exist_ok=True)
            run_child(plan.embed_arguments(), report)
            report(0, 0)
            run_child(plan.profile_arguments(), report)
            return plan.wells_table

        self.browse_button.hide()
        self.bar.setRange(0, 0)
        self.bar.show()
        self.status.setText("Loading the models and reading the plates’ headers …")
        self.cancel_button.setEnabled(True)
        self._task = Task(
            work,
            self._done,
            self._failed,
            label="Embedding",
            parent=self,
            cancelled=lambda: self._end("Cancelled. Finished plates are kept: start again to go on with the others."),
            progressed=self._progressed,
        )
        self._check()

    def cancel(self) -> None:
        """Stop the child; what it finished is kept."""
        if self._task is not None:
            self._task.cancel()
            self.status.setText("Stopping …")
            self.cancel_button.setEnabled(False)

    def _progressed(self, done: int, total: int, seconds_left: float | None) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        if total:
            self.status.setText(f"{done:,} of {total:,} sites, {style.seconds_text(seconds_left)} left")

    def _done(self, table: Path) -> None:
        self._end(f"Wrote {table}.")
        self.browse_button.show()
        self._session.table = table
        self.finished.emit(table)

    def _failed(self, message: str) -> None:
        self._end(message)

    def _end(self, words: str) -> None:
        self._task = None
        self.bar.hide()
        self.cancel_button.setEnabled(False)
        self.status.setText(words)
        self._check()

    def _browse(self) -> None:
        self._viewer.window.add_plugin_dock_widget("napari-sslprofiler", "Browser")


def _choices(choices: tuple[tuple[str, str], ...], tip: str) -> QComboBox:
    box = QComboBox()
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setToolTip(tip)
    for words, value in choices:
        box.addItem(words, value)
    return box


def _add(box: QListWidget, words: str, value: object, chosen: bool) -> QListWidgetItem:
    item = QListWidgetItem(words)
    item.setData(Qt.ItemDataRole.UserRole, value)
    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
    item.setCheckState(Qt.CheckState.Checked if chosen else Qt.CheckState.Unchecked)
    box.addItem(item)
    return item


def _fit(box: QListWidget, most: int) -> None:
    """Give a list the height of its rows, two at least."""
    rows = max(2, min(most, box.count()))
    box.setFixedHeight(rows * max(16, box.sizeHintForRow(0)) + 2 * box.frameWidth() + 4)
