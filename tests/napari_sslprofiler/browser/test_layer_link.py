"""napari's layers lead back to rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from napari_sslprofiler.browser.layer_link import LayerLink

if TYPE_CHECKING:
    from napari import Viewer

    from napari_sslprofiler.browser.state import BrowserState

pytestmark = pytest.mark.window


def add(viewer: Viewer, state: BrowserState, row: int, left: float, name: str) -> Any:
    assert state.images is not None
    found = state.images.sites(row)
    assert found is not None
    site = found[1][0]
    about = {"plate": site.plate, "well": site.well, "site": site.site, "channel": name, "file": str(site.paths[0])}
    return viewer.add_image(np.eye(8), name=name, translate=(0.0, left), metadata=about)


def click(viewer: Viewer, y: float, x: float, dragged: bool = False) -> None:
    event = SimpleNamespace(type="mouse_press", position=(y, x), modifiers=())
    acts = [act(viewer, event) for act in viewer.mouse_drag_callbacks]
    for act in acts:
        next(act, None)
    event.type = "mouse_move" if dragged else "mouse_release"
    for act in acts:
        next(act, None)


def test_a_layer_or_a_click_on_its_site_selects_the_row(viewer: Viewer, screen_state: BrowserState) -> None:
    state = screen_state
    link = LayerLink(state, viewer)
    first, beside = add(viewer, state, 2, 0.0, "DNA"), add(viewer, state, 5, 8.5, "DNA (2)")
    other = viewer.add_image(np.eye(4), translate=(100, 100))
    state.clear_selection()
    state.current = None
    viewer.layers.selection.active = first
    assert state.current == 2 and state.selected_rows().tolist() == [2]
    viewer.layers.selection.active = other
    assert state.current == 2
    # A site beside the one on show is pointed to and selected; what it stands beside stays the query.
    viewer.layers.selection.active = beside
    assert (state.current, state.hovered) == (2, 5) and state.selected_rows().tolist() == [5]
    click(viewer, 3.0, 3.0)
    assert state.current == 2 and state.selected_rows().tolist() == [2]
    click(viewer, 3.0, 12.0)
    assert state.selected_rows().tolist() == [5]
    click(viewer, 3.0, 3.0, dragged=True)
    click(viewer, 50.0, 50.0)
    assert state.selected_rows().tolist() == [5]
    points = viewer.add_points(np.zeros((1, 2)))
    points.mode = "add"
    click(viewer, 3.0, 3.0)  # adds a point
    assert state.selected_rows().tolist() == [5]
    # The same names, but of another experiment.
    first.metadata = {**beside.metadata, "file": "elsewhere.tif"}
    click(viewer, 3.0, 3.0)
    assert state.selected_rows().tolist() == [5]
    first.metadata = {**first.metadata, "file": beside.metadata["file"]}
    # A group that is selected stays.
    state.select([7, 8, 9])
    viewer.layers.selection.active = first
    assert state.selected_rows().tolist() == [7, 8, 9]
    link.deleteLater()
