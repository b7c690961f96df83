"""A form over a recipe, or over one of its sections, made from the recipe's own types.

A value in, a value out, one ``changed`` signal. What the recipe refuses is said in a sentence beside the control; the
form's value is then the last that was good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from psygnal import Signal
from pydantic import ValidationError
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QFont, QFontMetrics
from qtpy.QtWidgets import QFrame, QScrollArea, QToolButton, QVBoxLayout, QWidget

from napari_sslprofiler import style
from sslprofiler_core.recipes import Recipe
from sslprofiler_core.recipes.schema import Section

from . import words
from .row import REFUSED, Row
from .section import SectionForm
from .settings import Setting, default_of, settings_of

_LABEL_WIDTH = 186  # pixels; longer labels take two lines


class RecipeForm(QWidget):
    """Controls for every key of a recipe or of a section.

    Parameters
    ----------
    model
        ``Recipe``, or any ``Section``.
    show
        Of a recipe: section -> keys to show, None for all of them. None shows all sections.
    expanded
        Sections that start open; None opens all. A closed section's controls are made when it is opened.
    scrolls
        Whether the form scrolls by itself.
    """

    changed = Signal(object)  # the new value
    problem_changed = Signal(str)  # what the recipe refuses, empty when it refuses nothing

    def __init__(
        self,
        model: type[Section] = Recipe,
        *,
        show: Mapping[str, Collection[str] | None] | None = None,
        expanded: Collection[str] | None = None,
        scrolls: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._model = model
        self._value: Section = model()
        self._problem = ""
        self._edited = ""
        self._blocks: dict[str, SectionForm] = {}
        for name, section in sections_of(model).items():
            if show is not None and name not in show:
                continue
            keys = show[name] if show is not None else None
            prefix = f"{name}." if name else ""
            settings = [
                setting
                for setting in settings_of(section, prefix)
                if keys is None or setting.key.removeprefix(prefix) in keys
            ]
            about = (section.__doc__ or "").strip().partition("\n")[0]
            # A lone section needs no heading.
            title = words.title_of(name) if name else ""
            block = SectionForm(title, about, settings, expanded is None or name in expanded)
            block.edited.connect(self._edit)
            block.reset.connect(self.reset)
            self._blocks[name] = block
        self._message = style.hint()
        self._message.setObjectName("problem")
        self._message.setStyleSheet(f"color: {REFUSED};")
        self._message.hide()
        self._lay_out(scrolls)
        self._align()
        self._values: dict[str, dict[str, Any]] = {}
        self._take(self._value)
        self._find_defaults()

    def _lay_out(self, scrolls: bool) -> None:
        body = QWidget()
        rows = QVBoxLayout(body)
        rows.setContentsMargins(0, 0, style.GAP, 0)
        rows.setSpacing(style.GAP)
        rows.addWidget(self._message)
        for block in self._blocks.values():
            rows.addWidget(block)
        rows.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        if not scrolls:
            layout.addWidget(body)
            return
        layout.addWidget(_Scroll(body))

    def _align(self) -> None:
        """The widest label and the widest default decide, as they are when changed."""
        bold = QFont(self.font())
        bold.setBold(True)
        small = QFont(bold)
        small.setPixelSize(11)
        width = QFontMetrics(bold).horizontalAdvance
        labels = [width(f"{setting.label} ●") for setting in self.settings]
        defaults = [
            QFontMetrics(small).horizontalAdvance(f"↺ {words.value_text(setting.default)}") for setting in self.settings
        ]
        for block in self._blocks.values():
            block.align(min(max(labels, default=0) + 2, _LABEL_WIDTH), max(defaults, default=0) + 6)

    # --- Value in, value out ---------------------------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """The recipe or section: what the controls say, or the last that was good while they are refused."""
        return self._value

    @value.setter
    def value(self, value: Section) -> None:
        if not isinstance(value, self._model):
            raise TypeError(f"a form of {self._model.__name__} takes no {type(value).__name__}")
        same = value == self._value
        self._value = value
        self._take(value)
        self._find_defaults()
        self._say("", "")
        if not same:
            self.changed.emit(value)

    @property
    def problem(self) -> str:
        """What the recipe refuses, in a sentence; empty when it refuses nothing."""
        return self._problem

    @property
    def settings(self) -> tuple[Setting, ...]:
        """What is shown, in its order."""
        return tuple(setting for block in self._blocks.values() for setting in block.settings)

    @property
    def changed_keys(self) -> tuple[str, ...]:
        """Shown keys whose value is not the default."""
        return tuple(key for block in self._blocks.values() for key in block.changed_keys)

    def control(self, key: str) -> Any:
        """The control of a key (its section is opened): ``.value``, ``.setting``."""
        return self._block(key).control(key)

    def row(self, key: str) -> Row:
        """The row of a key (its section is opened): label, control, default, message."""
        return self._block(key).row(key)

    def heading(self, section: str) -> QToolButton:
        """The heading that opens and closes a section."""
        return self._blocks[section].heading

    def set(self, key: str, value: Any) -> None:
        """Change one key as if a person had: what the recipe refuses becomes a message."""
        block = self._block(key)
        if key not in block.keys:
            raise KeyError(key)
        block.show_value(key, value)
        self._edit(key, value)

    def reset(self, key: str | None = None) -> None:
        """Give one key, or all that are shown, the default back."""
        section, name = _split(key) if key is not None else ("", "")
        for block_name, block in self._blocks.items():
            for each in block.keys:
                if key is None or each == key:
                    block.show_value(each, block.defaults[each])
                    self._values[block_name][_split(each)[1]] = block.defaults[each]
        self._edited = key or ""
        self._settle(block_of=section if name else "")

    def show_only(self, keys: Collection[str] | None) -> None:
        """Hide the rows of all other keys (None shows all), such as those without effect now."""
        for block in self._blocks.values():
            block.show_only(keys)

    def _block(self, key: str) -> SectionForm:
        return self._blocks[_split(key)[0]]

    # --- How a change becomes a value ------------------------------------------------------------------------------

    def _take(self, value: Section) -> None:
        parts = {"": value} if "" in sections_of(self._model) else dict(value)
        self._values = {name: dict(part) for name, part in parts.items()}
        for name, block in self._blocks.items():
            for key in block.keys:
                block.show_value(key, self._values[name][_split(key)[1]])

    def _edit(self, key: str, value: Any) -> None:
        section, name = _split(key)
        self._values[section][name] = value
        self._edited = key
        self._settle(block_of=section)

    def _settle(self, block_of: str) -> None:
        if block_of in self._blocks:
            self._follow_defaults(block_of)
        else:
            self._find_defaults()
        tree = self._values.get("") if "" in self._values else self._values
        try:
            value = self._model.model_validate(tree)
        except ValidationError as error:
            self._refuse(error)
            return
        self._say("", "")
        if value != self._value:
            self._value = value
            self.changed.emit(value)

    def _refuse(self, error: ValidationError) -> None:
        """Say what is wrong beside the key that it is about, or that was edited last."""
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        shown = next(
            (each for block in self._blocks.values() for each in block.keys if _about(key, each)), self._edited
        )
        self._say(shown, words.as_sentence(first["msg"]))

    def _say(self, key: str, message: str) -> None:
        beside = False
        for block in self._blocks.values():
            beside |= block.say(key, message)
        self._message.setText("" if beside else message)
        self._message.setVisible(bool(message) and not beside)
        if message != self._problem:
            self._problem = message
            self.problem_changed.emit(message)

    # --- Defaults: some depend on a choice (DINOv2's views have other ones) ------------------------------------------

    def _defaults(self, name: str) -> dict[str, Any]:
        section = sections_of(self._model)[name]
        block = self._blocks[name]
        chosen = {
            _split(setting.key)[1]: self._values[name][_split(setting.key)[1]]
            for setting in settings_of(section, f"{name}." if name else "")
            if setting.kind == "choice"
        }
        found = dict(default_of(section, chosen))
        plain = section()
        # The choice itself has its own default, not what it is now.
        found |= {key: getattr(plain, key) for key in chosen}
        return {key: found[_split(key)[1]] for key in block.keys}

    def _find_defaults(self) -> None:
        for name, block in self._blocks.items():
            block.show_defaults(self._defaults(name))

    def _follow_defaults(self, name: str) -> None:
        """After a choice with defaults of its own, keys that had the old default take the new one."""
        block = self._blocks[name]
        before, after = block.defaults, self._defaults(name)
        for key, default in after.items():
            if default != before[key] and key != self._edited and self._values[name][_split(key)[1]] == before[key]:
                self._values[name][_split(key)[1]] = default
                block.show_value(key, default)
        block.show_defaults(after)


class _Scroll(QScrollArea):
    """Scrolls up and down alone: never narrower than what it holds."""

    def __init__(self, body: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(body)
        body.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """An opened section may need more width."""
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self.setMinimumWidth(watched.minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width())
        return super().eventFilter(watched, event)


def sections_of(model: type[Section]) -> dict[str, type[Section]]:
    """The sections of a recipe by name; of a single section, itself under the empty name."""
    kinds = {name: field.annotation for name, field in model.model_fields.items()}
    sections = {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}
    return sections if sections and len(sections) == len(kinds) else {"": model}


def _split(key: str) -> tuple[str, str]:
    section, _, name = key.rpartition(".")
    return section, name


def _about(place: str, key: str) -> bool:
    """Whether an error's place is a key, or a part of its value (``momentum.1``)."""
    return place == key or place.startswith(f"{key}.")
