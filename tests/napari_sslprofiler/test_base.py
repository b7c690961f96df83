"""What all widgets rest on: the session, work off the GUI thread, the site on show."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from psygnal import Signal
from qtpy.QtCore import QObject

from napari_sslprofiler.background import Latest, Task, sentence
from napari_sslprofiler.lifetime import hear
from napari_sslprofiler.site_display import SiteDisplay, display_of, ends
from napari_sslprofiler.state import Screen, Session, session_of
from napari_sslprofiler.style import seconds_text, sequential
from sslprofiler_core.errors import UserError
from sslprofiler_core.plates import measure_scale, open_plates, read_site
from sslprofiler_core.recipes import Recipe

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot


def test_a_session_tells_of_each_new_value_once() -> None:
    session = Session()
    heard: list[Any] = []
    session.events.shown.connect(heard.append)
    assert session.shown is None and session.runs == () and session.recipe == Recipe()
    site = object()
    session.shown = site
    session.shown = site
    assert heard == [site]
    session.add_run(Path("a"))
    session.add_run(Path("b"))
    session.add_run(Path("a"))
    assert session.runs == (Path("a"), Path("b"))


def test_durations_read_as_people_say_them() -> None:
    assert [seconds_text(s) for s in (0, 89, 600, 7800, 200000, None)] == [
        "0 s",
        "89 s",
        "10 min",
        "2 h 10 min",
        "2 d 7 h",
        "unknown",
    ]


def test_the_ramp_is_even_and_grey_where_nothing_is_known() -> None:
    colours = sequential(np.array([-1.0, 0.0, 0.5, 1.0, 2.0, np.nan]))
    assert (colours[0] == colours[1]).all() and (colours[3] == colours[4]).all()
    assert tuple(colours[5]) == (138, 138, 138)
    light = sequential(np.linspace(0, 1, 50)).astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0).all()


def test_the_newest_request_wins_and_stale_answers_are_dropped(qtbot: QtBot) -> None:
    gate, answers = threading.Event(), []

    def work(number: int) -> int:
        if number == 0:
            gate.wait(5)
        return number

    latest: Latest[int, int] = Latest(work, answers.append)
    for number in range(5):
        latest.ask(number)
    gate.set()
    qtbot.waitUntil(lambda: bool(answers) and not latest.busy, timeout=5000)
    qtbot.wait(50)
    assert answers == [4]


def test_an_answer_whose_receiver_is_gone_is_not_under_way(qtbot: QtBot) -> None:
    gate, answers = threading.Event(), []
    owner = QObject()
    latest: Latest[int, bool] = Latest(lambda _: gate.wait(5), answers.append, parent=owner)
    latest.ask(0)
    with qtbot.waitSignal(owner.destroyed):
        owner.deleteLater()
    assert latest.busy
    gate.set()
    qtbot.waitUntil(lambda: not latest.busy, timeout=5000)
    assert answers == []


def test_an_error_in_the_background_becomes_a_sentence(qtbot: QtBot) -> None:
    def work(_: None) -> None:
        raise UserError("The plate has no wells. Give another.")

    told: list[str] = []
    latest: Latest[None, None] = Latest(work, lambda _: None, told.append)
    latest.ask(None)
    qtbot.waitUntil(lambda: bool(told), timeout=5000)
    assert told == ["The plate has no wells. Give another."]
    assert "ValueError" in sentence(ValueError("odd"))
    late = RuntimeError("cannot schedule new futures after interpreter shutdown")
    assert sentence(late) == "The program has ended."


def test_long_work_tells_its_progress_and_can_be_cancelled(qtbot: QtBot) -> None:
    told: list[Any] = []

    def work(report: Any) -> str:
        for i in range(1000):
            report(i, 1000)
            time.sleep(0.01)
        return "done"

    task = Task(
        work,
        told.append,
        told.append,
        label="Working",
        cancelled=lambda: told.append("cancelled"),
        progressed=lambda done, total, left: told.append((done, total)),
    )
    qtbot.waitUntil(lambda: len(told) > 1, timeout=5000)
    assert told[0][1] == 1000
    task.cancel()
    qtbot.waitUntil(lambda: not task.running, timeout=5000)
    assert told[-1] == "cancelled" and "done" not in told


def test_long_work_ends_with_the_widget_that_asked_for_it(qtbot: QtBot) -> None:
    def work(report: Any) -> None:
        while True:
            report(0, 0)
            time.sleep(0.01)

    owner, told = QObject(), []
    task = Task(work, told.append, told.append, label="Working", parent=owner, cancelled=lambda: told.append("no"))
    with qtbot.waitSignal(owner.destroyed):
        owner.deleteLater()
    task.wait(5)
    assert not task._thread.is_alive() and not told


def test_progress_that_comes_while_the_bar_is_drawn_does_not_pile_up(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, told = threading.Event(), []
    task = Task(lambda report: go.wait(5), told.append, told.append, label="Working")
    drawn = []

    def update(by: float) -> None:  # as napari's bar does, which runs the event loop
        drawn.append(by)
        task._arrived(("progress", (len(drawn), 10**6)))

    monkeypatch.setattr(task._bar, "update", update)
    for done in (1, 2, 3):
        task._arrived(("progress", (done, 10**6)))
    assert len(drawn) == 3
    go.set()
    qtbot.waitUntil(lambda: told == [True])


def run_apart(program: str) -> None:
    """In a process of its own: what goes wrong is a segmentation fault."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"


