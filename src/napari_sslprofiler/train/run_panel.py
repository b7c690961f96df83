"""One run, followed by its folder: where it is, losses, k-NN, speed, log; pause, stop, resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QFontDatabase, QGuiApplication
from qtpy.QtWidgets import (
    QHBoxLayout,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_sslprofiler import style
from napari_sslprofiler.names_box import NamesBox
from napari_sslprofiler.train.plot import LinePlot, Series
from napari_sslprofiler.train.words import HEADLINES, LOSSES, knn_words, progress_words
from sslprofiler_core.training.run_state import RunState, RunStatus

if TYPE_CHECKING:
    from pathlib import Path

# Readable on napari's dark and light backgrounds.
_COLOURS = {
    "loss": "#e07b39",
    "dino_masked": "#3d9be0",
    "dino_local": "#2fa56d",
    "dino_crops": "#b79a2c",
    "ibot": "#c25fb0",
    "koleo": "#8a8a8a",
}
_BAD, _BUSY = (RunStatus.FAILED, RunStatus.LOST), (RunStatus.PAUSING, RunStatus.STOPPING)


class RunPanel(QWidget):
    """Shows a `RunState`; emits what a person asks for."""

    pause_asked = Signal()
    stop_asked = Signal()
    resume_asked = Signal()
    open_asked = Signal()
    run_chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._state: RunState | None = None
        self.runs = NamesBox("Runs of this viewer, and those followed before")
        self.runs.activated.connect(lambda: self.run_chosen.emit(self.runs.currentData()))
        self.open_button = QPushButton("&Open run…")
        self.open_button.setToolTip("Any run folder: also one that is trained on another machine")
        self.open_button.clicked.connect(self.open_asked)
        self.headline = style.heading("No run yet")
        self.progress_text = style.ElidedLabel("")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.message = style.hint()
        self.pause_button = QPushButton("&Pause")
        self.pause_button.setToolTip("End the process with a checkpoint, to go on later")
        self.pause_button.clicked.connect(self.pause_asked)
        self.stop_button = QPushButton("S&top")
        self.stop_button.setToolTip("End it with a checkpoint; what it has learned so far can be used")
        self.stop_button.clicked.connect(self.stop_asked)
        self.resume_button = QPushButton("Res&ume")
        self.resume_button.setToolTip("Go on from the last checkpoint, with the same settings")
        self.resume_button.clicked.connect(self.resume_asked)
        self.copy_button = QPushButton("Copy pa&th")
        self.copy_button.setToolTip("The run folder's path")
        self.copy_button.clicked.connect(self._copy)
        empty = "Curves appear with the first steps."
        self.losses = LinePlot("step", "loss (nats)", empty)
        self.knn = LinePlot(
            "step", "nearest other site agrees (%)", "Checked now and then while training.", from_zero=True
        )
        self.speed = LinePlot("step", "pairs per second", empty, from_zero=True)
        self.knn_text = style.hint()
        knn = QWidget()
        knn_layout = QVBoxLayout(knn)
        knn_layout.setContentsMargins(0, 0, 0, 0)
        knn_layout.addWidget(self.knn, 1)
        knn_layout.addWidget(self.knn_text)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.log.setPlaceholderText("Nothing so far. A run that was started in a terminal has its log there.")
        self.log.setAccessibleName("Log")
        self.tabs = QTabWidget()
        for widget, name in ((self.losses, "Losses"), (knn, "k-NN"), (self.speed, "Speed"), (self.log, "Log")):
            self.tabs.addTab(widget, name)
        self.tabs.currentChanged.connect(self._draw)
        self._lay_out()
        self.show_state(None)

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.addWidget(self.runs, 1)
        top.addWidget(self.open_button)
        buttons = QHBoxLayout()
        for button in (self.pause_button, self.stop_button, self.resume_button, self.copy_button):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(style.MARGIN, style.MARGIN, style.MARGIN, style.MARGIN)
        layout.setSpacing(style.GAP)
        layout.addLayout(top)
        layout.addWidget(self.headline)
        layout.addWidget(self.bar)
        layout.addWidget(self.progress_text)
        layout.addWidget(self.message)
        layout.addLayout(buttons)
        layout.addWidget(self.tabs, 1)

    # --- State in --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> RunState | None:
        """What is shown."""
        return self._state

    def show_runs(self, runs: tuple[Path, ...], current: Path | None) -> None:
        """List run folders, newest first."""
        self.runs.blockSignals(True)
        self.runs.clear()
        for run in runs:
            self.runs.addItem(run.name, run)
            self.runs.setItemData(self.runs.count() - 1, str(run), Qt.ItemDataRole.ToolTipRole)
        if not runs:
            self.runs.addItem("no run yet", None)
        self.runs.setEnabled(bool(runs))
        self.runs.setCurrentIndex(max(0, next((i for i, run in enumerate(runs) if run == current), 0)))
        self.runs.blockSignals(False)

    def show_state(self, state: RunState | None) -> None:
        """Show a run; None is none."""
        self._state = state
        status = state.status if state is not None else RunStatus.ABSENT
        alive = status.alive
        self.pause_button.setEnabled(alive and status not in _BUSY)
        self.stop_button.setEnabled(alive and status is not RunStatus.STOPPING)
        self.resume_button.setEnabled(status.can_resume)
        self.copy_button.setEnabled(state is not None)
        if state is None:
            self.headline.setText("<b>No run yet</b>")
            self.message.setText("Start one under New run, or open the folder of any run, here or on a shared disk.")
            self.progress_text.set_words("")
            self.bar.setRange(0, 1)
            self.bar.setValue(0)
            return
        colour = style.WARNING if status in _BAD else style.GOOD if status is RunStatus.FINISHED else ""
        words = HEADLINES[status] + (f": {state.group}" if state.group else "")
        self.headline.setText(f'<b style="color: {colour}">{words}</b>' if colour else f"<b>{words}</b>")
        self.progress_text.set_words(progress_words(state))
        waiting = status is RunStatus.STARTING and not state.step
        self.bar.setRange(0, 0 if waiting else max(1, state.steps))
        self.bar.setValue(min(state.step, max(1, state.steps)))
        notes = [state.message]
        if state.warnings:
            more = f" ({len(state.warnings)} in all: see the log)" if len(state.warnings) > 1 else ""
            notes.append(f"Warning: {state.warnings[-1]}{more}")
        text = "\n".join(note for note in notes if note)
        if self.message.text() != text:
            self.message.setText(text)
        self._draw()

    def _draw(self) -> None:
        """Fill the tab that is on show."""
        state = self._state
        if state is None:
            for plot in (self.losses, self.knn, self.speed):
                plot.set_series(())
            self.log.setPlainText("")
            self.knn_text.setText("")
            return
        shown = self.tabs.currentIndex()
        if shown == 0:
            self.losses.set_series(loss_series(state), state.steps)
        elif shown == 1:
            self.knn.set_series(knn_series(state), state.steps)
            self.knn_text.setText(knn_words(state))
        elif shown == 2:
            speed = state.curves.get("pairs_per_s")
            self.speed.set_series(
                [Series("pairs per second", state.steps_N, speed, _COLOURS["dino_masked"])]
                if speed is not None
                else [],
                state.steps,
            )
        else:
            warnings = [f"Warning: {text}" for text in state.warnings]
            text = "\n".join([*warnings, *(line for line in state.log if line not in warnings)])
            if self.log.toPlainText() != text:
                bar = self.log.verticalScrollBar()
                at_end = bar.value() >= bar.maximum() - 4
                place = bar.value()
                self.log.setPlainText(text)
                bar.setValue(bar.maximum() if at_end else place)

    def _copy(self) -> None:
        if self._state is not None:
            QGuiApplication.clipboard().setText(str(self._state.run))


def loss_series(state: RunState) -> list[Series]:
    """The losses that a run has; a term that is 0 throughout is not in use."""
    return [
        Series(words, state.steps_N, state.curves[name], _COLOURS[name])
        for name, words in LOSSES.items()
        if name in state.curves and np.any(np.nan_to_num(state.curves[name]) != 0.0)
    ]


def knn_series(state: RunState) -> list[Series]:
    """Accuracies in percent, each with its chance."""
    knn, found = state.knn, []
    for name, share_N, chance, colour in (
        ("same well", knn.well_N, knn.well_chance, _COLOURS["dino_masked"]),
        ("same compound", knn.compound_N, knn.compound_chance, _COLOURS["dino_local"]),
    ):
        if np.isfinite(share_N).any():
            found.append(Series(name, knn.steps_N, 100 * share_N, colour, marks=True))
            level = np.full(2, 100 * chance)
            ends = np.array([0.0, max(float(knn.steps_N[-1]), float(state.steps))])
            found.append(Series(f"{name}, chance", ends, level, colour, dashed=True))
    return found
