"""One control a setting, of magicgui widgets: a value in, a value out, one ``edited`` signal.

A control shows a value rounded to what can be read, but gives back what it was given until a person changes it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, ComboBox, FloatSpinBox, LineEdit, Slider, SpinBox
from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSpinBox, QHBoxLayout, QLabel, QSlider, QWidget

from . import words
from .range_bar import RangeBar
from .ticks import Ticks

if TYPE_CHECKING:
    from magicgui.widgets.bases import ValueWidget

    from .settings import Setting

_STEPS = 1000  # of a slider
_NUMBER_WIDTH = 54  # pixels: "1200" and "0.0125" fit
_WIDE = 74  # pixels: "65536" fits, and a name


class Control(QWidget):
    """What all controls share."""

    edited = Signal(object)  # the setting's new value, when a person has changed it

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        self._value: Any = setting.default
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(4)
        self.setToolTip(setting.tooltip)

    @property
    def value(self) -> Any:
        """The setting's value."""
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = value
        # A value that the recipe refuses may be none that the control can show; what is wrong is said beside it.
        with suppress(TypeError, ValueError):
            self._show(value)

    def show_default(self, default: Any) -> None:
        """Mark the default, where the control has a place for a mark."""

    def _show(self, value: Any) -> None:
        raise NotImplementedError

    def _edit(self, value: Any) -> None:
        if value != self._value:
            self._value = value
            self.edited.emit(value)

    def _add(self, widget: ValueWidget[Any], stretch: int = 0) -> None:
        """Put a magicgui widget into the row, tamed: no change by a wheel that only meant to scroll."""
        native = widget.native
        native.setToolTip(self.setting.tooltip)
        for part in (native, *native.findChildren(QWidget)):
            if part.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                part.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            if part.focusPolicy() != Qt.FocusPolicy.NoFocus:
                part.setAccessibleName(self.setting.label)
                part.installEventFilter(self)
        self._row.addWidget(native, stretch)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave the wheel to the scroll area, unless the control has the keyboard."""
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)


class Switch(Control):
    """On or off."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._box = CheckBox(value=setting.default, text="")
        self._add(self._box)
        self._row.addStretch(1)
        self._box.changed.connect(self._edit)

    def _show(self, value: Any) -> None:
        with self._box.changed.blocked():
            self._box.value = value


class Choice(Control):
    """One of several."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        named = [(words.choice_text(choice), choice) for choice in setting.choices]
        self._box = ComboBox(choices=named, value=setting.default)
        self._add(self._box, 1)
        self._box.changed.connect(self._edit)

    def _show(self, value: Any) -> None:
        with self._box.changed.blocked():
            self._box.value = value


class Integer(Control):
    """A whole number; with a slider where it has both bounds."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        low = -(2**31) if setting.low is None else int(setting.low)
        high = 2**31 - 1 if setting.high is None else int(setting.high)
        if setting.above and setting.low is not None:
            low += 1
        self._slider: Slider | None = None
        if setting.low is not None and setting.high is not None:
            self._slider = Slider(value=setting.default, min=low, max=high, readout=False)
            self._add(self._slider, 1)
            self._slider.changed.connect(self._slid)
        self._box = SpinBox(value=setting.default, min=low, max=high, step=None)
        _shape_number(self._box.native, _NUMBER_WIDTH if self._slider is not None else _WIDE)
        if self._slider is None:
            self._row.addStretch(1)
        self._add(self._box)
        self._box.changed.connect(self._typed)

    def _typed(self, value: int) -> None:
        if self._slider is not None:
            with self._slider.changed.blocked():
                self._slider.value = value
        self._edit(value)

    def _slid(self, value: int) -> None:
        self._box.value = value

    def _show(self, value: Any) -> None:
        with self._box.changed.blocked():
            self._box.value = value
        if self._slider is not None:
            with self._slider.changed.blocked():
                self._slider.value = value


