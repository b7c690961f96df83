"""Nothing in the window freezes: the event loop's gaps while it indexes, switches sites and embeds."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_sslprofiler.embed.widget import EmbedWidget
from napari_sslprofiler.plates.widget import PlatesWidget
from napari_sslprofiler.site_display import display_of
from napari_sslprofiler.state import session_of
from sslprofiler_core.plates import well_name

if TYPE_CHECKING:
    from napari import Viewer
    from pytestqt.qtbot import QtBot
    from tests.napari_sslprofiler.conftest import Heartbeat

pytestmark = pytest.mark.window


@pytest.fixture(autouse=True)
def warm(viewer: Viewer) -> None:
    """Show an image and take it away: a process's first costs napari itself a second, whoever adds it."""
    viewer.add_image(np.zeros((8, 8), np.uint16))
    viewer.layers.clear()


def _open(viewer: Viewer, name: str) -> object:
    return viewer.window.add_plugin_dock_widget("napari-sslprofiler", name)[1]


@pytest.fixture
def full_plate(simulated: Path, tmp_path: Path) -> Path:
    """A plate of 384 wells, 9 sites, 8 channels: 27,648 names for the files of one site."""
    source = sorted((simulated / "images").iterdir())[0]
    name = next(source.glob("*ch1*.tiff")).name
    row, column, field = name[1:3], name[4:6], name[7:9]
    planes = [source / f"r{row}c{column}f{field}p01-ch{channel}sk1fk1fl1.tiff" for channel in range(1, 9)]
    plate = tmp_path / "FULL"
    plate.mkdir()
    stored = [Path(shutil.copy(path, tmp_path / f"{number}.tiff")) for number, path in enumerate(planes, 1)]
    for row_number in range(1, 17):
        for column_number in range(1, 25):
            for site in range(1, 10):
                for channel, path in enumerate(stored, 1):
                    link = plate / f"r{row_number:02}c{column_number:02}f{site:02}p01-ch{channel}sk1fk1fl1.tiff"
                    link.symlink_to(path)
    return plate


def test_while_a_full_plate_is_indexed(
    viewer: Viewer, full_plate: Path, heartbeat: Heartbeat, qtbot: QtBot, capsys: pytest.CaptureFixture[str]
) -> None:
    widget = _open(viewer, "Plates")
    assert isinstance(widget, PlatesWidget)
    qtbot.wait(200)
    since = time.perf_counter()
    with heartbeat:
        widget.open([full_plate])
        qtbot.waitUntil(lambda: session_of(viewer).screen is not None, timeout=30_000)
        opened = time.perf_counter() - since
    with capsys.disabled():
        print(f"\n27,648 files open in {opened:.1f} s")
        heartbeat.check("indexing a full plate")
    with heartbeat:
        qtbot.waitUntil(lambda: len(viewer.layers) == 8, timeout=30_000)
    with capsys.disabled():
        # Reported and not judged: making eight new layers is napari's own work, a tenth of a second each.
        print(heartbeat.report("the first site's eight layers"))
    screen = session_of(viewer).screen
    assert screen is not None and len(screen.plates[0].sites) == 3456
    assert set(screen.plates[0].wells) == {well_name(r, c) for r in range(1, 17) for c in range(1, 25)}


def test_while_sites_of_real_size_switch(
    viewer: Viewer, cpjump1: Path, heartbeat: Heartbeat, qtbot: QtBot, capsys: pytest.CaptureFixture[str]
) -> None:
    widget = _open(viewer, "Plates")
    assert isinstance(widget, PlatesWidget)
    session = session_of(viewer)
    widget.open([cpjump1 / "images" / "BR00117012"])
    qtbot.waitUntil(lambda: len(viewer.layers) == 8 and bool(session.screen and session.screen.scale), timeout=60_000)
    qtbot.wait(300)
    times = []
    with heartbeat:
        for well in ("D08", "N14", "A21") * 2:
            since = time.perf_counter()
            widget.show_well(well)
            qtbot.waitUntil(lambda well=well: viewer.layers[0].metadata["well"] == well, timeout=10_000)
            times.append(1000 * (time.perf_counter() - since))
            qtbot.wait(50)
    with capsys.disabled():
        print(f"\nsite switch: median {sorted(times)[3]:.0f} ms, worst {max(times):.0f} ms (8 x 1080 x 1080 px, LZW)")
        heartbeat.check("switching sites")
    assert not display_of(viewer).problem


def test_while_plates_are_embedded(
    viewer: Viewer,
    simulated: Path,
    trained: Path,
    tmp_path: Path,
    heartbeat: Heartbeat,
    qtbot: QtBot,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plates = _open(viewer, "Plates")
    assert isinstance(plates, PlatesWidget)
    plates.open([simulated / "images"])
    qtbot.waitUntil(lambda: len(viewer.layers) == 8, timeout=20_000)
    widget = _open(viewer, "Embed and profile")
    assert isinstance(widget, EmbedWidget)
    widget.add_run(trained)
    widget.out.setText(str(tmp_path / "out"))
    with heartbeat:
        widget.start()
        qtbot.waitUntil(lambda: widget.browse_button.isVisible(), timeout=90_000)
    with capsys.disabled():
        print()
        heartbeat.check("embedding")
