"""The Train widget in a real window, over a training that really trains; and all that can happen to it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtGui import QCloseEvent, QGuiApplication
from qtpy.QtWidgets import QApplication, QWidget

from napari_sslprofiler.plates.opening import open_screen
from napari_sslprofiler.state import session_of
from napari_sslprofiler.train import widget as widget_module
from sslprofiler_core.cli import build_parser
from sslprofiler_core.errors import UserError
from sslprofiler_core.training import RunFolder, RunState, RunStatus, start_training

if TYPE_CHECKING:
    from napari import Viewer

    from napari_sslprofiler.train.widget import TrainWidget

pytestmark = pytest.mark.window

Wait = Callable[..., None]


def status(widget: TrainWidget) -> RunStatus | None:
    state = widget.run_panel.state
    return state.status if state is not None else None


def message(widget: TrainWidget) -> str:
    return str(widget.run_panel.message.text())


def begin(widget: TrainWidget, wait: Wait, step: int = 5) -> RunFolder:
    """Press Start and wait for some steps."""
    wait(widget.setup.start_button.isEnabled)
    widget.setup.start_button.click()
    wait(lambda: status(widget) is RunStatus.RUNNING and widget.run_panel.state.step >= step)
    assert widget.run is not None
    return RunFolder(widget.run)


def kill(widget: TrainWidget) -> None:
    os.kill(widget.run_panel.state.pid, signal.SIGKILL)


def test_it_says_what_is_missing_then_what_it_means(
    widget: TrainWidget, viewer: Viewer, simulated: Path, wait: Wait, pictures: Path
) -> None:
    setup = widget.setup
    assert "Open plates first" in setup.meaning.verdict.text()
    assert not setup.start_button.isEnabled() and not setup.copy_button.isEnabled()
    setup.add_folder(simulated / "images")
    wait(lambda: session_of(viewer).screen is not None)
    setup.choose_recipe("tiny")
    setup.form.set("train.batch", 8)
    wait(setup.start_button.isEnabled)
    texts = {name: label.toolTip() for name, label in setup.meaning.rows.items()}
    assert texts["Sites"].startswith("48 in 12 wells, 2 plates")
    assert texts["Pairs"].startswith("48 an epoch, 8 a step")
    setup.form.set("train.batch", 64)
    wait(lambda: "Too few sites: 48 in 12 wells" in setup.meaning.verdict.text())
    assert not setup.start_button.isEnabled()
    setup.form.set("train.batch", 8)
    setup.plates.item(0).setCheckState(setup.plates.item(1).checkState().Unchecked)
    wait(lambda: setup.meaning.rows["Sites"].toolTip().startswith("24 in 6 wells, 1 plate"))
    setup.group.setCurrentIndex(setup.group.count() - 1)
    for row in range(setup.channels.count()):
        setup.channels.item(row).setCheckState(setup.plates.item(0).checkState())
    assert "Choose a channel" in setup.meaning.verdict.text()
    setup.channels.item(1).setCheckState(setup.plates.item(1).checkState())
    wait(lambda: "1 channels" in setup.meaning.rows["Model"].toolTip())
    assert widget.grab().save(str(pictures / "train-ready.png"))


def test_a_folder_is_added_with_the_metadata_that_was_chosen(
    widget: TrainWidget, viewer: Viewer, simulated: Path, tmp_path: Path, wait: Wait
) -> None:
    chosen = shutil.copytree(simulated / "metadata", tmp_path / "chosen")
    first, second = sorted(path for path in (simulated / "images").iterdir() if path.name.startswith("SIM"))
    session = session_of(viewer)
    session.screen = open_screen([first], lambda done, total: None, metadata=chosen)
    widget.setup.add_folder(second)
    wait(lambda: len(session.screen.plates) == 2)
    assert session.screen.metadata_path == chosen
    widget.setup.add_folder(second)
    wait(lambda: "open already" in widget.setup.meaning.verdict.text())


def test_what_was_said_stands_until_something_else_is_asked(ready: TrainWidget, wait: Wait, tmp_path: Path) -> None:
    meaning = ready.setup.meaning
    meaning.say("Open already.")  # while the count of before is under way
    with_count: list[bool] = []
    meaning.counted.connect(with_count.append)
    wait(lambda: with_count)
    assert meaning.verdict.text() == "Open already."
    ready.setup.form.set("train.steps", 500)
    wait(lambda: meaning.verdict.text() == "")
    ready.setup.choose_recipe(tmp_path / "gone.toml")
    wait(lambda: "Too few sites" in meaning.verdict.text())  # the recipe that is taken instead has large batches
    assert "gone.toml" in meaning.verdict.text()
    assert ready.setup.recipe.currentIndex() == 0


def test_a_word_that_cannot_be_left_is_said_and_stays(
    ready: TrainWidget, wait: Wait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: RunFolder, word: str) -> None:
        raise UserError("The disk is full.")

    run = tmp_path / "run"
    run.mkdir()
    ready.follow(run)
    wait(lambda: ready.run_panel.state is not None)
    monkeypatch.setattr(RunFolder, "ask", full)
    ready.ask_run("pause")
    wait(lambda: message(ready) == "The disk is full.")
    ready._poll()
    wait(lambda: not ready._polls.busy)
    assert message(ready) == "The disk is full."


def test_the_time_comes_from_a_child_that_a_change_ends(ready: TrainWidget, wait: Wait) -> None:
    meaning = ready.setup.meaning
    meaning.set_timing(True)
    ready.setup.form.set("train.steps", 500)
    wait(lambda: "timing" in meaning.rows["Time here"].toolTip())
    ready.setup.form.set("train.steps", 400)
    wait(lambda: "a step on cpu" in meaning.rows["Time here"].toolTip())
    assert "GB free" in meaning.rows["Memory"].toolTip()


def test_the_tuned_recipe_of_the_preview_is_taken(ready: TrainWidget, viewer: Viewer, wait: Wait) -> None:
    from sslprofiler_core.recipes import load_recipe

    ready.setup.choose_recipe("preview")
    session_of(viewer).recipe = load_recipe("paper-vits14", ["augment.flip=0.125", "train.batch=8"])
    plan = ready.setup.plan()
    assert plan is not None
    assert (plan.recipe, set(plan.overrides)) == ("paper-vits14", {"augment.flip=0.125", "train.batch=8"})


def test_the_command_is_copied(ready: TrainWidget, wait: Wait) -> None:
    ready.setup.form.set("train.steps", 7)
    ready.setup.copy_button.click()
    words = shlex.split(QGuiApplication.clipboard().text())
    plan = ready.setup.plan()
    assert plan is not None and words == ["sslprofiler", "train", *plan.arguments()]
    assert build_parser().parse_args(words[1:]).set == ["train.steps=7"]


def test_start_pause_resume_kill_resume_stop(
    ready: TrainWidget, viewer: Viewer, wait: Wait, heartbeat: Any, pictures: Path
) -> None:
    """The window is never away for long, whatever the child is made to do."""
    with heartbeat:
        run = begin(ready, wait)
        end = time.monotonic() + 2.0
        wait(lambda: time.monotonic() > end)
    heartbeat.check("training")
    panel = ready.run_panel
    assert [line.name for line in panel.losses.series][:3] == ["total", "DINO, masked", "DINO, other site"]
    for tab in range(4):
        panel.tabs.setCurrentIndex(tab)
    assert "sslprofiler train" in panel.log.toPlainText()
    assert panel.knn.series and panel.speed.series
    panel.tabs.setCurrentIndex(0)
    assert ready.grab().save(str(pictures / "train-running.png"))
    assert session_of(viewer).runs[0] == run.path
    panel.pause_button.click()
    wait(lambda: status(ready) is RunStatus.PAUSED)
    assert not panel.pause_button.isEnabled() and panel.resume_button.isEnabled()
    paused = panel.state.step
    panel.resume_button.click()
    wait(lambda: status(ready) is RunStatus.RUNNING and panel.state.step > paused)
    kill(ready)
    wait(lambda: status(ready) is RunStatus.LOST, 10)
    assert "ended without a word" in message(ready) and f"Resume goes on from step {paused}" in message(ready)
    assert ready.grab().save(str(pictures / "train-lost.png"))
    panel.resume_button.click()
    wait(lambda: status(ready) is RunStatus.RUNNING and panel.state.step > paused)
    panel.stop_button.click()
    wait(lambda: status(ready) is RunStatus.STOPPED)


def test_rubbish_in_the_run_folder_and_then_no_folder(ready: TrainWidget, wait: Wait) -> None:
    """In the middle of a training: a sentence each time, a way on, and a window that lives."""
    run = begin(ready, wait)
    child = ready.run_panel.state.pid
    for path in (run.events_file, run.facts_file, run.recipe_file, run.log_file, run.path / "stranger"):
        path.write_bytes(os.urandom(5000) + b"\n{]\n" * 100)
    wait(lambda: "damaged" in message(ready), 30)
    os.kill(child, signal.SIGKILL)
    wait(lambda: not status(ready).alive, 30)
    ready.run_panel.resume_button.click()
    wait(lambda: "run.json cannot be read" in message(ready), 30)
    shutil.rmtree(run.path)
    wait(lambda: status(ready) is RunStatus.ABSENT, 30)
    assert "has gone" in message(ready) and not ready.run_panel.resume_button.isEnabled()


def test_what_failed_is_shown_with_a_way_on(ready: TrainWidget, trained: Path, tmp_path: Path, wait: Wait) -> None:
    run = RunFolder(shutil.copytree(trained, tmp_path / "failed"))
    with run.events_file.open("a") as file:
        file.write('{"event": "failed", "step": 12, "reason": "Cannot write x. Make room."}\n')
    ready.follow(run.path)
    wait(lambda: status(ready) is RunStatus.FAILED)
    assert message(ready).startswith("Cannot write x. Make room. Resume goes on from step 12.")
    assert ready.run_panel.resume_button.isEnabled()


def test_a_folder_with_other_things_is_refused_at_once(ready: TrainWidget, wait: Wait, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    ready.setup.out.setText(str(tmp_path / "mine"))
    wait(ready.setup.start_button.isEnabled)
    ready.setup.start_button.click()
    wait(lambda: "is not a run" in ready.setup.meaning.verdict.text())
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    assert ready.setup.start_button.isEnabled()


def test_a_run_that_someone_else_trains_is_followed(
    widget: TrainWidget, viewer: Viewer, simulated: Path, small: list[str], tmp_path: Path, wait: Wait
) -> None:
    """Started by the command line, to its end; the session hears of it, and a listener without Qt too."""
    sets = [part for setting in [*small, "train.steps=60"] for part in ("--set", setting)]
    run = tmp_path / "theirs"
    child = start_training(
        [str(simulated / "images"), "--channels", "all", "--out", str(run), "--recipe", "tiny", *sets], run, threads=1
    )
    finished: list[Path] = []
    widget.run_finished.connect(finished.append)
    widget.follow(run)
    wait(lambda: status(widget) is RunStatus.FINISHED)
    assert finished == [run] == list(session_of(viewer).runs)
    assert widget.run_panel.state.step == 60
    assert not widget.run_panel.resume_button.isEnabled() and not widget.run_panel.stop_button.isEnabled()
    child.wait(30)


def test_last_runs_are_remembered(viewer: Viewer, trained: Path, tmp_path: Path, wait: Wait) -> None:
    from napari_sslprofiler.train.recent import RecentRuns
    from napari_sslprofiler.train.widget import TrainWidget

    RecentRuns(tmp_path / "recent.json").add(trained)
    widget = TrainWidget(viewer, RecentRuns(tmp_path / "recent.json"))
    viewer.window.add_dock_widget(widget, name="Train")
    wait(lambda: status(widget) is RunStatus.FINISHED)
    assert widget.run_panel.runs.itemText(0) == "fluorescence"
    assert session_of(viewer).runs == ()  # remembered is not opened
    widget._timer.stop()


@pytest.mark.parametrize("answer", ["stop", "leave", "cancel"])
def test_closing_the_window_asks_about_a_training(answer: str, ready: TrainWidget, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "one")
    run.path.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        widget_module._children[run.path] = child
        ready._mine.add(run.path)
        asked: list[Path] = []

        def ask(path: Path) -> str:
            asked.append(path)
            return answer

        ready.ask_on_close = ask
        event = QCloseEvent()
        taken = ready.eventFilter(main_window(ready), event)
        assert asked == [run.path]
        assert taken == (answer == "cancel")
        assert event.isAccepted() == (answer != "cancel")
        assert run.control() == ("stop" if answer == "stop" else None)
        for status, known in ((RunStatus.RUNNING, True), (RunStatus.STOPPED, False)):
            ready.run_panel.show_state(RunState(run.path, status, pid=child.pid))
            assert bool(ready.at_work()) == known  # done, it is only leaving
        ready.run_panel.show_state(RunState(run.path, RunStatus.STOPPED, pid=child.pid + 1))
        assert ready.at_work()  # what is shown is of the process before
        child.kill()
        child.wait()
    assert ready.at_work() == ()


def main_window(widget: TrainWidget) -> QWidget:
    found: QWidget = widget
    while not found.inherits("QMainWindow"):
        found = found.parentWidget()
    return found


def test_the_question_itself(ready: TrainWidget, wait: Wait) -> None:
    """Three buttons that say what they do."""
    answers = {}
    for name in ("Stop with a checkpoint", "Leave it running", "Cancel"):

        def press(name: str = name) -> None:
            box = QApplication.activeModalWidget()
            next(button for button in box.buttons() if button.text().replace("&", "") == name).click()

        QTimer.singleShot(200, press)
        answers[name] = ready._ask(Path("/runs/x"))
    assert list(answers.values()) == ["stop", "leave", "cancel"]


def test_stopped_before_its_first_step(ready: TrainWidget, wait: Wait) -> None:
    wait(ready.setup.start_button.isEnabled)
    ready.setup.start_button.click()
    wait(lambda: status(ready) is RunStatus.STARTING)
    ready.run_panel.stop_button.click()
    wait(lambda: status(ready) is RunStatus.STOPPED, 30)


def test_it_can_be_used_by_keyboard(ready: TrainWidget) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QPushButton

    for button in ready.findChildren(QPushButton):
        if button.isVisibleTo(ready) and button.text() not in ("…",):
            assert button.focusPolicy() & Qt.FocusPolicy.TabFocus, button.text()
