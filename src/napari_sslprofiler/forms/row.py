"""One row of a form: label, control, the default that a click brings back, and what is wrong."""

from __future__ import annotations

from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QToolButton

from napari_sslprofiler import style

from . import words
from .controls import Control
from .settings import Setting

REFUSED = "#b86a00"  # reads on napari's dark and light background: contrast 3.8 and 3.3
_ACCENT = style.CATEGORIES[0]
_PLAIN = """
QToolButton { border: none; background: transparent; padding: 1px 2px; font-size: 11px; font-weight: bold; }
QToolButton:disabled { color: #7f7f7f; font-weight: normal; }
QToolButton:focus { text-decoration: underline; }
"""


class Row:
    """Widgets of one setting in a grid of three columns; takes two of its rows."""

    edited = Signal(str, object)  # key, new value
    reset = Signal(str)  # key

    def __init__(self, grid: QGridLayout, place: int, setting: Setting, control: Control) -> None:
        self._setting, self.control = setting, control
        self._default: Any = setting.default
        self.label = QLabel()
        self.label.setToolTip(setting.tooltip)
        self.label.setTextFormat(Qt.TextFormat.RichText)
        self.label.setWordWrap(True)
        self.button = QToolButton()
        self.button.setAutoRaise(True)
        self.button.setStyleSheet(_PLAIN)
        self.button.clicked.connect(lambda: self.reset.emit(setting.key))
        self._message = style.hint()
        self._message.setStyleSheet(f"color: {REFUSED};")
        self._message.hide()
        grid.addWidget(self.label, place, 0)
        grid.addWidget(control, place, 1)
        grid.addWidget(self.button, place, 2, Qt.AlignmentFlag.AlignRight)
        grid.addWidget(self._message, place + 1, 0, 1, 3)
        self.seen = True
        control.edited.connect(self._edit)
        self._mark()

    def show_value(self, value: Any) -> None:
        """Show a value."""
        self.control.value = value
        self._mark()

    def show_default(self, default: Any) -> None:
        """Show this as the default."""
        self._default = default
        self.control.show_default(default)
        self._mark()

    def say(self, message: str) -> None:
        """Show what is wrong, or nothing."""
        self._message.setText(message)
        self._message.setVisible(bool(message))

    @property
    def message(self) -> str:
        """What is said to be wrong."""
        return self._message.text()

    def show_row(self, shown: bool) -> None:
        """Show or hide the row."""
        self.seen = shown
        for widget in (self.label, self.control, self.button):
            widget.setVisible(shown)
        if not shown:
            self._message.hide()

    def _edit(self, value: Any) -> None:
        self._mark()
        self.edited.emit(self._setting.key, value)

    def _mark(self) -> None:
        changed = self.control.value != self._default
        default = words.value_text(self._default)
        if changed:
            self.label.setText(f"<b>{self._setting.label}</b>&nbsp;<span style='color:{_ACCENT}'>●</span>")
        else:
            self.label.setText(self._setting.label)
        self.button.setText(f"↺ {default}" if changed else default)
        self.button.setEnabled(changed)
        self.button.setToolTip(f"Back to the default, {default}" if changed else f"As by default, {default}")
        self.button.setAccessibleName(f"{self._setting.label}: back to {default}")
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus if changed else Qt.FocusPolicy.NoFocus)
