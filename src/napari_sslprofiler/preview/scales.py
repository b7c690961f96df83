"""The intensities and the illumination that training would measure for a plate, measured in the background and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_sslprofiler.background import Report, Task

if TYPE_CHECKING:
    from sslprofiler_core.plates import Plate
    from sslprofiler_core.recipes import Recipe

Scale = dict[str, tuple[float, float]]
Fields = dict[str, str]  # channel -> illumination, as `plates.flat_field` writes it


class Scales:
    """Asks for one plate's at a time; ``arrived`` is called when a measurement is there."""

    def __init__(self, arrived: Callable[[], None], failed: Callable[[str], None], parent: QObject) -> None:
        self._arrived, self._failed, self._parent = arrived, failed, parent
        # With its plate: while that is held, no other has its id.
        self._known: dict[tuple[object, ...], tuple[Plate, Scale, Fields]] = {}
        self._task: Task[tuple[Scale, Fields]] | None = None
        self._measuring: tuple[object, ...] = ()

    def get(self, plate: Plate, recipe: Recipe, names: tuple[str, ...]) -> Scale | None:
        """The scale of these channels, or None while it is measured."""
        key = _key(plate, recipe, names)
        if key in self._known:
            return self._known[key][1]
        if key != self._measuring:
            self._measure(key, plate, recipe, names)
        return None

    def fields(self, plate: Plate, recipe: Recipe, names: tuple[str, ...]) -> Fields:
        """The illumination of these channels; empty where it is not corrected, or not measured yet."""
        known = self._known.get(_key(plate, recipe, names))
        return known[2] if known is not None else {}

    def stop(self) -> None:
        """Stop measuring."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._measuring = ()

    def _measure(self, key: tuple[object, ...], plate: Plate, recipe: Recipe, names: tuple[str, ...]) -> None:
        self.stop()
        self._measuring = key

        def work(report: Report) -> tuple[Scale, Fields]:
            from sslprofiler_core.plates import measure_flat_field, measure_scale

            settings = recipe.plates
            found: Scale = {}
            fields: Fields = {}
            for number, name in enumerate(names):
                report(number, len(names))
                if settings.flat_field != "off":
                    fields |= measure_flat_field(
                        [plate], sites=settings.flat_field_sites, seed=recipe.train.seed, channels=[name]
                    )[plate.name]
                found |= measure_scale(
                    [plate],
                    percentiles=settings.percentiles,
                    sites=settings.scale_sites,
                    seed=recipe.train.seed,
                    channels=[name],
                )[plate.name]
            return found, fields

        def done(measured: tuple[Scale, Fields]) -> None:
            self._known[key] = (plate, *measured)
            self._task, self._measuring = None, ()
            self._arrived()

        def failed(message: str) -> None:
            # Not asked for again until something changes, or it would fail over and over.
            self._task = None
            self._failed(message)

        self._task = Task(work, done, failed, label=f"Training's intensities of {plate.name}", parent=self._parent)


def _key(plate: Plate, recipe: Recipe, names: tuple[str, ...]) -> tuple[object, ...]:
    settings = recipe.plates
    fewest = settings.scale_sites
    flat: tuple[object, ...] = ()
    if settings.flat_field != "off":
        flat = settings.flat_field, settings.flat_field_sites
        fewest = min(fewest, settings.flat_field_sites)
    # The seed chooses which sites are measured, where not all are.
    seed = recipe.train.seed if len({site.sources for site in plate.sites}) > fewest else 0
    return id(plate), settings.percentiles, settings.scale_sites, flat, seed, names
