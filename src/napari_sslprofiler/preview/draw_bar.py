"""Which views are asked for: sites, channels, size, and the draw. Controls alone; what they mean is the model's."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QPushButton, QSpinBox, QWidget

from .compose import COMPOSITE
from .model import SIZES

_MOST = 2**31 - 1


class DrawBar(QWidget):
    """Controls above the views; ``changed`` when other views are asked for, ``recoloured`` for other colours."""

    changed = Signal()
    recoloured = Signal()
    seed_changed = Signal(int)
    as_training = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.partner_box = _box("v2 from site", "The other site of the well, which v2 is taken from")
        self.group_box = _box("Channel group", "The channels that one model sees, as in training")
        self.channel_box = _box("Show", "All channels in their layers' colours, or one in grey")
        self.size_box = _box("Size of the views", "Small is fast; training's own size gives its own pixels")
        self.tile_box = _spin("Piece", "Which of the pieces that the recipe cuts sites into (plates.tile)", 1)
        self.seed_box = _spin("Seed", "train.seed of the recipe")
        self.step_box = _spin("Step", "The step of training, from 0")
        self.sample_box = _spin("Sample", "The place in the step's batch, from 0")
        self.another_button = QPushButton("&Another draw")
        self.another_button.setToolTip("The same sites in the next step")
        self.training_button = QPushButton("As in &training")
        self._tile_label = QLabel("Piece")
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        for place, (words, box) in enumerate(
            (
                ("&Channels", self.group_box),
                ("Sho&w", self.channel_box),
                ("v&2 from", self.partner_box),
                ("Si&ze", self.size_box),
            )
        ):
            label = QLabel(words)
            label.setBuddy(box)
            grid.addWidget(label, place // 2, 2 * (place % 2))
            grid.addWidget(box, place // 2, 2 * (place % 2) + 1)
        row = QHBoxLayout()
        row.setSpacing(4)
        for words, box in (("See&d", self.seed_box), ("Ste&p", self.step_box), ("Sa&mple", self.sample_box)):
            label = QLabel(words)
            label.setBuddy(box)
            row.addWidget(label)
            row.addWidget(box)
        row.addWidget(self._tile_label)
        row.addWidget(self.tile_box)
        row.addStretch(1)
        row.addWidget(self.another_button)
        row.addWidget(self.training_button)
        grid.addLayout(row, 2, 0, 1, 4)
        self.show_tiles(1)

    def _connect(self) -> None:
        for box in (self.group_box, self.partner_box, self.size_box):
            box.currentIndexChanged.connect(lambda _: self.changed.emit())
        self.channel_box.currentIndexChanged.connect(lambda _: self.recoloured.emit())
        for spin in (self.tile_box, self.step_box, self.sample_box):
            spin.valueChanged.connect(lambda _: self.changed.emit())
        self.seed_box.valueChanged.connect(self.seed_changed.emit)
        self.another_button.clicked.connect(lambda: self.step_box.setValue(self.step_box.value() + 1))
        self.training_button.clicked.connect(self.as_training.emit)

    # --- What is chosen ----------------------------------------------------------------------------------------------

    @property
    def group(self) -> str:
        """The channel group."""
        return str(self.group_box.currentData() or "all")

    @property
    def channel(self) -> str:
        """The one channel shown, or the composite."""
        return str(self.channel_box.currentData() or COMPOSITE)

    @property
    def size(self) -> int:
        """Side of the views; 0: the recipe's."""
        return int(self.size_box.currentData() or 0)

    @property
    def partner(self) -> int | None:
        """The site chosen for ``v2``; None: as training pairs."""
        return self.partner_box.currentData()

    @property
    def tile(self) -> int:
        """The piece of the site, from 0."""
        return self.tile_box.value() - 1

    def go_to(self, step: int, sample: int) -> None:
        """Choose a draw."""
        self.step_box.blockSignals(True)
        self.step_box.setValue(step)
        self.step_box.blockSignals(False)
        self.sample_box.blockSignals(True)
        self.sample_box.setValue(sample)
        self.sample_box.blockSignals(False)
        self.changed.emit()

    # --- What there is to choose from --------------------------------------------------------------------------------

    def offer_groups(self, groups: Sequence[tuple[str, str]]) -> None:
        """Offer channel groups: words and name; keeps the choice where it can."""
        _refill(self.group_box, groups)

    def offer_channels(self, names: Sequence[str]) -> None:
        """Offer the composite and each channel; keeps the choice where it can."""
        _refill(self.channel_box, [("Composite", COMPOSITE), *((name, name) for name in names)])

    def offer_partners(self, numbers: Sequence[int]) -> None:
        """Offer the other sites of the well; the choice goes back to training's."""
        rule = "as training pairs" if numbers else "the same site"
        _refill(self.partner_box, [(rule, None), *((f"site {number}", number) for number in numbers)], keep=False)
        self.partner_box.setEnabled(bool(numbers))

    def tell_partner(self, number: int, same: bool) -> None:
        """Say which site training's rule gives."""
        self.partner_box.setItemText(0, "the same site" if same else f"site {number} (training's)")

    def offer_sizes(self, own: int) -> None:
        """Offer sizes up to training's own; a small view's own size is the first choice."""
        smaller = [(f"{side} px", side) for side in SIZES if side < own]
        first = self.size_box.count() == 0
        _refill(self.size_box, [*smaller, (f"{own} px, as in training", 0)])
        if first:
            place = self.size_box.findData(256)
            self.size_box.blockSignals(True)
            self.size_box.setCurrentIndex(place if place >= 0 else self.size_box.count() - 1)
            self.size_box.blockSignals(False)

    def show_tiles(self, tile: int) -> None:
        """Offer the pieces of a site where the recipe cuts sites."""
        self._tile_label.setVisible(tile > 1)
        self.tile_box.setVisible(tile > 1)
        self.tile_box.blockSignals(True)
        self.tile_box.setMaximum(tile * tile)
        self.tile_box.blockSignals(False)

    def show_seed(self, seed: int, batch: int) -> None:
        """Show the recipe's seed, and offer its batch's samples."""
        self.seed_box.blockSignals(True)
        self.seed_box.setValue(min(seed, _MOST))
        self.seed_box.blockSignals(False)
        self.sample_box.setMaximum(batch - 1)
        self.sample_box.setToolTip(f"The place in the step's batch: 0 to {batch - 1}")


def _box(name: str, tip: str) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(name)
    box.setToolTip(tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    return box


def _spin(name: str, tip: str, first: int = 0) -> QSpinBox:
    box = QSpinBox()
    box.setRange(first, _MOST)
    box.setAccessibleName(name)
    box.setToolTip(tip)
    box.setAlignment(Qt.AlignmentFlag.AlignRight)
    box.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
    box.setStyleSheet("QSpinBox { min-width: 36px; padding: 1px 4px; }")
    # The range's last number would make it wide; six digits are enough to see.
    box.setMaximumWidth(62)
    return box


def _refill(box: QComboBox, items: Sequence[tuple[str, object]], keep: bool = True) -> None:
    chosen = box.currentData()
    old = [(box.itemText(place), box.itemData(place)) for place in range(box.count())]
    if keep and old == list(items):
        return
    box.blockSignals(True)
    box.clear()
    for words, data in items:
        box.addItem(words, data)
    place = box.findData(chosen) if keep and chosen is not None else 0
    box.setCurrentIndex(max(0, place))
    box.blockSignals(False)
