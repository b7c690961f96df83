"""What a training means, as the form changes: counted at once, timed in a child process a moment later."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_sslprofiler import style
from napari_sslprofiler.background import Cancelled, Latest
from napari_sslprofiler.child_process import run_child
from napari_sslprofiler.train.meaning import Row, count_rows, estimate_rows

if TYPE_CHECKING:
    from napari_sslprofiler.train.plan import TrainPlan
    from sslprofiler_core.plates import Plate
    from sslprofiler_core.recipes import Recipe
    from sslprofiler_core.training import RunCount

_COUNT_MS = 80  # after the last change
_ESTIMATE_MS = 1200
_ROWS = ("Sites", "Pairs", "Steps", "Model", "Memory", "Time here")


@dataclass(frozen=True)
class Question:
    """What is asked: plates, group and recipe to count with, and the plan to time, None while it lacks something."""

    plates: tuple[Plate, ...]
    group: str
    recipe: Recipe
    plan: TrainPlan | None


class MeaningPanel(QWidget):
    """Rows of what a training means, and a sentence on what is wrong with it."""

    counted = Signal(bool)  # whether it can be trained

    def __init__(self) -> None:
        super().__init__()
        self._question: Question | None = None
        self._said = ""  # stands before what a count or a timing says, which may end later
        self._number = 0  # of the newest question: timings of older ones stop
        self._lock = threading.Lock()
        self._timing = True
        self._counter: Latest[Question, RunCount] = Latest(_count, self._show_count, self._refuse, self)
        self._estimator: Latest[tuple[int, TrainPlan], dict[str, Any] | None] = Latest(
            self._estimate, self._show_estimate, self._show_no_estimate, self
        )
        self._soon = QTimer(self, singleShot=True, interval=_COUNT_MS)
        self._soon.timeout.connect(self._ask_count)
        self._later = QTimer(self, singleShot=True, interval=_ESTIMATE_MS)
        self._later.timeout.connect(self._ask_estimate)
        grid = QGridLayout()
        grid.setHorizontalSpacing(2 * style.GAP)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        self.rows: dict[str, style.ElidedLabel] = {}
        for row, name in enumerate(_ROWS):
            grid.addWidget(QLabel(name), row, 0)
            self.rows[name] = style.ElidedLabel("–")
            grid.addWidget(self.rows[name], row, 1)
        self.verdict = style.hint()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(style.heading("What it means"))
        layout.addLayout(grid)
        layout.addWidget(self.verdict)

    def ask(self, question: Question | None, why: str = "") -> None:
        """Answer another question; None is none, and ``why`` says what is missing."""
        with self._lock:
            self._number += 1
        self._question = question
        self._said = ""
        self._later.stop()
        if question is None:
            self._soon.stop()
            self._counter.forget()
            self._refuse(why)
        else:
            self._soon.start()

    def say(self, words: str) -> None:
        """Show a sentence below the rows, until something else is asked."""
        self._said = words
        self.verdict.setText(words)

    def _judge(self, words: str) -> None:
        self.verdict.setText("\n".join(part for part in (self._said, words) if part))

    def set_timing(self, on: bool) -> None:
        """Whether to time steps: not while a training is at work, beside which it would be timed."""
        with self._lock:
            self._timing = on
        if not on:
            self._later.stop()
            self._show([Row("Time here", "–", "Not timed while a training is at work.")])

    # --- Counting --------------------------------------------------------------------------------------------------

    def _ask_count(self) -> None:
        if self._question is not None:
            self._counter.ask(self._question)

    def _show_count(self, count: RunCount) -> None:
        self._show(count_rows(count))
        plan = self._question.plan if self._question is not None else None
        self._judge("" if plan is not None else "Choose a run folder.")
        time_it = plan is not None and self._timing
        self._show([Row("Time here", "timing a few steps …" if time_it else "–")])
        if time_it:
            self._later.start()
        self.counted.emit(plan is not None)

    def _refuse(self, message: str) -> None:
        self._show([Row(name, "–") for name in _ROWS])
        self._judge(message)
        self.counted.emit(False)

    # --- Timing ----------------------------------------------------------------------------------------------------

    def _ask_estimate(self) -> None:
        if self._question is not None and self._question.plan is not None and self._timing:
            self._estimator.ask((self._number, self._question.plan))

    def _estimate(self, request: tuple[int, TrainPlan]) -> dict[str, Any] | None:
        """Time it in a child process; in a worker thread. A newer question ends it: None."""
        number, plan = request

        def report(done: int, total: int) -> None:
            with self._lock:
                if self._number != number or not self._timing:
                    raise Cancelled

        try:
            found: dict[str, Any] = json.loads(run_child(plan.estimate_arguments(), report))
        except Cancelled:
            return None
        return found

    def _show_estimate(self, found: dict[str, Any] | None) -> None:
        if found is not None:
            self._show(estimate_rows(found))
            self._judge(str(found["advice"]))

    def _show_no_estimate(self, message: str) -> None:
        self._show([Row("Time here", "could not be timed", message)])
        self._judge(message)

    def _show(self, rows: Sequence[Row]) -> None:
        for row in rows:
            label = self.rows[row.name]
            label.set_words(row.text)
            label.setToolTip("\n".join(part for part in (row.text, row.tip) if part))


def _count(question: Question) -> RunCount:
    from sslprofiler_core.training import count_run

    return count_run(question.plates, question.group, question.recipe)