def test_the_garbage_collector_may_end_what_listens() -> None:
    run_apart("""
import gc
from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QObject
from napari_sslprofiler.background import Latest
from napari_sslprofiler.lifetime import hear
class Session:
    table = Signal(object)
class Owner(QObject):
    def __init__(self, session):
        super().__init__()
        self.one = Latest(lambda value: value, self.got, self.got, self)
        self.other = Latest(lambda value: value, self.got, self.got, self)
        hear(session.table, self.got, self)
    def got(self, value):
        pass
app, session = QCoreApplication([]), Session()
gc.disable()
for _ in range(20):
    owners = [Owner(session) for _ in range(20)]
    del owners
    assert gc.collect()
    session.table.emit(1)
assert not len(session.table)
owners = [Owner(session) for _ in range(20)]  # left to the interpreter's end
""")


def test_a_listener_may_go_while_its_signal_is_emitted() -> None:
    class Session:
        table = Signal(object)

    class Owner(QObject):
        def __init__(self) -> None:
            super().__init__()
            self.cycle = self
            hear(session.table, self.got, self)

        def got(self, value: object) -> None:
            heard.append(value)
            owners.clear()
            gc.collect()

    heard: list[object] = []
    session = Session()
    owners = [Owner() for _ in range(3)]
    session.table.emit(1)  # to the first, which lets go of all
    assert heard == [1]
    gc.collect()
    assert not len(session.table)


def test_threads_may_send_while_the_receiver_goes() -> None:
    run_apart("""
import threading, time
from qtpy.QtCore import QCoreApplication, QEvent, QObject
from napari_sslprofiler.background import _Post
app = QCoreApplication([])
def send(post):
    while post.post(1):
        pass
for _ in range(200):
    owner = QObject()
    post = _Post(lambda value: None, owner)
    threads = [threading.Thread(target=send, args=(post,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.002)
    owner.deleteLater()
    while any(thread.is_alive() for thread in threads):
        app.processEvents()
        app.sendPostedEvents(None, QEvent.Type.DeferredDelete)
""")


@pytest.mark.window
def test_sites_swap_in_one_set_of_layers_and_stand_beside_each_other(
    viewer: Viewer, simulated: Path, qtbot: QtBot
) -> None:
    plates = open_plates([simulated / "images"])
    session = session_of(viewer)
    session.screen = Screen(tuple(plates), (simulated / "images",), measure_scale(plates))
    display = display_of(viewer)
    assert display is display_of(viewer)
    one, two = plates[0].sites[0], plates[0].sites[5]
    display.show(plates[0], one)
    qtbot.waitUntil(lambda: len(viewer.layers) == 8 and not display.busy, timeout=10000)
    layers = list(viewer.layers)
    assert session.shown is one
    np.testing.assert_array_equal(layers[2].data, read_site(one)[2])

    display.show(plates[0], two)
    qtbot.waitUntil(lambda: layers[0].metadata["well"] == two.well, timeout=10000)
    assert list(viewer.layers) == layers
    np.testing.assert_array_equal(layers[2].data, read_site(two)[2])
    assert two.well in viewer.canvas.overlays.text.text

    marks = viewer.add_points([[1.0, 1.0]])
    display.show(plates[1], plates[1].sites[0], slot=1, caption=f"a neighbour {'x' * 80} (R)")
    qtbot.waitUntil(lambda: len(viewer.layers) == 17, timeout=10000)
    assert viewer.layers[-1].name == marks.name
    viewer.layers.remove(marks)
    assert viewer.layers[8].translate[1] > viewer.layers[0].data.shape[1] * viewer.layers[0].scale[1]
    last = viewer.canvas.overlays.text.text.splitlines()[-1]
    assert last.startswith("a neighbour") and last.endswith("x (R)") and len(last) <= 36 and session.shown is two
    display.clear(1)
    assert list(viewer.layers) == layers


