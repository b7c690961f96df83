"""A widget whose layout ends with it, and answers that need no second frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sslprofiler.browser.calm import Calm
from napari_sslprofiler.browser.one_frame import Prompt, lay_out_now
from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


class Around(QWidget):
    """Counts how often it is to be laid out."""

    asked = 0

    def event(self, event: QEvent) -> bool:
        self.asked += event.type() == QEvent.Type.LayoutRequest
        return bool(super().event(event))


def test_other_words_are_no_affair_of_those_around(qtbot: QtBot) -> None:
    held, words = QWidget(), QLabel("short")
    QVBoxLayout(held).addWidget(words)
    held.setMinimumWidth(80)
    around, calm = Around(), Calm(held)
    QVBoxLayout(around).addWidget(calm)
    qtbot.addWidget(around)
    around.resize(300, 200)
    around.show()
    qtbot.wait(20)
    assert held.size() == calm.size()
    around.asked = 0
    words.setText("rather longer than before")
    lay_out_now()
    assert around.asked == 0 and words.width() > 100  # laid out within
    words.setText("three<br>lines<br>now")
    qtbot.waitUntil(lambda: around.asked > 0)  # it needs more height
    held.setMinimumWidth(120)
    assert calm.minimumSizeHint().width() == 120  # what is set counts more than what the label asks for
    calm.resize(250, 90)
    assert held.size() == calm.size()


def test_layouts_are_done_up_to_the_window(qtbot: QtBot) -> None:
    outer, words = Around(), QLabel("a")
    inner: QWidget = outer
    for _ in range(5):
        layout = QVBoxLayout(inner)
        inner = QWidget()
        layout.addWidget(inner)
    QVBoxLayout(inner).addWidget(words)
    qtbot.addWidget(outer)
    outer.show()
    qtbot.wait(20)
    outer.asked = 0
    words.setText("a<br>b<br>c<br>d")
    lay_out_now()
    assert outer.asked >= 1


def test_small_questions_are_answered_at_once(qtbot: QtBot) -> None:
    answers: list[object] = []

    def work(number: int) -> int:
        if number < 0:
            raise UserError("No such number. Choose another.")
        return 2 * number

    prompt: Prompt[int, int] = Prompt(work, answers.append, answers.append)
    prompt.ask(1)  # in a thread: overtaken by what follows
    prompt.ask(2, at_once=True)
    assert answers == [4]
    prompt.ask(-1, at_once=True)
    assert answers == [4, "No such number. Choose another."]
    prompt.ask(3)
    qtbot.waitUntil(lambda: answers[2:] == [6])
    assert not prompt.busy
