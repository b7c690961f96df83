"""Which channels thumbnails show: a check box a channel, in the channel's colour."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QToolButton

from .gallery_flow import dress_menu_button
from .gallery_paint import painting
from .thumbnails_link import Thumbnails


class ChannelBar(QToolButton):
    """A button that says what is shown; its menu has a check box a channel, "all stains", and one site or all.

    Signals
    -------
    changed
        Other channels or sites are shown.
    """

    changed = Signal()

    def __init__(self, thumbnails: Thumbnails) -> None:
        super().__init__()
        self._thumbnails = thumbnails
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setToolTip("Channels of the thumbnails. Ctrl-click one to see it alone.")
        self._menu = dress_menu_button(self)
        thumbnails.channels_changed.connect(self.refresh)
        thumbnails.store.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the channels that there are."""
        menu, thumbnails = self._menu, self._thumbnails
        choice = thumbnails.store.choice
        menu.clear()
        for channel in thumbnails.channels:
            action = menu.addAction(_spot(channel.colour), channel.name)
            action.setCheckable(True)
            action.setChecked(channel.name in choice.channels)
            action.triggered.connect(lambda on, name=channel.name: self._toggle(name, on))
        if thumbnails.channels:
            menu.addSeparator()
            menu.addAction("All stains together", self.show_composite)
            alone = menu.addMenu("One channel alone")
            for channel in thumbnails.channels:
                alone.addAction(_spot(channel.colour), channel.name, lambda name=channel.name: self.show_alone(name))
            menu.addSeparator()
            whole = menu.addAction("All sites of a well")
            whole.setCheckable(True)
            whole.setChecked(choice.whole_well)
            whole.triggered.connect(self._show_whole)
        shown = [c for c in thumbnails.channels if c.name in choice.channels]
        stains = [c for c in thumbnails.channels if c.fluorescent]
        words = "All stains" if shown == stains and len(stains) > 1 else ", ".join(c.name for c in shown[:2])
        if shown != stains and len(shown) > 2:
            words = f"{len(shown)} channels"
        self.setText(f"{words or 'Channels'} ▾")
        self.setEnabled(bool(thumbnails.channels))
        self.setIcon(_spots([c.colour for c in shown]))
        self.setIconSize(QSize(max(6 * len(shown) + 4, 10), 12))

    def show_composite(self) -> None:
        """All fluorescence channels."""
        self._show({c.name: c.fluorescent for c in self._thumbnails.channels})

    def show_alone(self, name: str) -> None:
        """One channel, in grey."""
        self._show({c.name: c.name == name for c in self._thumbnails.channels})

    def _toggle(self, name: str, on: bool) -> None:
        shown = self._thumbnails.store.choice.channels
        names = {c.name: c.name in shown for c in self._thumbnails.channels}
        names[name] = on
        if not any(names.values()):
            names[name] = True  # something is always shown
        self._show(names)

    def _show(self, channels: dict[str, bool]) -> None:
        self._thumbnails.show(channels)
        self.refresh()
        self.changed.emit()

    def _show_whole(self, whole: bool) -> None:
        self._thumbnails.show(whole_well=whole)
        self.changed.emit()


def _spot(colour: str) -> QIcon:
    return _spots([colour], 12)


def _spots(colours: list[str], width: int = 6) -> QIcon:
    picture = QPixmap(max(width * len(colours) + 4, 10), 12)
    picture.fill(Qt.GlobalColor.transparent)
    with painting(picture) as painter:
        painter.setPen(Qt.PenStyle.NoPen)
        for i, colour in enumerate(colours):
            painter.setBrush(QColor(colour).lighter(130))
            painter.drawRoundedRect(2 + width * i, 1, width - 1, 10, 1.5, 1.5)
    return QIcon(picture)
