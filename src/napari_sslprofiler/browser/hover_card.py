"""The card beside the pointer: which row it is, what is known of it, and its thumbnail."""

from __future__ import annotations

import html

import pandas as pd
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtGui import QHideEvent, QPixmap
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QWidget

from .columns import title_of
from .state import BrowserState

_SIDE = 112  # of a thumbnail, pixels
_LINES = 6
_LONGEST = 34
# Facts that say nothing to a reader at the pointer.
_DULL = ("smiles", "inchi", "inchikey", "target_sequence", "positionx", "positiony", "path", "file", "url")


def card_lines(state: BrowserState, row: int) -> list[tuple[str, str]]:
    """What a card says of a row: (column, value), what it is coloured by and its label first; then a few others."""
    table = state.table
    if table is None:
        return []
    roles = table.roles
    first = [name for name in (state.colouring.column, roles.label, roles.cell_line) if name]
    # A few others that tell rows apart: a column of one value says nothing.
    others = []
    for name in state.column_names:
        plain = name.removeprefix("Metadata_").casefold()
        if name in (roles.plate, roles.well, roles.site) or any(plain.startswith(dull) for dull in _DULL):
            continue
        if not state.columns.tells(name):
            continue
        others.append(name)
    lines: list[tuple[str, str]] = []
    for name in dict.fromkeys([*first, *others]):
        values = state.values(name)
        value = values.iloc[row] if isinstance(values, pd.Series) else values[row]
        if pd.isna(value):
            if name != state.colouring.column:
                continue
            text = "no value"
        else:
            text = f"{value:.4g}" if isinstance(value, float) else str(value)
        if len(text) > _LONGEST:
            text = text[: _LONGEST - 1] + "…"
        if any(text == other for _, other in lines):
            continue  # the same name in another vocabulary
        lines.append((title_of(name), text))
        if len(lines) == _LINES:
            break
    return lines


class HoverCard(QFrame):
    """Lies over the map, beside the pointer; never under it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setObjectName("hover_card")
        self._picture, self._text = QLabel(), QLabel()
        self._text.setTextFormat(Qt.TextFormat.RichText)
        self._text.setAlignment(Qt.AlignmentFlag.AlignTop)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 8, 10, 8)
        layout.setSpacing(10)
        layout.addWidget(self._picture, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self._text, 1)
        self.row: int | None = None
        self._state: BrowserState | None = None
        self._pointer = QPoint()
        # A thumbnail is made in the background: look again until it is there.
        self._again = QTimer(self)
        self._again.setInterval(120)
        self._again.timeout.connect(self._look_again)
        self.hide()

    def set_theme(self, dark: bool) -> None:
        """Colours for a dark or a light theme."""
        back, line, text = ("#2b2e35", "#4d525c", "#f0f1f2") if dark else ("#ffffff", "#c9ccd2", "#22252b")
        self._faint = "#a3a8b2" if dark else "#6d727c"
        self.setStyleSheet(
            f"#hover_card {{ background: {back}; border: 1px solid {line}; border-radius: 6px; }}"
            f"#hover_card QLabel {{ background: transparent; color: {text}; }}"
        )

    def hideEvent(self, event: QHideEvent) -> None:
        """What is shown next is described anew."""
        self.row = None
        self._again.stop()

    def show_row(self, state: BrowserState, row: int, pointer: QPoint) -> None:
        """Describe a row beside the pointer."""
        if state.table is None:
            return
        if row != self.row or state is not self._state:
            self.row, self._state = row, state
            self._describe(state, row)
        self._pointer = pointer
        if not self._fetch_picture(state, row) and state.thumbnail_for is not None:
            self._again.start()
        self.adjustSize()
        self._place(pointer)
        self.show()
        self.raise_()

    def _describe(self, state: BrowserState, row: int) -> None:
        assert state.table is not None
        colour = state.colouring.colour(row)
        lines = "".join(
            f"<tr><td style='color:{self._faint}; padding-right:8px'>{html.escape(name)}</td>"
            f"<td>{html.escape(value)}</td></tr>"
            for name, value in card_lines(state, row)
        )
        self._text.setText(
            f"<div style='white-space:nowrap'><span style='color:{colour}'>●</span> "
            f"<b>{html.escape(state.table.row_name(row))}</b></div>"
            f"<table cellspacing='0' cellpadding='1' style='margin-top:3px'>{lines}</table>"
        )

    def _look_again(self) -> None:
        if self._state is None or self.row is None or self.row >= len(self._state) or not self.isVisible():
            self._again.stop()
        elif self._fetch_picture(self._state, self.row):
            self.adjustSize()
            self._place(self._pointer)

    def _fetch_picture(self, state: BrowserState, row: int) -> bool:
        image = state.thumbnail_for(row) if state.thumbnail_for is not None else None
        if image is None:
            self._picture.hide()
            return False
        self._again.stop()
        pixmap = QPixmap.fromImage(image)
        keep, smooth = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        self._picture.setPixmap(pixmap.scaled(_SIDE, _SIDE, keep, smooth))
        self._picture.show()
        return True

    def _place(self, pointer: QPoint) -> None:
        around = self.parentWidget().rect()
        x, y = pointer.x() + 18, pointer.y() + 14
        if x + self.width() > around.width() - 6:
            x = pointer.x() - self.width() - 14
        if y + self.height() > around.height() - 6:
            y = pointer.y() - self.height() - 10
        self.move(max(4, x), max(4, y))
