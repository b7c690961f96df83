"""Plugins > SSLProfiler > Train: set a training up, start it as a process of its own, follow it or any other."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from psygnal import Signal as Told
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QFileDialog, QMessageBox, QTabWidget, QVBoxLayout, QWidget

from napari_sslprofiler.background import Latest
from napari_sslprofiler.lifetime import hear
from napari_sslprofiler.state import session_of
from napari_sslprofiler.train.plan import TrainPlan, plan_to_resume
from napari_sslprofiler.train.recent import RecentRuns
from napari_sslprofiler.train.run_panel import RunPanel
from napari_sslprofiler.train.setup_panel import SetupPanel
from sslprofiler_core.errors import UserError
from sslprofiler_core.training.presence import PresenceWatcher
from sslprofiler_core.training.run_folder import RunFolder
from sslprofiler_core.training.run_state import RunState, RunStatus
from sslprofiler_core.training.watch import RunWatcher

if TYPE_CHECKING:
    from napari import Viewer

_POLL_MS = 500
_LEAVING_S = 20.0
_SLOW_POLL_MS = 3000  # of a run that has ended: it may be resumed elsewhere

# Trainings that this program started: kept so that the system can let go of them when they end.
_children: dict[Path, subprocess.Popen[bytes]] = {}


class TrainWidget(QWidget):
    """Two pages: a new run, and the run that is followed.

    Parameters
    ----------
    napari_viewer
        Its session gives plates and recipe, and learns of runs.
    recent
        Remembered runs; None takes the user's.

    Attributes
    ----------
    run_finished
        Emits the run folder when the run that is followed comes to its end; no Qt needed to listen.
    ask_on_close
        What to do with a training at work when the window closes: ``"stop"``, ``"leave"`` or ``"cancel"``.
    """

    run_finished = Told(object)

    def __init__(self, napari_viewer: Viewer, recent: RecentRuns | None = None) -> None:
        super().__init__()
        self._session = session_of(napari_viewer)
        self._recent = recent or RecentRuns()
        self._run: Path | None = None
        self._watcher: RunWatcher | None = None
        self._last: RunStatus | None = None
        self._refusal = ""  # why the last start was refused, until there is another
        self._mine: set[Path] = set()
        self._ended: dict[Path, int] = {}  # exit statuses
        self._window: Callable[[], QWidget | None] = lambda: None
        self.ask_on_close: Callable[[Path], str] = self._ask
        self.setup = SetupPanel(self._session)
        self.run_panel = RunPanel()
        self.pages = QTabWidget()
        self.pages.addTab(self.setup, "New run")
        self.pages.addTab(self.run_panel, "Run")
        self.pages.setDocumentMode(True)
        self.pages.tabBar().setDrawBase(False)  # a white line in napari's dark theme
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.pages)
        self.setup.start_asked.connect(self.start)
        self.run_panel.pause_asked.connect(partial(self.ask_run, "pause"))
        self.run_panel.stop_asked.connect(partial(self.ask_run, "stop"))
        self.run_panel.resume_asked.connect(self.resume)
        self.run_panel.open_asked.connect(self._ask_run_folder)
        self.run_panel.run_chosen.connect(self.follow)
        self._polls: Latest[RunWatcher, RunState] = Latest(RunWatcher.poll, self._seen, parent=self)
        self._starts: Latest[Callable[[], Path], Path] = Latest(lambda work: work(), self._started, self._refused, self)
        self._words: Latest[Callable[[], None], None] = Latest(lambda work: work(), lambda _: None, self._tell, self)
        self._timer = QTimer(self, interval=_POLL_MS)
        self._timer.timeout.connect(self._poll)
        hear(self._session.events.runs, self._list_runs, self)
        self._list_runs()
        known = self._known_runs()
        if known:
            self.follow(known[0], remember=False)

    # --- Starting --------------------------------------------------------------------------------------------------

    def start(self, plan: TrainPlan) -> None:
        """Start a training as a process of its own, and follow it."""
        self.setup.meaning.set_timing(False)
        self._starts.ask(partial(_start, plan))

    def resume(self) -> None:
        """Go on with the run that is followed."""
        if self._run is None:
            return
        screen = self._session.screen
        self.run_panel.resume_button.setEnabled(False)
        self._starts.ask(partial(_resume, self._run, screen.channels_file if screen is not None else None))

    def _started(self, run: Path) -> None:
        self._mine.add(run)
        self._ended.pop(run, None)
        self.setup.started()
        self.follow(run)
        self.pages.setCurrentWidget(self.run_panel)

    def _refused(self, message: str) -> None:
        self.setup.meaning.set_timing(True)
        self.setup.refused(message)
        self._tell(message)
        self.run_panel.resume_button.setEnabled(self._run is not None)

    def _tell(self, message: str) -> None:
        """Say what was refused, until the run's status changes."""
        self._refusal = message
        self.run_panel.message.setText(message)

    # --- Following -------------------------------------------------------------------------------------------------

    @property
    def run(self) -> Path | None:
        """The run that is followed."""
        return self._run

    def follow(self, run: Path, remember: bool = True) -> None:
        """Show a run, whoever trains it, and keep up with it."""
        run = Path(run).resolve()
        self._run, self._watcher, self._last, self._refusal = run, RunWatcher(run), None, ""
        if remember:
            self._recent.add(run)
            if run not in self._session.runs:
                self._session.add_run(run)
        self._list_runs()
        self._timer.setInterval(_POLL_MS)
        self._timer.start()
        self._poll()

    def _ask_run_folder(self) -> None:
        start = str(self._run.parent) if self._run is not None else ""
        chosen = QFileDialog.getExistingDirectory(self, "A run folder", start)
        if chosen:
            self.follow(Path(chosen))

    def _poll(self) -> None:
        # The GUI thread reads no disk: a shared one may take seconds.
        if self._watcher is not None and not self._polls.busy:
            self._polls.ask(self._watcher)
        for run, child in list(_children.items()):
            if (status := child.poll()) is not None:
                self._ended[run] = status
                del _children[run]

    def _seen(self, state: RunState) -> None:
        if state.run != self._run:
            return
        if state.status is RunStatus.STARTING and state.run in self._ended:
            state = ended_early(state, self._ended[state.run])
        if state.status is not self._last:
            self._refusal = ""
        elif self._refusal:
            state = replace(state, message=self._refusal)
        self.run_panel.show_state(state)
        self._timer.setInterval(_POLL_MS if state.status.alive else _SLOW_POLL_MS)
        if state.status is self._last:
            return
        before, self._last = self._last, state.status
        if not state.status.alive:
            self.setup.meaning.set_timing(True)
        elif state.run in self._mine:
            self.setup.meaning.set_timing(False)
        if state.status is RunStatus.FINISHED and before is not None:
            self._session.add_run(state.run)  # once more: its model is there now
            self.run_finished.emit(state.run)

    def ask_run(self, word: str) -> None:
        """Ask the training for ``"stop"`` or ``"pause"``."""
        state = self.run_panel.state
        if self._run is None or state is None:
            return
        child = _children.get(self._run)
        if state.status is RunStatus.STARTING and child is not None:
            child.terminate()  # it reads the folder's word after its first step only
            return
        self._words.ask(partial(RunFolder(self._run).ask, word))
        self.run_panel.pause_button.setEnabled(False)
        QTimer.singleShot(50, self._poll)

    def _known_runs(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys([*(run.resolve() for run in self._session.runs), *self._recent.paths()]))

    def _list_runs(self, _: object = None) -> None:
        self.run_panel.show_runs(self._known_runs(), self._run)

    # --- Closing ---------------------------------------------------------------------------------------------------

    def showEvent(self, event: QEvent) -> None:
        """Hear of the closing of whatever window this is in now."""
        super().showEvent(event)
        parent: QWidget | None = self
        while parent is not None and not parent.inherits("QMainWindow"):
            parent = parent.parentWidget()
        before = self._window()
        if parent is not None and parent is not before:
            if before is not None:
                before.removeEventFilter(self)
            parent.installEventFilter(self)
            self._window = ref(parent)  # the window owns this, and not the other way about

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask before the window closes over a training that was started here."""
        if watched is self._window() and event.type() == QEvent.Type.Close:
            for run in self.at_work():
                answer = self.ask_on_close(run)
                if answer == "cancel":
                    event.ignore()
                    return True
                if answer == "stop":
                    with suppress(UserError):
                        RunFolder(run).ask("stop")
            self._timer.stop()
        return bool(super().eventFilter(watched, event))

    def at_work(self) -> tuple[Path, ...]:
        """Trainings that were started here and have not ended."""
        shown = self.run_panel.state
        # A process that has said that it is done takes a moment more to leave.
        done = shown.pid if shown is not None and not shown.status.alive else None
        left = {run: child for run, child in _children.items() if child.poll() is None and child.pid != done}
        return tuple(run for run in self._mine if run in left)

    def _ask(self, run: Path) -> str:
        box = QMessageBox(self.window())
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("A training is at work")
        box.setText(f"The training in {run} is at work.")
        box.setInformativeText(
            "Left running, it goes on without napari; open its folder later to follow it. "
            "Stopped, it ends with a checkpoint and can be resumed."
        )
        stop = box.addButton("&Stop with a checkpoint", QMessageBox.ButtonRole.DestructiveRole)
        leave = box.addButton("&Leave it running", QMessageBox.ButtonRole.AcceptRole)
        box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(leave)
        box.exec()
        return "stop" if box.clickedButton() is stop else "leave" if box.clickedButton() is leave else "cancel"


def ended_early(state: RunState, status: int) -> RunState:
    """A run whose process is known to have ended before it said anything, with an exit status."""
    if status in (-15, 143, 130):
        return replace(state, status=RunStatus.STOPPED, message="Stopped before its first step. Start it again.")
    return replace(
        state,
        status=RunStatus.LOST,
        message=f"The process ended before its first step (status {status}). The log may say why; start it again.",
    )


def _start(plan: TrainPlan) -> Path:
    """Start a child; in a worker thread."""
    from sslprofiler_core.training.detached import start_training

    run = plan.out.resolve()
    child = _children.get(run)
    if child is not None:
        # One that has just paused may still be leaving.
        leaving = not PresenceWatcher(run).look()[1]
        try:
            child.wait(_LEAVING_S if leaving else 0.0)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"A training (process {child.pid}) is at work in {run}. Choose another run folder."
            ) from None
    folder = RunFolder(run)
    if plan.resume:
        folder.forget_control()
    elif folder.exists():
        raise UserError(f"{run} already holds a run. Choose another run folder, or open it and resume.")
    else:
        folder.refuse_strangers()
    _children[run] = start_training(plan.arguments(), run)
    return run


def _resume(run: Path, channels_file: Path | None) -> Path:
    return _start(plan_to_resume(run, channels_file))
