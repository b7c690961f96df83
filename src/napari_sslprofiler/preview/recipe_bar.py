"""The recipe as a whole: weaker, stronger, back to the paper; from and to a file; as a command."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QMenu, QPushButton, QWidget

from napari_sslprofiler import style
from napari_sslprofiler.forms.files import read_recipe, save_recipe
from sslprofiler_core.errors import UserError
from sslprofiler_core.recipes import Recipe, available_recipes

from .strength import as_the_paper, stronger

_FILES = "Recipes (*.toml)"


class RecipeBar(QWidget):
    """Buttons that change, read and write a recipe."""

    changed = Signal(object)  # another recipe
    loaded = Signal(object, str)  # a recipe read or written, and its name or path
    failed = Signal(str)
    copy = Signal()
    to_layers = Signal()

    def __init__(self, recipe: Recipe, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.recipe = recipe
        self.weaker_button = _button(
            "Wea&ker", "All augmentations weaker: odds of probabilities ÷ 1.5, strengths ÷ 1.25"
        )
        self.stronger_button = _button(
            "Stron&ger", "All augmentations stronger: odds of probabilities × 1.5, strengths × 1.25"
        )
        self.reset_button = _button("&Reset to the paper", "The paper's augmentations and masks")
        self.load_button = _button("&Load", "A recipe that comes with the package, or a file")
        self.load_button.setMenu(self._menu())
        self.save_button = _button("&Save…", "Every setting into a file that sslprofiler train takes with --recipe")
        self.copy_button = _button("Cop&y command", "sslprofiler train with these settings")
        self.layers_button = _button("Show in &napari", "These pictures as layers below the site")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(style.GAP)
        for column, button in enumerate((self.weaker_button, self.stronger_button)):
            grid.addWidget(button, 0, column)
        grid.addWidget(self.reset_button, 0, 2, 1, 2)
        for column, button in enumerate((self.load_button, self.save_button, self.copy_button, self.layers_button)):
            grid.addWidget(button, 1, column)
        for column in range(4):
            grid.setColumnStretch(column, 1)
        self.weaker_button.clicked.connect(lambda: self.changed.emit(stronger(self.recipe, -1)))
        self.stronger_button.clicked.connect(lambda: self.changed.emit(stronger(self.recipe)))
        self.reset_button.clicked.connect(lambda: self.changed.emit(as_the_paper(self.recipe)))
        self.save_button.clicked.connect(self._ask_where)
        self.copy_button.clicked.connect(self.copy.emit)
        self.layers_button.clicked.connect(self.to_layers.emit)

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        for name in available_recipes():
            menu.addAction(name, lambda name=name: self.load(name))
        menu.addSeparator()
        menu.addAction("From a &file…", self._ask_which)
        return menu

    def load(self, name_or_path: str | Path) -> None:
        """Read a recipe; what is wrong with it is told by ``failed``."""
        try:
            recipe = read_recipe(name_or_path)
        except UserError as error:
            self.failed.emit(str(error))
            return
        self.loaded.emit(recipe, str(name_or_path))

    def save(self, path: str | Path) -> None:
        """Write the recipe; why it cannot be is told by ``failed``."""
        try:
            written = save_recipe(self.recipe, path)
        except UserError as error:
            self.failed.emit(str(error))
            return
        self.loaded.emit(self.recipe, str(written))

    def _ask_which(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Load a recipe", "", _FILES)
        if chosen:
            self.load(chosen)

    def _ask_where(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Save the recipe", "recipe.toml", _FILES)
        if chosen:
            self.save(chosen)


def _button(words: str, tip: str) -> QPushButton:
    button = QPushButton(words)
    button.setToolTip(tip)
    return button
