"""A line that asks or says something, above the map; gone when answered."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QToolButton, QWidget

from napari_sslprofiler import style


class Banner(QFrame):
    """Words, at most two buttons, and a cross."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("banner")
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.first, self.second = QPushButton(), QPushButton()
        self.close_button = QToolButton()
        self.close_button.setText("✕")
        self.close_button.setAutoRaise(True)
        self.close_button.setAccessibleName("Close")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(10, 5, 5, 5)
        for widget in (self.words, self.first, self.second, self.close_button):
            layout.addWidget(widget)
        self._actions: list[Callable[[], None] | None] = [None, None]
        self.first.clicked.connect(lambda: self._act(0))
        self.second.clicked.connect(lambda: self._act(1))
        self.close_button.clicked.connect(self.hide)
        self.setStyleSheet(
            f"#banner {{ border: 1px solid {style.WARNING}; border-radius: 5px; }} #banner QLabel {{ border: none; }}"
        )
        self.hide()

    def say(self, words: str) -> None:
        """Show a sentence."""
        self.ask(words)

    def ask(
        self,
        words: str,
        first: tuple[str, Callable[[], None]] | None = None,
        second: tuple[str, Callable[[], None]] | None = None,
    ) -> None:
        """Show a sentence and what can be done: (button's words, what it does)."""
        self.words.setText(words)
        for place, (button, offer) in enumerate(((self.first, first), (self.second, second))):
            button.setVisible(offer is not None)
            button.setText(offer[0] if offer else "")
            self._actions[place] = offer[1] if offer else None
        self.show()

    def _act(self, place: int) -> None:
        self.hide()
        action = self._actions[place]
        if action is not None:
            action()
