"""Plain words for a recipe's keys: labels, units, tooltips and numbers. Rules, so that a new key is worded too."""

from __future__ import annotations

import re
from collections.abc import Sequence

# What a part of a key is called where its letters alone would not do.
_WORDS = {
    "gb": "",
    "ibot": "iBOT",
    "dino": "DINO",
    "dinov2": "DINOv2",
    "fan_in": "1 / fan-in",
    "knn": "k-NN",
    "koleo": "KoLeo",
    "lr": "learning rate",
}
_TITLES = {
    "plates": "Plates",
    "model": "Network",
    "augment": "Augmentations",
    "loss": "Objective",
    "train": "Training",
    "embed": "Embedding",
}
# What a description says of its unit; the first that fits is taken.
_UNITS = (
    (r"^Probability", "probability"),
    (r"in pixels of the view", "view px"),
    (r"in site pixels", "site px"),
    (r"in pixels", "px"),
    (r"\(percent\)", "%"),
    (r"in GB\b", "GB"),
    (r"^Minutes", "min"),
    (r"fraction of the site", "of the site"),
    (r"^Part of the run", "of the run"),
    (r"^Part of the views", "of the views"),
    (r"part of a masked view's patches", "of patches"),
    (r"^Weight of", "weight"),
    (r"width / height", "w / h"),
)


def label_of(key: str, description: str) -> str:
    """Name a key in plain words, its unit in brackets: ``"elastic_alpha"`` -> ``"Elastic alpha (site px)"``."""
    words = " ".join(_WORDS.get(part, part) for part in key.rpartition(".")[2].split("_")).strip()
    unit = unit_of(description)
    if unit == "min" and "minutes" in key:
        unit = ""
    return capitalised(words) + (f" ({unit})" if unit else "")


def unit_of(description: str) -> str:
    """The unit that a description states, empty when it states none."""
    return next((unit for pattern, unit in _UNITS if re.search(pattern, description)), "")


def title_of(section: str) -> str:
    """Name a section."""
    return _TITLES.get(section) or label_of(section, "")


def number(value: float) -> str:
    """A number as short as it can be read: ``0.4``, ``1.33``, ``2e-05``, ``65,536``."""
    if isinstance(value, int):
        return f"{value:,}"
    if value and abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def value_text(value: object) -> str:
    """A setting's value as a label shows it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " – ".join(value_text(item) for item in value)
    return choice_text(str(value))


def choice_text(choice: object) -> str:
    """One of a setting's choices in plain words."""
    return _WORDS.get(str(choice), str(choice).replace("_", " "))


def capitalised(words: str) -> str:
    """The same with a capital first, unless the first word has its own spelling (iBOT, k-NN)."""
    first = words.partition(" ")[0]
    return words if first in _WORDS.values() else words[:1].upper() + words[1:]


def as_sentence(message: str) -> str:
    """A validator's message as a sentence."""
    message = message.removeprefix("Value error, ").strip()
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "!", "?")) else ".")
