"""Bars of controls that live in 400 pixels: what does not fit on a line begins another."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QRect, QSize
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QCheckBox, QMenu, QSizePolicy, QToolButton, QWidget


class FlowBar(QWidget):
    """Widgets side by side, in as many lines as they need; expanding ones share what is left of their line."""

    def __init__(self, *widgets: QWidget, gap: int = 6) -> None:
        super().__init__()
        self._widgets = list(widgets)
        self._gap = gap
        for widget in widgets:
            widget.setParent(self)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def hasHeightForWidth(self) -> bool:
        """Lines depend on the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Of all lines together."""
        lines = self._lines(width)
        return sum(_height(line) for line in lines) + self._gap * max(0, len(lines) - 1)

    def sizeHint(self) -> QSize:
        """As high as its width wants it."""
        width = sum(_size(widget).width() + self._gap for widget in self._shown())
        return QSize(width, self.heightForWidth(max(self.width(), 1)))

    def minimumSizeHint(self) -> QSize:
        """The widest of them, and as high as its width wants it."""
        width = max((widget.minimumSizeHint().width() for widget in self._shown()), default=0)
        return QSize(width, self.heightForWidth(max(self.width(), 1)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Other lines."""
        super().resizeEvent(event)
        self._arrange()

    def event(self, event: QEvent) -> bool:
        """A widget came, went, or wants another size."""
        if event.type() == QEvent.Type.LayoutRequest:
            self._arrange()
        return super().event(event)

    def _shown(self) -> list[QWidget]:
        return [widget for widget in self._widgets if not widget.isHidden()]

    def _lines(self, width: int) -> list[list[QWidget]]:
        lines: list[list[QWidget]] = []
        used = 0
        for widget in self._shown():
            wide = _size(widget).width()
            if not lines or used + wide > width:
                lines.append([])
                used = 0
            lines[-1].append(widget)
            used += wide + self._gap
        return lines

    def _arrange(self) -> None:
        y = 0
        for line in self._lines(self.width()):
            height = _height(line)
            spare = self.width() + self._gap - sum(_size(widget).width() + self._gap for widget in line)
            growing = [widget for widget in line if _grows(widget)]
            x = 0
            for widget in line:
                size = _size(widget)
                width = size.width() + (max(0, spare) // len(growing) if widget in growing else 0)
                widget.setGeometry(QRect(x, y + (height - size.height()) // 2, min(width, self.width()), size.height()))
                x += width + self._gap
            y += height + self._gap
        if self.height() != self.heightForWidth(self.width()):
            self.updateGeometry()


def _height(line: list[QWidget]) -> int:
    return max(_size(widget).height() for widget in line)


def _size(widget: QWidget) -> QSize:
    size = widget.sizeHint()
    if isinstance(widget, QCheckBox):
        size += QSize(4, 0)  # napari's style draws its box wider than it tells
    return size.expandedTo(widget.minimumSize()).boundedTo(widget.maximumSize())


def _grows(widget: QWidget) -> bool:
    bounded = widget.maximumWidth() <= _size(widget).width()
    return widget.sizePolicy().horizontalPolicy() == QSizePolicy.Policy.Expanding and not bounded


def dress_menu_button(button: QToolButton, words: str = "") -> QMenu:
    """Give a button a menu that drops at a click, and an arrow of our own: napari's style puts Qt's over a letter."""
    if words:
        button.setText(f"{words} ▾")
    button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    button.setAutoRaise(True)
    button.setStyleSheet("QToolButton::menu-indicator { image: none; width: 0; } QToolButton { padding: 2px 6px; }")
    menu = QMenu(button)
    button.setMenu(menu)
    return menu
