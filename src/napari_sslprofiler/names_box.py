"""A list to choose a plate or a run from: their names are long, and differ at their ends."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter, QWidget


class NamesBox(QComboBox):
    """Shows both ends of a name that does not fit, has it whole in the tooltip, and opens as wide as its names."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def event(self, event: QEvent) -> bool:
        """Say the whole name, or what its entry says of it, when the pointer rests here."""
        if event.type() == QEvent.Type.ToolTip:
            self.setToolTip(str(self.currentData(Qt.ItemDataRole.ToolTipRole) or self.currentText()))
        return bool(super().event(event))

    def shown(self) -> str:
        """What is written: the name, or its ends."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        return self._fitted(option).currentText

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what `shown` says."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, self._fitted(option))

    def showPopup(self) -> None:
        """Open the list, wide enough for its names where the screen is."""
        view = self.view()
        widest = view.sizeHintForColumn(0) + view.verticalScrollBar().sizeHint().width()
        view.setMinimumWidth(min(widest, self.screen().availableGeometry().width() * 2 // 3))
        super().showPopup()

    def _fitted(self, option: QStyleOptionComboBox) -> QStyleOptionComboBox:
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self).width() - 4
        option.currentText = self.fontMetrics().elidedText(option.currentText, Qt.TextElideMode.ElideMiddle, room)
        return option