@pytest.mark.window
def test_layers_that_were_removed_come_back_with_the_next_site(viewer: Viewer, simulated: Path, qtbot: QtBot) -> None:
    (plate, _) = open_plates([simulated / "images"])
    display = display_of(viewer)
    display.show(plate, plate.sites[0])
    qtbot.waitUntil(lambda: len(viewer.layers) == 8 and not display.busy, timeout=10000)
    for gone, site in ((1, plate.sites[4]), (8, plate.sites[8])):
        for layer in list(viewer.layers)[:gone]:
            viewer.layers.remove(layer)
        display.show(plate, site)
        qtbot.waitUntil(lambda: len(viewer.layers) == 8 and not display.busy, timeout=10000)
        assert {layer.metadata["well"] for layer in viewer.layers} == {site.well}


@pytest.mark.window
def test_layers_take_another_plates_pixel_size_and_contrast(viewer: Viewer, simulated: Path, qtbot: QtBot) -> None:
    (plate, _) = open_plates([simulated / "images"])
    display = display_of(viewer)
    display.show(plate, plate.sites[0])
    qtbot.waitUntil(lambda: len(viewer.layers) == 8 and not display.busy, timeout=10000)
    for layer in viewer.layers:
        layer.contrast_limits = (0, 1)
    for size, scale, unit in ((0.3, 0.3, "micrometer"), (None, 1.0, "pixel")):
        other = replace(plate, root=simulated / f"other {size}", pixel_size_um=size)  # another plate of this name
        display.show(other, plate.sites[1])
        qtbot.waitUntil(lambda: viewer.layers[0].metadata["site"] == 2 and not display.busy, timeout=10000)
        for layer in viewer.layers:
            assert tuple(layer.scale) == (scale, scale) and str(layer.units[0]) == unit
            assert layer.contrast_limits[1] > 1
        display.show(plate, plate.sites[0])
        qtbot.waitUntil(lambda: viewer.layers[0].metadata["site"] == 1 and not display.busy, timeout=10000)


@pytest.mark.window
def test_the_caption_names_the_site_on_show_where_another_cannot_be_read(
    viewer: Viewer, simulated: Path, qtbot: QtBot
) -> None:
    (plate, _) = open_plates([simulated / "images"])
    display = display_of(viewer)
    display.show(plate, plate.sites[0])
    qtbot.waitUntil(lambda: len(viewer.layers) == 8 and not display.busy, timeout=10000)
    gone = replace(plate.sites[4], paths=tuple(path.with_name("gone") for path in plate.sites[4].paths))
    display.show(plate, gone)
    qtbot.waitUntil(lambda: bool(display.problem), timeout=10000)
    display.show(plate, plate.sites[8], slot=1)
    qtbot.waitUntil(lambda: len(viewer.layers) == 16 and not display.busy, timeout=10000)
    words = viewer.canvas.overlays.text.text
    assert plate.sites[0].well in words and plate.sites[8].well in words and gone.well not in words


@pytest.mark.window
def test_contrast_that_arrives_later_is_taken_over(viewer: Viewer, simulated: Path, qtbot: QtBot) -> None:
    (plate, _) = open_plates([simulated / "images"])
    session = session_of(viewer)
    session.screen = Screen((plate,), (simulated,))
    display_of(viewer).show(plate, plate.sites[0])
    qtbot.waitUntil(lambda: len(viewer.layers) == 8, timeout=10000)
    scale = measure_scale([plate])
    session.screen = Screen((plate,), (simulated,), scale)
    for layer, channel in zip(viewer.layers, plate.channels, strict=True):
        assert tuple(layer.contrast_limits) == pytest.approx(scale[plate.name][channel.name])


@pytest.mark.window
def test_a_site_that_cannot_be_read_is_named(viewer: Viewer, simulated: Path, tmp_path: Path, qtbot: QtBot) -> None:
    import shutil

    shutil.copytree(simulated / "images", tmp_path / "images")
    (plate, _) = open_plates([tmp_path / "images"])
    path = sorted(plate.root.iterdir())[0]
    path.write_bytes(b"II*\0rubbish")
    display = display_of(viewer)
    display.show(plate, plate.sites[0])
    qtbot.waitUntil(lambda: bool(display.problem), timeout=10000)
    assert path.name in display.problem and not viewer.layers


def test_a_display_does_not_keep_its_viewer() -> None:
    from napari.components import ViewerModel

    model = ViewerModel()
    display = SiteDisplay(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert display.busy is False


def test_names_that_fit_are_whole_and_long_ones_keep_both_ends() -> None:
    assert ends("BR00117010") == "BR00117010" and ends("x" * 36) == "x" * 36
    for most in (7, 8):
        assert len(ends("0123456789", most)) == most
    assert ends("0123456789", 7) == "012…789"
