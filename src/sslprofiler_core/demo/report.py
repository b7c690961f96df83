"""The demo's report: what was done, what came of it in plain words, and how to do the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sslprofiler_core.evaluation.html import Report
from sslprofiler_core.plates import Plate
from sslprofiler_core.profiling import WellsTable

from . import pictures, sections, words
from .scores import Results

if TYPE_CHECKING:
    from sslprofiler_core.model import LoadedModel

    from .maps import Layouts
    from .run import DemoSettings


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the report is made of. ``models`` are in the order of ``runs`` (channel group -> run folder).

    ``layouts`` waits for the maps of the wells, which are made meanwhile; None when there are none.
    """

    settings: DemoSettings
    seed: int
    full: bool
    plates: list[Plate]
    models: list[LoadedModel]
    runs: dict[str, Path]
    wells: WellsTable
    results: Results
    layouts: Callable[[], Layouts | None]
    seconds: dict[str, float]


def write_report(findings: Findings, path: Path) -> Path:
    """Write the page."""
    report = Report(words.TITLE, words.subtitle(findings))
    sections.headline(report, findings)
    sections.accuracy(report, findings)
    sections.transfer(report, findings)
    sections.position(report, findings)
    pictures.wells(report, findings)
    pictures.images(report, findings)
    pictures.training(report, findings)
    sections.own_plates(report)
    sections.settings(report, findings)
    return report.write(path)


def summary(findings: Findings) -> str:
    """A short table for the terminal."""
    return words.terminal_table(findings.results)
