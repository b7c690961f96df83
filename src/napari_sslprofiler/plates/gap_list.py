"""What a plate lacks: a line that says how much, and the files with what is wrong with each when it is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QToolButton, QVBoxLayout, QWidget

from napari_sslprofiler import style

if TYPE_CHECKING:
    from sslprofiler_core.plates import Plate

_MOST = 50


class GapList(QWidget):
    """Hidden where nothing is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.button = QToolButton()
        self.button.setCheckable(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.files = style.hint()
        self.files.hide()
        self.button.toggled.connect(self.files.setVisible)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.button)
        layout.addWidget(self.files)

    def show_gaps(self, plate: Plate) -> None:
        """List a plate's gaps, folded."""
        count = len(plate.gaps)
        self.setVisible(count > 0)
        self.button.setText("1 gap" if count == 1 else f"{count:,} gaps")
        self.button.setChecked(False)
        lines = [f"{gap.path.name}: {gap.problem}" for gap in plate.gaps[:_MOST]]
        if count > len(lines):
            lines.append(f"… and {count - len(lines):,} more: “Copy command” gives the whole list.")
        self.files.setText("\n".join(lines))
