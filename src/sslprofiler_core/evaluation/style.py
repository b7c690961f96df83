"""How figures look: one palette that colour-blind readers can tell apart, thin axes, text that fits a slide."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Style:
    """Colours and resolution of all figures. Widths are in inches at 96 pixels an inch on the page."""

    ink: str = "#1c2733"
    soft: str = "#5b6875"
    line: str = "#d9dfe5"
    # After Okabe and Ito: distinct under the common colour-vision deficiencies.
    palette: tuple[str, ...] = (
        "#1f5f99",
        "#e08a1e",
        "#12887a",
        "#b8432f",
        "#7d5ba6",
        "#5bb0e0",
        "#8a6d3b",
        "#d66ba0",
        "#9bb030",
        "#3d4b59",
    )
    grey: str = "#b6bfc8"
    chance: str = "#b8432f"
    dpi: int = 192


STYLE = Style()


@contextmanager
def styled_context() -> Iterator[None]:
    """Matplotlib's settings for our figures, inside the ``with`` only."""
    import matplotlib as mpl

    settings: dict[str, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": ["Inter", "Segoe UI", "Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
        "font.size": 10.0,
        "axes.titlesize": 11.0,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": 10.0,
        "axes.labelcolor": STYLE.soft,
        "axes.edgecolor": STYLE.soft,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "text.color": STYLE.ink,
        "xtick.color": STYLE.soft,
        "ytick.color": STYLE.soft,
        "xtick.labelsize": 9.0,
        "ytick.labelsize": 9.0,
        "grid.color": STYLE.line,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "legend.fontsize": 9.0,
        "lines.linewidth": 1.6,
        "figure.facecolor": "white",
        "svg.hashsalt": "sslprofiler",
    }
    with mpl.rc_context(settings):  # type: ignore[arg-type]  # its stubs want literal keys
        yield


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Draw a figure with our settings."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with styled_context():
            return function(*args, **kwargs)

    return wrapper


def bare(axes: Axes) -> None:
    """Take an axes' ticks and frame away."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
