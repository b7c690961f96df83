"""What the widgets of one viewer share: open plates, the site on show, the recipe, runs, the table.

No Qt and no napari: a widget assigns, those who listen hear of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from psygnal import Signal, SignalGroup

if TYPE_CHECKING:
    from napari import Viewer
    from pandas import DataFrame

    from sslprofiler_core.plates import IntensityScale, Plate, Site
    from sslprofiler_core.recipes import Recipe


@dataclass(frozen=True, eq=False)
class Screen:
    """The plates that are open.

    Parameters
    ----------
    plates
        By name.
    paths
        What the user gave: what a command line is given again.
    scale
        Plate -> channel -> raw intensities drawn as black and as the full colour; lacks a plate until it is measured.
    metadata, metadata_path
        Of the wells, with ``Metadata_Plate`` and ``Metadata_Well``, and where it was read from.
    channels_file
        Names of the channels given by the user.
    notes
        What was odd, in sentences.
    """

    plates: tuple[Plate, ...]
    paths: tuple[Path, ...]
    scale: IntensityScale = field(default_factory=dict)
    metadata: DataFrame | None = None
    metadata_path: Path | None = None
    channels_file: Path | None = None
    notes: tuple[str, ...] = ()

    def plate(self, name: str) -> Plate | None:
        """The plate of this name, None when it is not open."""
        return next((plate for plate in self.plates if plate.name == name), None)

    def scale_of(self, plate: Plate) -> dict[str, tuple[float, float]]:
        """What a plate is drawn with; empty until it is measured, and for one elsewhere of the same name."""
        own = self.plate(plate.name)
        return dict(self.scale.get(plate.name, {})) if own is not None and own.root == plate.root else {}


class SessionEvents(SignalGroup):
    """One signal a shared value; each gives the new value."""

    screen = Signal(object)
    shown = Signal(object)
    recipe = Signal(object)
    runs = Signal(object)
    table = Signal(object)


class _Shared:
    """A value that tells when it is assigned."""

    def __init__(self, make: Callable[[], Any] = lambda: None) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, session: Session | None, owner: type) -> Any:
        if session is None:
            return self
        values = session.__dict__["_values"]
        if self._name not in values:
            values[self._name] = self._make()
        return values[self._name]

    def __set__(self, session: Session, value: Any) -> None:
        values = session.__dict__["_values"]
        if self._name in values and values[self._name] is value:
            return
        values[self._name] = value
        getattr(session.events, self._name).emit(value)


def _paper_recipe() -> Recipe:
    from sslprofiler_core.recipes import Recipe

    return Recipe()


class Session:
    """What the widgets of one viewer share.

    Attributes
    ----------
    events
        ``events.<attribute>.connect(callback)`` hears each assignment of another object.
    screen
        The open plates, or None.
    shown
        The site on show, or None.
    recipe
        As tuned in the preview; what training offers first.
    runs
        Run folders that this viewer knows, newest first.
    table
        The table that the browser shows, or None.
    """

    if TYPE_CHECKING:
        screen: Screen | None
        shown: Site | None
        recipe: Recipe
        runs: tuple[Path, ...]
        table: Path | None
    else:
        screen = _Shared()
        shown = _Shared()
        recipe = _Shared(_paper_recipe)
        runs = _Shared(tuple)
        table = _Shared()

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self.events = SessionEvents()

    def add_run(self, run: Path) -> None:
        """Put a run folder first among those known."""
        run = Path(run)
        self.runs = (run, *(other for other in self.runs if other != run))


_sessions: WeakKeyDictionary[Viewer, Session] = WeakKeyDictionary()


def session_of(viewer: Viewer) -> Session:
    """The viewer's session, made when first asked for."""
    # napari hands plugins a proxy of the viewer, another object each time.
    viewer = getattr(viewer, "__wrapped__", viewer)
    return _sessions.setdefault(viewer, Session())
