"""Plugins > SSLProfiler > Augmentation preview: what training makes of the site on show, live under every setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QGuiApplication, QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sslprofiler import style
from napari_sslprofiler.background import Latest
from napari_sslprofiler.forms.form import RecipeForm
from napari_sslprofiler.lifetime import hear, later
from napari_sslprofiler.state import session_of
from sslprofiler_core.recipes import Recipe, load_recipe

from .canvas import ViewsCanvas
from .client import Renderer
from .crop_layer import add_pictures, warm_up
from .crops import Crops
from .draw_bar import DrawBar
from .model import Wish, choices_of_partner, idle_keys, settle
from .pairing import Pairings
from .recipe_bar import RecipeBar
from .scales import Scales
from .showing import Answer, channel_groups, drawn_table, group_names, notes_of, panels_of, train_command
from .split import ViewsAndSettings

if TYPE_CHECKING:
    from napari import Viewer

    from napari_sslprofiler.state import Screen
    from sslprofiler_core.plates import Plate, Site

_NOTHING = "No site is on show. Open plates (Plugins > SSLProfiler > Plates) and choose a site."
_STARTING = "The first preview takes some seconds: the renderer is starting."
_BASE = "paper-vits14"
_PASS_ON_MS = 200  # after the last change, other widgets hear of the recipe


class PreviewWidget(QWidget):
    """``v1``, its masked twin and ``v2`` of the site on show, and every setting that makes them.

    Parameters
    ----------
    renderer
        One to share; else the widget has its own, which ends with it.
    """

    def __init__(self, napari_viewer: Viewer, *, renderer: Renderer | None = None) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._session = session_of(napari_viewer)
        self._renderer = renderer or Renderer()
        self._pairings = Pairings()
        self._latest: Latest[tuple[Wish, bool], Answer] = Latest(self._work, self._arrived, self._refused, self)
        self._asked = self._waiting = False
        self._scales = Scales(self.refresh, self._say, self)
        self._crops = Crops(napari_viewer)
        self._base = (_BASE, load_recipe(_BASE))
        self.answer: Answer | None = None
        self._build()
        self._passing = later(self, _PASS_ON_MS, self._pass_on)
        self._again = later(self, 0, self.refresh)
        self._connect()
        self._show_recipe(self._session.recipe)
        self._take_site(self._session.shown)
        # Neither the process nor the crops may outlive the widget, whichever way it goes.
        if renderer is None:
            self.destroyed.connect(self._renderer.close)
        self.destroyed.connect(self._crops.clear)

    # --- What the widget is made of ----------------------------------------------------------------------------------

    def _build(self) -> None:
        self.title = style.heading("")
        self.crop_check = QCheckBox("Crop on the &image")
        self.crop_check.setChecked(True)
        self.crop_check.setToolTip("The drawn crop on the site on show; the mark is at the view's top left corner")
        self.second_check = QCheckBox("v2's to&o")
        self.second_check.setToolTip("Show the site that v2 is taken from beside it, with its crop")
        top = QHBoxLayout()
        top.addWidget(self.title, 1)
        top.addWidget(self.crop_check)
        top.addWidget(self.second_check)
        self.bar = DrawBar()
        self.canvas = ViewsCanvas()
        self.pixel = QLabel()
        self.pixel.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.pixel.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.message = style.hint()
        self.message.hide()
        self.drawn = QLabel()
        self.drawn.setTextFormat(Qt.TextFormat.RichText)
        self.drawn.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.drawn.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.drawn.setMargin(style.GAP)
        views = QWidget()
        above = QVBoxLayout(views)
        above.setContentsMargins(0, 0, 0, 0)
        above.setSpacing(style.GAP)
        above.addLayout(top)
        above.addWidget(self.bar)
        above.addWidget(self.canvas, 1)
        above.addWidget(self.pixel)
        above.addWidget(self.message)
        self.form = RecipeForm(Recipe, show={"augment": None, "loss": ("mask_images", "mask_ratio")})
        self.recipe_bar = RecipeBar(self.form.value)
        settings = QWidget()
        below = QVBoxLayout(settings)
        below.setContentsMargins(0, 0, 0, 0)
        below.setSpacing(style.GAP)
        below.addWidget(self.recipe_bar)
        self.tabs = QTabWidget()
        self.tabs.addTab(self.form, "Settin&gs")
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setWidget(self.drawn)
        self.tabs.addTab(scroll, "What was dra&wn")
        below.addWidget(self.tabs, 1)
        self._split = ViewsAndSettings(views, settings, self._spare_height)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(style.MARGIN, style.MARGIN, style.MARGIN, style.MARGIN)
        layout.addWidget(self._split)

    def _connect(self) -> None:
        events = self._session.events
        hear(events.shown, self._take_site, self)
        hear(events.screen, self._take_screen, self)
        hear(events.recipe, self._take_recipe, self)
        self.form.changed.connect(self._tuned)
        self.form.problem_changed.connect(lambda _: self._show_idle())
        self.bar.changed.connect(self.refresh)
        self.bar.recoloured.connect(self._paint)
        self.bar.seed_changed.connect(self._set_seed)
        self.bar.as_training.connect(self._go_to_training)
        self.crop_check.toggled.connect(self._show_crops)
        self.second_check.toggled.connect(self._show_crops)
        self.canvas.hovered.connect(self._show_pixel)
        self.recipe_bar.changed.connect(self._replace_recipe)
        self.recipe_bar.loaded.connect(self._loaded)
        self.recipe_bar.failed.connect(self._say)
        self.recipe_bar.copy.connect(lambda: QGuiApplication.clipboard().setText(self.command()))
        self.recipe_bar.to_layers.connect(self.show_in_napari)

    def _spare_height(self, whole: int) -> int:
        """How much higher the canvas is than its row of pictures, which may fill 0.4 of the height."""
        row = min(self.canvas.height_of_row(self.canvas.width()), round(0.4 * whole))
        return self.canvas.height() - row

    def showEvent(self, event: QShowEvent) -> None:
        """Start the renderer when it is first seen, and catch up."""
        super().showEvent(event)
        self._renderer.start()
        self.refresh()

    # --- The recipe --------------------------------------------------------------------------------------------------

    def _tuned(self, recipe: Recipe) -> None:
        """The form says something new."""
        self._show_recipe(recipe)
        self._passing.start()
        self.refresh()

    def _replace_recipe(self, recipe: Recipe) -> None:
        self.form.value = recipe  # and on from there, as when tuned

    def _set_seed(self, seed: int) -> None:
        recipe: Recipe = self.form.value
        self._replace_recipe(recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})}))

    def _take_recipe(self, recipe: Recipe) -> None:
        """Another widget has changed the recipe."""
        if recipe != self.form.value:
            self.form.value = recipe

    def _pass_on(self) -> None:
        if self._session.recipe != self.form.value:
            self._session.recipe = self.form.value

    def _show_recipe(self, recipe: Recipe) -> None:
        if self.form.value != recipe:
            with QSignalBlocker(self), self.form.changed.blocked():
                self.form.value = recipe
        self.recipe_bar.recipe = recipe
        self.bar.show_seed(recipe.train.seed, recipe.train.batch)
        self.bar.show_tiles(recipe.plates.tile)
        self.bar.offer_sizes(recipe.augment.size)
        self._show_idle()

    def _show_idle(self) -> None:
        """Hide what has no effect, by what the controls say: a refused choice must be open to repair."""
        idle = idle_keys(self.form.control("augment.kind").value, self.form.control("augment.local_crops").value)
        self.form.show_only({setting.key for setting in self.form.settings} - idle)

    def _loaded(self, recipe: Recipe, name: str) -> None:
        self._base = (name, recipe)
        self._replace_recipe(recipe)
        self._say(f"Recipe {name}.")

    def command(self) -> str:
        """The command that trains on the open plates with these settings."""
        return train_command(self._session.screen, self.bar.group, self.form.value, *self._base)

    # --- The site ----------------------------------------------------------------------------------------------------

    def _plate(self) -> tuple[Screen, Plate, Site] | None:
        screen, site = self._session.screen, self._session.shown
        plate = screen.plate(site.plate) if screen is not None and site is not None else None
        return (screen, plate, site) if screen is not None and plate is not None and site is not None else None

    def _take_screen(self, screen: Screen | None) -> None:
        known = self._plate()
        if known is None:
            self._take_site(None)
        else:
            self.refresh()

    def _take_site(self, site: Site | None) -> None:
        """Another site is on show: what was asked for the last one is dropped."""
        self._latest.forget()
        self._asked = self._waiting = False
        self._crops.hide()
        known = self._plate()
        if known is None:
            self.answer = None
            self.canvas.show_message(_NOTHING)
            for label in (self.title, self.pixel, self.drawn):
                label.clear()
            self._enable(False)
            return
        _, plate, site = known
        self.title.setText(f"<b>{site.well}</b>&nbsp; site {site.site}&nbsp; of {plate.name}")
        self.bar.offer_groups(channel_groups(plate))
        self.bar.offer_partners(choices_of_partner(plate, site))
        if self.answer is None:
            self.canvas.show_message(_STARTING)
        else:
            self.canvas.dim()
        self._enable(True)
        self.refresh()

    def _enable(self, there: bool) -> None:
        self.bar.setEnabled(there)
        self.recipe_bar.layers_button.setEnabled(there)

    # --- Asking and answering ----------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Ask for the views that the controls describe, soon: the newest request wins."""
        known = self._plate()
        if known is None or not self.isVisible():
            return
        if self._asked:
            # What is under way is shown when it is there, so that pictures follow a slider; then comes the newest.
            self._waiting = True
            return
        self._waiting = False
        screen, plate, site = known
        recipe: Recipe = self.form.value
        group = self.bar.group
        names = group_names(plate, group)
        exact = self._scales.get(plate, recipe, names)
        wish = Wish(
            screen.plates,
            plate,
            site,
            recipe,
            group,
            self.bar.step_box.value(),
            min(self.bar.sample_box.value(), recipe.train.batch - 1),
            self.bar.size,
            dict(exact if exact is not None else screen.scale.get(plate.name, {})),
            self.bar.tile,
            self.bar.partner,
            self._scales.fields(plate, recipe, names),
        )
        self._asked = True
        self._latest.ask((wish, exact is not None))

    def _work(self, asked: tuple[Wish, bool]) -> Answer:
        wish, exact = asked
        settled = settle(wish, self._pairings)
        if self.answer is None:
            warm_up()
        return Answer(wish, settled, self._renderer.ask(settled.request), exact)

    def _arrived(self, answer: Answer) -> None:
        self.answer = answer
        request = answer.settled.request
        self.bar.offer_channels(request.names)
        if answer.wish.partner is None:
            self.bar.tell_partner(request.second.site, request.second == request.first)
        later = answer.settled.later
        self.bar.training_button.setEnabled(later is not None)
        self.bar.training_button.setToolTip(
            f"The next time that training takes v1 from this site: step {later.step}, sample {later.sample}"
            if later is not None
            else "The open plates do not fill a batch of this recipe"
        )
        self._paint()
        self._say(notes_of(answer))
        self._show_pixel(-1, -1, -1)
        self._show_crops()
        self._go_on()

    def _refused(self, message: str) -> None:
        self.answer = None
        self.canvas.show_message(message)
        self._say("")
        self._crops.hide()
        self._go_on()

    def _go_on(self) -> None:
        self._asked = False
        if self._waiting:
            self._again.start()

    def _say(self, message: str) -> None:
        self.message.setText(message)
        self.message.setVisible(bool(message))
        self._split.share()

    def _go_to_training(self) -> None:
        if self.answer is not None and self.answer.settled.later is not None:
            step, sample = self.answer.settled.later
            with QSignalBlocker(self.bar):
                self.bar.partner_box.setCurrentIndex(0)
            self.bar.go_to(step, sample)

    # --- Showing -----------------------------------------------------------------------------------------------------

    def _paint(self) -> None:
        if self.answer is None:
            return
        self.canvas.show_panels(panels_of(self.answer, self.bar.channel))
        self.drawn.setText(drawn_table(self.answer.preview))

    def _show_crops(self) -> None:
        known = self._plate()
        self.second_check.setEnabled(self.crop_check.isChecked())
        if self.answer is None or known is None or not self.crop_check.isChecked():
            self._crops.hide()
        elif known[2] == self.answer.wish.site:
            self._crops.show(known[1], self.answer.preview, self.second_check.isChecked())

    def _show_pixel(self, panel: int, row: int, column: int) -> None:
        if self.answer is None:
            return
        preview = self.answer.preview
        if panel < 0:
            milliseconds = 1000 * preview.seconds_rendering
            self.pixel.setText(f"{preview.request.size} px views, made in {milliseconds:.0f} ms")
            return
        if panel > 2:
            self.pixel.setText("Local crops: parts of v1's site, for the student alone")
            return
        view = preview.v2_CSS if panel == 2 else preview.v1_CSS
        values = [f"{name} {view[place, row, column]:.2f}" for place, name in enumerate(preview.request.names)]
        self.pixel.setText(f"{('v1', 'v1', 'v2')[panel]} at {column}, {row}:  " + "   ".join(values))

    def show_in_napari(self) -> None:
        """Put the pictures below the site, as layers."""
        known = self._plate()
        if self.answer is not None and known is not None:
            shape = known[1].shape or self.answer.preview.shapes[0]
            add_pictures(self._viewer, self.canvas.panels, shape, known[1].pixel_size_um)
