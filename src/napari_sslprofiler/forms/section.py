"""One section of a form: a heading that opens and closes it, and a row a setting."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_sslprofiler import style

from .controls import Control, control_for
from .row import Row
from .settings import Setting


class SectionForm(QWidget):
    """Rows of label, control and default. A closed section makes its controls when it is opened."""

    edited = Signal(str, object)  # key, new value
    reset = Signal(str)  # key

    def __init__(self, title: str, about: str, settings: Sequence[Setting], expanded: bool) -> None:
        super().__init__()
        self.settings = tuple(settings)
        self.keys = tuple(setting.key for setting in settings)
        self.defaults: dict[str, Any] = {setting.key: setting.default for setting in settings}
        self._values: dict[str, Any] = dict(self.defaults)
        self._rows: dict[str, Row] = {}
        self._only: Collection[str] | None = None
        self._title = title
        self._label_width = 0
        self.heading = QToolButton()
        self.heading.setCheckable(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setAutoRaise(True)
        self.heading.setToolTip(about)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.heading.setStyleSheet("QToolButton { font-weight: bold; border: none; padding: 3px; text-align: left; }")
        self.heading.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.heading.setVisible(bool(title))
        self.body = QWidget()
        self._grid = QGridLayout(self.body)
        self._grid.setContentsMargins(style.GAP if title else 0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.heading)
        layout.addWidget(self.body)
        self.heading.toggled.connect(self._open)
        if expanded or not title:
            self.heading.setChecked(True)
        else:
            self._open(False)

    @property
    def changed_keys(self) -> tuple[str, ...]:
        """Keys whose value is not the default."""
        return tuple(key for key in self.keys if self._values[key] != self.defaults[key])

    def control(self, key: str) -> Control:
        """The control of a key; opens the section."""
        self.heading.setChecked(True)
        return self._rows[key].control

    def row(self, key: str) -> Row:
        """The row of a key; opens the section."""
        self.heading.setChecked(True)
        return self._rows[key]

    def show_value(self, key: str, value: Any) -> None:
        """Show a value."""
        self._values[key] = value
        if key in self._rows:
            self._rows[key].show_value(value)
        self._count()

    def show_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Show these as the defaults."""
        self.defaults = dict(defaults)
        for key, row in self._rows.items():
            row.show_default(self.defaults[key])
        self._count()

    def say(self, key: str, message: str) -> bool:
        """Show a message beside a key and take the others away; False when the key has no row here."""
        for each, row in self._rows.items():
            row.say(message if each == key else "")
        return key in self._rows and self._rows[key].seen

    def show_only(self, keys: Collection[str] | None) -> None:
        """Hide the rows of all other keys."""
        self._only = keys
        for key, row in self._rows.items():
            row.show_row(keys is None or key in keys)

    def align(self, label: int, button: int) -> None:
        """Give the columns of labels and defaults a width in pixels, the same in all of a form's sections."""
        self._label_width = label
        self._grid.setColumnMinimumWidth(0, label)
        self._grid.setColumnMinimumWidth(2, button)
        for row in self._rows.values():
            row.label.setFixedWidth(label)

    def _open(self, opened: bool) -> None:
        self.heading.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        if opened and not self._rows:
            self._make()
        self.body.setVisible(opened)
        self._count()

    def _make(self) -> None:
        for place, setting in enumerate(self.settings):
            row = Row(self._grid, 2 * place, setting, control_for(setting))
            if self._label_width:
                row.label.setFixedWidth(self._label_width)
            row.show_value(self._values[setting.key])
            row.show_default(self.defaults[setting.key])
            row.show_row(self._only is None or setting.key in self._only)
            row.edited.connect(self._edit)
            row.reset.connect(self.reset)
            self._rows[setting.key] = row

    def _edit(self, key: str, value: Any) -> None:
        self._values[key] = value
        self._count()
        self.edited.emit(key, value)

    def _count(self) -> None:
        count = len(self.changed_keys)
        self.heading.setText(f"{self._title}   · {count} changed" if count else self._title)
