"""One look for all widgets: headings, hints, spacing, and colours that can be told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPalette, QResizeEvent
from qtpy.QtWidgets import QFrame, QLabel, QSizePolicy, QWidget

if TYPE_CHECKING:
    from numpy.typing import NDArray

GAP = 6  # pixels between controls
MARGIN = 9  # pixels about a widget's content

# Paul Tol's bright and muted schemes, which colour-blind readers can tell apart, then lighter and darker companions.
CATEGORIES = (
    "#4477aa",
    "#ee6677",
    "#228833",
    "#ccbb44",
    "#66ccee",
    "#aa3377",
    "#ee8866",
    "#44bb99",
    "#bbcc33",
    "#99ddff",
    "#cc6677",
    "#ddcc77",
    "#999933",
    "#88ccee",
    "#882255",
    "#117733",
    "#aa4499",
    "#ffaabb",
    "#6699cc",
    "#997700",
)
OTHER = "#8a8a8a"
WARNING = "#d99a2b"
GOOD = "#3fa66b"

# Viridis at nine places (Smith and van der Walt 2015): even steps for the eye, in grey too.
_VIRIDIS = np.array(
    [
        [68, 1, 84],
        [71, 44, 122],
        [59, 81, 139],
        [44, 113, 142],
        [33, 144, 141],
        [39, 173, 129],
        [92, 200, 99],
        [170, 220, 50],
        [253, 231, 37],
    ],
    np.float64,
)


def sequential(values: NDArray[np.floating] | list[float]) -> NDArray[np.uint8]:
    """Colours of values in [0, 1]: ``(N,)`` -> ``(N, 3)`` uint8; clipped, NaN is grey."""
    array = np.asarray(values, np.float64)
    known = np.isfinite(array)
    place = np.clip(np.where(known, array, 0.0), 0.0, 1.0) * (len(_VIRIDIS) - 1)
    at = np.arange(len(_VIRIDIS))
    colours = np.stack([np.interp(place, at, _VIRIDIS[:, i]) for i in range(3)], axis=-1)
    colours[~known] = 138.0
    return np.rint(colours).astype(np.uint8)


def is_dark(widget: QWidget) -> bool:
    """Whether the widget's background is dark, as napari's theme has it."""
    return background(widget).lightnessF() < 0.5


def background(widget: QWidget) -> QColor:
    """The background that napari's theme gives a widget."""
    return _theme_colour(widget, "background") or widget.palette().color(QPalette.ColorRole.Window)


def text(widget: QWidget) -> QColor:
    """The colour of text in napari's theme."""
    return _theme_colour(widget, "text") or widget.palette().color(QPalette.ColorRole.WindowText)


def faint(widget: QWidget) -> QColor:
    """A colour for lines and empty places: between background and text."""
    back, front = background(widget), text(widget)
    mixed = [round(0.75 * b + 0.25 * f) for b, f in zip(back.getRgb()[:3], front.getRgb()[:3], strict=True)]
    return QColor(*mixed)


def _theme_colour(widget: QWidget, name: str) -> QColor | None:
    """napari styles by style sheet, which a palette does not tell of: ask its theme, where the widget is in napari."""
    from napari import current_viewer
    from napari.settings import get_settings
    from napari.utils.theme import get_theme

    if not widget.window().inherits("QMainWindow"):
        return None
    # A viewer may have another theme than the settings: napari's shortcut toggles the one and leaves the other.
    viewer = current_viewer()
    theme = get_theme(viewer.theme if viewer is not None else get_settings().appearance.theme)
    return QColor(getattr(theme, name).as_hex())


def heading(words: str) -> QLabel:
    """A section's heading."""
    label = QLabel(f"<b>{words}</b>")
    label.setTextFormat(Qt.TextFormat.RichText)
    return label


def hint(words: str = "") -> QLabel:
    """A line of explanation: wraps, can be copied."""
    label = QLabel(words)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.MinimumExpanding)
    label.setMinimumWidth(120)
    return label


class ElidedLabel(QLabel):
    """A line that ends in an ellipsis where there is no room; the tooltip has it whole."""

    def __init__(self, words: str = "") -> None:
        super().__init__()
        self.words = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(30)
        self.set_words(words)

    def set_words(self, words: str) -> None:
        """Show other words."""
        self.words = words
        self.setToolTip(words)
        self._elide()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the words to the new width."""
        super().resizeEvent(event)
        self._elide()

    def _elide(self) -> None:
        self.setText(self.fontMetrics().elidedText(self.words, Qt.TextElideMode.ElideRight, max(30, self.width())))


def rule() -> QFrame:
    """A thin line between sections."""
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setFrameShadow(QFrame.Shadow.Plain)
    return line


def seconds_text(seconds: float | None) -> str:
    """A duration as people say it: ``"40 s"``, ``"3 min"``, ``"2 h 10 min"``, ``"4 d 3 h"``."""
    if seconds is None or not np.isfinite(seconds):
        return "unknown"
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 36:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d {hours % 24} h"