class Number(Control):
    """A slider over what is worth trying, and a box that takes any number within the bounds."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._low, self._high = setting.reach
        self._slider = Slider(min=0, max=_STEPS, readout=False)
        self._add(self._slider, 1)
        self._box = _number_box(setting)
        self._add(self._box)
        self._ticks = Ticks(self._slider.native.findChild(QSlider))
        self._slider.changed.connect(self._slid)
        self._box.changed.connect(self._typed)
        self._show(setting.default)

    def show_default(self, default: Any) -> None:
        """Mark the default on the slider."""
        self._ticks.show_at([self._part(default)])

    def _part(self, value: float) -> float:
        return (value - self._low) / (self._high - self._low)

    def _slid(self, step: int) -> None:
        value = self._low + (self._high - self._low) * step / _STEPS
        self._box.value = _rounded(value, self.setting)

    def _typed(self, value: float) -> None:
        self._place(value)
        self._edit(_rounded(value, self.setting))

    def _place(self, value: float) -> None:
        with self._slider.changed.blocked():
            self._slider.value = min(_STEPS, max(0, round(self._part(value) * _STEPS)))

    def _show(self, value: Any) -> None:
        with self._box.changed.blocked():
            self._box.value = value
        self._place(value)


class Range(Control):
    """Two handles and a box for each."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._low, self._high = setting.reach
        self.bar = RangeBar()
        self.bar.setToolTip(setting.tooltip)
        self._row.addWidget(self.bar, 1)
        self._boxes = (_number_box(setting), _number_box(setting))
        for part, (name, box) in enumerate(zip(("lowest", "highest"), self._boxes, strict=True)):
            self._add(box)
            box.native.setAccessibleName(f"{setting.label}, {name}")
            box.changed.connect(lambda value, part=part: self._typed(part, value))
        self.bar.moved.connect(self._moved)
        self._show(setting.default)

    def show_default(self, default: Any) -> None:
        """Mark both ends of the default."""
        self.bar.show_marks(self._parts(default))

    def _parts(self, values: Iterable[float]) -> list[float]:
        return [(value - self._low) / (self._high - self._low) for value in values]

    def _moved(self, part: int, place: float) -> None:
        """Take over the handle that moved; the other's value stays exact."""
        value = round(self._low + (self._high - self._low) * place, self.setting.decimals)
        # Rounding must not take a handle past the other.
        value = min(value, self._value[1]) if part == 0 else max(value, self._value[0])
        with self._boxes[part].changed.blocked():
            self._boxes[part].value = value
        self._edit(self._with(part, value))

    def _typed(self, part: int, value: float) -> None:
        values = self._with(part, _rounded(value, self.setting))
        self.bar.show_parts(self._parts(values))
        self._edit(values)

    def _with(self, part: int, value: float) -> tuple[float, float]:
        return (value, self._value[1]) if part == 0 else (self._value[0], value)

    def _show(self, value: Any) -> None:
        for box, each in zip(self._boxes, value, strict=True):
            with box.changed.blocked():
                box.value = each
        self.bar.show_parts(self._parts(value))


class Pair(Control):
    """Two numbers that need not ascend, each named."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._boxes = (_number_box(setting), _number_box(setting))
        self._row.addStretch(1)
        for part, (name, box) in enumerate(zip(setting.parts, self._boxes, strict=True)):
            label = QLabel(name)
            label.setEnabled(False)
            self._row.addWidget(label)
            self._add(box)
            box.native.setAccessibleName(f"{setting.label}, {name}")
            box.changed.connect(lambda value, part=part: self._typed(part, value))
        self._show(setting.default)

    def _typed(self, part: int, value: float) -> None:
        values = list(self._value)
        values[part] = _rounded(value, self.setting)
        self._edit(tuple(values))

    def _show(self, value: Any) -> None:
        for box, each in zip(self._boxes, value, strict=True):
            with box.changed.blocked():
                box.value = each


class Text(Control):
    """Anything else, written as in a recipe file; also numbers with an exponent, which no box can spin."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._box = LineEdit()
        if setting.kind == "small number":
            self._row.addStretch(1)
            self._add(self._box)
            self._box.native.setAlignment(Qt.AlignmentFlag.AlignRight)
            _shape(self._box.native, _WIDE)
        else:
            self._add(self._box, 1)
        # Half a number is no number: wait until it is finished.
        self._box.native.editingFinished.connect(self._finished)
        self._show(setting.default)

    def _finished(self) -> None:
        text = self._box.value.strip()
        if text == self._written(self._value):
            return
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        self._edit(tuple(value) if isinstance(value, list) else value)

    def _written(self, value: Any) -> str:
        if isinstance(value, float):
            return f"{value:g}" if float(f"{value:g}") == value else repr(value)
        return repr(list(value)) if isinstance(value, tuple) else str(value)

    def _show(self, value: Any) -> None:
        with self._box.changed.blocked():
            self._box.value = self._written(value)


_CONTROLS: dict[str, type[Control]] = {
    "switch": Switch,
    "choice": Choice,
    "integer": Integer,
    "number": Number,
    "small number": Text,
    "range": Range,
    "pair": Pair,
    "text": Text,
}


def control_for(setting: Setting) -> Control:
    """Make the control of a setting."""
    return _CONTROLS[setting.kind](setting)


def _rounded(value: float, setting: Setting) -> float:
    return round(float(value), max(setting.decimals, 6))


def _number_box(setting: Setting) -> FloatSpinBox:
    step = 10.0**-setting.decimals
    low = -1e9 if setting.low is None else float(setting.low)
    if setting.above:
        low += step
    high = 1e9 if setting.high is None else float(setting.high)
    box = FloatSpinBox(value=min(max(low, 0.0), high), min=low, max=high, step=step)
    box.native.setDecimals(setting.decimals)
    _shape_number(box.native)
    return box


def _shape_number(native: QAbstractSpinBox, width: int = _NUMBER_WIDTH) -> None:
    # "51" on the way to "518" is not what was meant.
    native.setKeyboardTracking(False)
    native.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    native.setAlignment(Qt.AlignmentFlag.AlignRight)
    _shape(native, width)


def _shape(native: QWidget, width: int) -> None:
    # napari's style sheet gives boxes a minimal width that leaves sliders no room.
    inner = width - 8
    name = native.metaObject().className()
    native.setStyleSheet(f"{name} {{ min-width: {inner}px; max-width: {inner}px; padding: 1px 4px; }}")
    native.setFixedWidth(width)
