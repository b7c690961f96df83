"""What to train: plates, channels, recipe, run folder, and at once what that means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_sslprofiler import style
from napari_sslprofiler.background import Latest
from napari_sslprofiler.forms.form import RecipeForm
from napari_sslprofiler.lifetime import hear
from napari_sslprofiler.plates.opening import open_screen
from napari_sslprofiler.train.lists import check_item, checked, fit, items
from napari_sslprofiler.train.meaning_panel import MeaningPanel, Question
from napari_sslprofiler.train.plan import (
    DEFAULT_RECIPE,
    TrainPlan,
    base_and_overrides,
    channel_groups,
    free_run_folder,
    recipe_words,
)
from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from napari_sslprofiler.state import Screen, Session
    from sslprofiler_core.plates import Plate
    from sslprofiler_core.recipes import Recipe

_PREVIEW, _FILE, _SOME = "preview", "file", "some"
_WIDEST = 560  # pixels that the settings may ask for


class SetupPanel(QScrollArea):
    """Choose what to train; emits ``start_asked`` with a `TrainPlan`."""

    start_asked = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._recipe: Recipe | None = None
        self._file: Path | None = None
        self._touched_out = False
        self._opener: Latest[tuple[Screen | None, Path], Screen] = Latest(
            _open_more, self._opened, self._not_opened, self
        )
        self._build()
        hear(session.events.screen, self._list_plates, self)
        hear(session.events.recipe, self._preview_changed, self)
        self._choose_recipe()
        self._list_plates(session.screen)

    # --- Layout ----------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.plates = QListWidget()
        self.plates.setAccessibleName("Plates")
        self.plates.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.plates.itemChanged.connect(self._plates_changed)
        add = QPushButton("Add a &folder…")
        add.setToolTip("A plate folder, or a folder of plates")
        add.clicked.connect(self._ask_folder)
        self.add_button = add
        self.group = QComboBox()
        self.group.setToolTip("The channels that the model sees: one model a group")
        self.group.currentIndexChanged.connect(self._group_changed)
        self.channels = QListWidget()
        self.channels.setAccessibleName("Channels")
        self.channels.itemChanged.connect(self._changed)
        self.channels.hide()
        self.recipe = QComboBox()
        self.recipe.setToolTip("Every setting of the training; change single ones under All settings")
        self._list_recipes()
        self.recipe.activated.connect(self._recipe_activated)
        self.out = QLineEdit()
        self.out.setPlaceholderText("a new folder")
        self.out.textEdited.connect(self._out_edited)
        choose = QPushButton("…")
        choose.setFixedWidth(30)
        choose.setToolTip("Choose a folder")
        choose.clicked.connect(self._ask_out)
        place = QHBoxLayout()
        place.addWidget(self.out, 1)
        place.addWidget(choose)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.setHorizontalSpacing(2 * style.GAP)
        folder = QLabel("Ru&n folder")
        folder.setBuddy(self.out)
        form.addRow("C&hannels", self.group)
        form.addRow("", self.channels)
        form.addRow("&Recipe", self.recipe)
        form.addRow(folder, place)
        for box in (self.group, self.recipe):
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            box.setMinimumContentsLength(12)
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)

        self.form = RecipeForm(expanded=())
        self.form.setMinimumHeight(140)
        self.form.changed.connect(self._form_changed)
        self.form.problem_changed.connect(lambda _: self._changed())

        self.meaning = MeaningPanel()
        self.meaning.counted.connect(self._can_start)
        self.start_button = QPushButton("&Start training")
        self.start_button.setEnabled(False)
        self.start_button.clicked.connect(self._start)
        self.copy_button = QPushButton("Copy c&ommand")
        self.copy_button.setToolTip("The same in a terminal: sslprofiler train …")
        self.copy_button.clicked.connect(self._copy)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start_button, 1)
        buttons.addWidget(self.copy_button)

        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(style.MARGIN, style.MARGIN, style.MARGIN, style.MARGIN)
        layout.setSpacing(style.GAP)
        heads = QHBoxLayout()
        heads.addWidget(style.heading("Plates"), 1)
        heads.addWidget(add)
        layout.addLayout(heads)
        layout.addWidget(self.plates)
        layout.addLayout(form)
        layout.addWidget(style.heading("All settings"))
        layout.addWidget(self.form, 1)
        layout.addWidget(style.rule())
        layout.addWidget(self.meaning)
        layout.addLayout(buttons)
        body.installEventFilter(self)
        self.setWidget(body)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Be as wide as the settings that are open."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            wanted = self.widget().minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width()
            self.setMinimumWidth(min(wanted, _WIDEST))
        return bool(super().eventFilter(watched, event))

    # --- Plates and channels ---------------------------------------------------------------------------------------

    def _list_plates(self, screen: Screen | None) -> None:
        names = [plate.name for plate in screen.plates] if screen else []
        unchosen = {item.text().partition("   ")[0] for item in items(self.plates) if not checked(item)}
        self.plates.blockSignals(True)
        self.plates.clear()
        for plate in screen.plates if screen else ():
            item = check_item(f"{plate.name}   {len(plate.sites):,} sites", plate.name not in unchosen)
            item.setToolTip(str(plate.root))
            self.plates.addItem(item)
        self.plates.blockSignals(False)
        fit(self.plates, max(2, min(6, len(names))))
        self._plates_changed()

    def chosen_plates(self) -> tuple[Plate, ...]:
        """The plates to train on."""
        screen = self._session.screen
        if screen is None or len(screen.plates) != self.plates.count():
            return ()
        return tuple(plate for plate, item in zip(screen.plates, items(self.plates), strict=True) if checked(item))

    def _plates_changed(self) -> None:
        before = self.group.currentData()
        choices = channel_groups(self.chosen_plates())
        self.group.blockSignals(True)
        self.group.clear()
        for choice in choices:
            self.group.addItem(f"{choice.words} ({len(choice.channels)})", choice.value)
            index = self.group.count() - 1
            self.group.setItemData(index, ", ".join(choice.channels), Qt.ItemDataRole.ToolTipRole)
        if choices:
            self.group.addItem("Some channels…", _SOME)
        self.group.setCurrentIndex(max(0, self.group.findData(before)))
        self.group.blockSignals(False)
        names = choices[-1].channels if choices else ()
        if [item.text() for item in items(self.channels)] != list(names):
            self.channels.blockSignals(True)
            self.channels.clear()
            for name in names:
                self.channels.addItem(check_item(name, True))
            self.channels.blockSignals(False)
            fit(self.channels, max(1, min(8, len(names))))
        self._group_changed()

    def _group_changed(self) -> None:
        self.channels.setVisible(self.group.currentData() == _SOME)
        self._offer_folder()
        self._changed()

    def chosen_group(self) -> str:
        """The channel group as ``--channels`` takes it; empty when there is none."""
        value = self.group.currentData()
        if value == _SOME:
            return ",".join(item.text() for item in items(self.channels) if checked(item))
        return str(value or "")

    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A plate folder, or a folder of plates")
        if chosen:
            self.add_folder(Path(chosen))

    def add_folder(self, folder: Path) -> None:
        """Open more plates, beside those of the session."""
        self.meaning.say(f"Opening {folder} …")
        self.add_button.setEnabled(False)
        self._opener.ask((self._session.screen, folder))

    def _opened(self, screen: Screen) -> None:
        self.add_button.setEnabled(True)
        self._session.screen = screen

    def _not_opened(self, message: str) -> None:
        self.add_button.setEnabled(True)
        self.meaning.say(message)

    # --- Recipe ----------------------------------------------------------------------------------------------------

    def _list_recipes(self) -> None:
        from sslprofiler_core.recipes import available_recipes

        names = sorted(available_recipes(), key=lambda name: (name != DEFAULT_RECIPE, name == "tiny", name))
        for name in names:
            self.recipe.addItem(recipe_words(name), name)
        self.recipe.addItem("As tuned in the preview", _PREVIEW)
        self.recipe.addItem("From a file…", _FILE)

    def _recipe_activated(self) -> None:
        if self.recipe.currentData() == _FILE:
            chosen, _ = QFileDialog.getOpenFileName(self, "A recipe", "", "Recipes (*.toml)")
            if not chosen:
                self.recipe.setCurrentIndex(0)
            self._file = Path(chosen) if chosen else None
        self._choose_recipe()

    def choose_recipe(self, name: str | Path) -> None:
        """Take a shipped recipe, ``"preview"``, or a file."""
        self._file = Path(name) if self.recipe.findData(str(name)) < 0 else None
        self.recipe.setCurrentIndex(self.recipe.findData(_FILE if self._file is not None else str(name)))
        self._choose_recipe()

    def _choose_recipe(self) -> None:
        from sslprofiler_core.recipes import load_recipe

        name, problem = self.recipe.currentData(), ""
        try:
            if name == _PREVIEW:
                self._recipe = self._session.recipe
            else:
                self._recipe = load_recipe(self._file if self._file is not None and name == _FILE else str(name))
        except UserError as error:
            self.recipe.setCurrentIndex(0)
            self._recipe = load_recipe(DEFAULT_RECIPE)
            self._file, problem = None, str(error)
        self.form.value = self._recipe
        self._changed()
        if problem:
            self.meaning.say(problem)

    def _preview_changed(self, recipe: Recipe) -> None:
        if self.recipe.currentData() == _PREVIEW:
            self._choose_recipe()

    def _form_changed(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._changed()

    # --- Folder ----------------------------------------------------------------------------------------------------

    def _offer_folder(self) -> None:
        plates, group = self.chosen_plates(), self.chosen_group()
        if plates and group and not self._touched_out:
            base = Path(self.out.text()).parent if self.out.text() else None
            self.out.setText(str(free_run_folder(plates, group, base)))

    def _out_edited(self) -> None:
        self._touched_out = bool(self.out.text().strip())
        self._changed()

    def _ask_out(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of the run", self.out.text())
        if chosen:
            self.out.setText(chosen)
            self._out_edited()

    # --- What it means ---------------------------------------------------------------------------------------------

    def plan(self) -> TrainPlan | None:
        """What Start would do; None while something is missing."""
        plates, group, screen = self.chosen_plates(), self.chosen_group(), self._session.screen
        if not plates or not group or not self.out.text().strip() or self._recipe is None or screen is None:
            return None
        if self.form.problem:
            return None
        name = self.recipe.currentData()
        base = str(self._file) if name == _FILE else DEFAULT_RECIPE if name == _PREVIEW else str(name)
        try:
            base, overrides = base_and_overrides(self._recipe, base)
        except UserError:  # the file went
            base, overrides = base_and_overrides(self._recipe, DEFAULT_RECIPE)
        out = Path(self.out.text().strip()).expanduser()
        every = len(plates) == len(screen.plates)
        return TrainPlan(
            screen.paths if every else tuple(plate.root for plate in plates),
            group,
            out,
            base,
            overrides,
            screen.metadata_path,
            screen.channels_file,
        )

    def _changed(self) -> None:
        plates, group, plan = self.chosen_plates(), self.chosen_group(), self.plan()
        self.copy_button.setEnabled(plan is not None)
        if self._session.screen is None:
            why = "Open plates first: Plugins > SSLProfiler > Plates, or add a folder here."
        elif not plates:
            why = "Choose a plate."
        elif self.group.count() == 0:
            why = "These plates have other channels than each other. Train on those that agree."
        elif not group:
            why = "Choose a channel."
        else:
            why = self.form.problem
        question = Question(plates, group, self._recipe, plan) if self._recipe is not None and not why else None
        self.meaning.ask(question, why)

    # --- What is asked for -----------------------------------------------------------------------------------------

    def _can_start(self, good: bool) -> None:
        self.start_button.setEnabled(good)

    def _start(self) -> None:
        plan = self.plan()
        if plan is not None:
            self.start_button.setEnabled(False)
            self.start_asked.emit(plan)

    def started(self) -> None:
        """The plan was started: offer the next folder."""
        self._touched_out = False
        self._offer_folder()
        self._changed()

    def refused(self, message: str) -> None:
        """The plan could not be started."""
        self.meaning.say(message)
        self.start_button.setEnabled(True)

    def _copy(self) -> None:
        plan = self.plan()
        if plan is not None:
            QGuiApplication.clipboard().setText(plan.command())


def _open_more(request: tuple[Screen | None, Path]) -> Screen:
    screen, folder = request
    if screen is None:
        return open_screen([folder], _no_report)
    opened = open_screen(
        [*screen.paths, folder], _no_report, metadata=screen.metadata_path, channels_file=screen.channels_file
    )
    if len(opened.plates) == len(screen.plates):
        raise UserError(f"The plates of {folder} are open already. Choose another folder.")
    return replace(opened, scale=screen.scale)


def _no_report(done: int, total: int) -> None:
    """Opening tells of no progress here."""
