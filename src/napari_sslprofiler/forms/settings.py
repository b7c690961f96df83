"""What a form must know of a setting, read off the recipe's types, bounds and descriptions. No Qt."""

from __future__ import annotations

import math
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from . import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sslprofiler_core.recipes.schema import Section

Kind = Literal["switch", "choice", "integer", "number", "small number", "range", "pair", "text"]

_SMALL = 1e-3  # a number below this is written with an exponent, which a slider cannot show


@dataclass(frozen=True)
class Setting:
    """One key of a recipe, as a form shows it.

    Parameters
    ----------
    key
        ``"section.key"``, or ``"key"`` in a form of one section.
    label, tooltip
        In plain words with the unit; what it is and where that comes from.
    kind
        Which control it gets. A "range" is a pair of numbers that the recipe wants to ascend.
    default
        The recipe's.
    low, high
        Bounds that the recipe sets; None where it sets none.
    above
        Whether ``low`` itself is excluded.
    reach
        Where a slider begins and ends: the bounds, or as far as is worth trying.
    decimals
        Digits behind the point that are worth showing.
    choices
        Of a "choice".
    parts
        What the two numbers of a pair are called.
    """

    key: str
    label: str
    tooltip: str
    kind: Kind
    default: Any
    low: float | None = None
    high: float | None = None
    above: bool = False
    reach: tuple[float, float] = (0.0, 1.0)
    decimals: int = 2
    choices: tuple[Any, ...] = ()
    parts: tuple[str, str] = ("", "")


def settings_of(section: type[Section], prefix: str = "") -> list[Setting]:
    """Describe every key of a section, in its order; ``prefix`` is put before the keys (``"augment."``)."""
    return [_setting(section, name, prefix) for name in section.model_fields]


def default_of(section: type[Section], given: Mapping[str, Any]) -> Any:
    """The section's defaults, as they are with some keys given (DINOv2's views have other defaults)."""
    try:
        return section.model_validate(dict(given))
    except ValidationError:
        return section()


def _setting(section: type[Section], name: str, prefix: str) -> Setting:
    field = section.model_fields[name]
    annotation, bounds = _bare(field.annotation, field.metadata)
    default = field.get_default(call_default_factory=True)
    about = field.description or words.label_of(name, "")
    shared: dict[str, Any] = {
        "key": prefix + name,
        "label": words.label_of(name, about),
        "default": default,
        "tooltip": _tooltip(prefix + name, about, default, bounds),
    }
    kind, more = _kind(section, name, annotation, bounds, default, about)
    return Setting(kind=kind, **shared, **more)


def _kind(
    section: type[Section], name: str, annotation: Any, bounds: _Bounds, default: Any, about: str
) -> tuple[Kind, dict[str, Any]]:
    if annotation is bool:
        return "switch", {}
    if get_origin(annotation) is Literal:
        return "choice", {"choices": get_args(annotation)}
    limits = {"low": bounds.low, "high": bounds.high, "above": bounds.above}
    if annotation is int:
        both = bounds.low is not None and bounds.high is not None
        reach = (bounds.low, bounds.high) if both else (0.0, 0.0)
        return "integer", {**limits, "decimals": 0, "reach": reach}
    if annotation is float:
        return _number_kind(default), {**limits, **_slider(bounds, [default])}
    items = get_args(annotation)
    if get_origin(annotation) is tuple and len(items) == 2:
        (item, bounds), (other, _) = (_bare(part, ()) for part in items)
        if item is float and other is float:
            limits = {"low": bounds.low, "high": bounds.high, "above": bounds.above}
            if _must_ascend(section, name, default):
                return "range", {**limits, **_slider(_worded(bounds, about), default)}
            return "pair", {**limits, **_slider(bounds, default), "parts": _parts(about)}
    return "text", {}


def _number_kind(default: float) -> Kind:
    return "small number" if 0.0 < default < _SMALL else "number"


def _must_ascend(section: type[Section], name: str, default: tuple[float, float]) -> bool:
    """Ask the recipe itself: a range refuses its default turned round."""
    if default[0] == default[1]:
        return False
    try:
        section.model_validate({name: default[::-1]})
    except ValidationError:
        return True
    return False


def _parts(about: str) -> tuple[str, str]:
    return ("v1", "v2") if "v1" in about and "v2" in about else ("first", "last")


@dataclass(frozen=True)
class _Bounds:
    low: float | None = None
    high: float | None = None
    above: bool = False


def _bare(annotation: Any, metadata: Iterable[Any]) -> tuple[Any, _Bounds]:
    """Take a type out of ``Annotated``, and its bounds with it."""
    known = list(metadata)
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        known += more
    if get_origin(annotation) in (Union, types.UnionType):
        return annotation, _Bounds()
    flat = [each for item in known for each in (item.metadata if isinstance(item, FieldInfo) else [item])]

    def first(*names: str) -> float | None:
        return next((getattr(item, name) for item in flat for name in names if hasattr(item, name)), None)

    return annotation, _Bounds(first("ge", "gt"), first("le", "lt"), any(hasattr(item, "gt") for item in flat))


def _worded(bounds: _Bounds, about: str) -> _Bounds:
    """Bounds that a range's unit implies where its type has none: fractions end at 1, percents at 100."""
    unit = words.unit_of(about)
    if bounds.low is not None or bounds.high is not None:
        return bounds
    if unit == "%":
        return _Bounds(0.0, 100.0)
    return _Bounds(0.0, 1.0) if unit.startswith("of ") else bounds


def _slider(bounds: _Bounds, defaults: Iterable[float]) -> dict[str, Any]:
    """Where a slider ends where the recipe sets no bound (our choice): 2.5 times the default, rounded up."""
    values = list(defaults)
    low = bounds.low if bounds.low is not None else 0.0
    high = bounds.high if bounds.high is not None else nice(2.5 * max(map(abs, values)) or 1.0)
    decimals = decimals_for(high - low)
    # A default such as 0.992 is shown whole; one such as 4 / 3 cannot be.
    more = [digits for digits in range(decimals, decimals + 3) if all(round(v, digits) == v for v in values)]
    return {"reach": (float(low), float(high)), "decimals": more[0] if more else decimals}


def nice(value: float) -> float:
    """Round up to 1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6 or 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
    return next(step for step in steps if step * power >= value * (1.0 - 1e-9)) * power


def decimals_for(span: float) -> int:
    """Digits behind the point that show a hundredth to a thousandth of a span."""
    return max(0, 2 - math.floor(math.log10(span)))


def _tooltip(key: str, about: str, default: Any, bounds: _Bounds) -> str:
    limits = ""
    if bounds.low is not None and bounds.high is not None:
        limits = f", {words.number(bounds.low)} to {words.number(bounds.high)}"
    elif bounds.low is not None:
        limits = f", above {words.number(bounds.low)}" if bounds.above else f", at least {words.number(bounds.low)}"
    return f"{about}.\n{key}{limits}; default {words.value_text(default)}"
