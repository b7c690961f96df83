"""What a training means, in rows of words for a form. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sslprofiler_core.training.run_state import duration_words

if TYPE_CHECKING:
    from sslprofiler_core.training import RunCount


@dataclass(frozen=True)
class Row:
    """A name, what it is here, and more in a tooltip."""

    name: str
    text: str
    tip: str = ""


def count_rows(count: RunCount) -> list[Row]:
    """What arithmetic alone tells."""
    network = count.network
    plates = "1 plate" if count.plates == 1 else f"{count.plates} plates"
    lonely = f"; {count.lonely:,} wells have one site, which pairs with itself" if count.lonely else ""
    return [
        Row("Sites", f"{count.sites:,} in {count.wells:,} wells, {plates}", f"Complete sites{lonely}."),
        Row("Pairs", f"{count.pairs:,} an epoch, {count.batch} a step", "A pair: two sites of one well, each v1 once."),
        Row(
            "Steps",
            f"{count.steps:,} ({count.epochs:,.{0 if count.epochs >= 10 else 1}f} epochs)",
            f"{count.steps_per_epoch:,} steps an epoch.",
        ),
        Row(
            "Model",
            f"{_large(network.parameters)} parameters, {len(count.channels)} channels",
            f"{network.flop_pair / 1e9:,.3g} GFLOP a pair; {_large(count.flop)} operations in all.\n"
            + ", ".join(count.channels),
        ),
        Row(
            "Memory", f"about {_bytes(count.memory_bytes)}", "By arithmetic: networks, optimizer and one step's views."
        ),
    ]


def estimate_rows(estimate: Mapping[str, Any]) -> list[Row]:
    """What the timed steps add, from ``--estimate --json``."""
    needed, free = float(estimate["memory_bytes"]), float(estimate["free_bytes"])
    step_s, read_s = float(estimate["step_s"]), float(estimate["read_s"])
    slow = " Reading the sites takes longest: convert the plates." if read_s > step_s else ""
    return [
        Row("Memory", f"about {_bytes(needed)} of {_bytes(free)} free", f"On {estimate['device']}."),
        Row(
            "Time here",
            f"about {duration_words(float(estimate['total_s']))}",
            f"{step_s:.3g} s a step on {estimate['device']}, timed with {estimate['timed_batch']} pairs.{slow}",
        ),
    ]


def _bytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{max(1.0, count / 1e6):,.0f} MB"


def _large(number: float) -> str:
    names = {1e15: "quadrillion", 1e12: "trillion", 1e9: "billion", 1e6: "million", 1e3: "thousand"}
    for factor, name in names.items():
        if number >= factor:
            return f"{number / factor:,.3g} {name}"
    return f"{number:,.0f}"
