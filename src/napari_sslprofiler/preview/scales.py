"""The intensities that training would measure for a plate, measured in the background and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_sslprofiler.background import Report, Task

if TYPE_CHECKING:
    from sslprofiler_core.plates import Plate
    from sslprofiler_core.recipes import Recipe

Scale = dict[str, tuple[float, float]]


class Scales:
    """Asks for one plate's at a time; ``arrived`` is called when a measurement is there."""

    def __init__(self, arrived: Callable[[], None], failed: Callable[[str], None], parent: QObject) -> None:
        self._arrived, self._failed, self._parent = arrived, failed, parent
        self._known: dict[tuple[object, ...], Scale] = {}
        self._task: Task[Scale] | None = None
        self._measuring: tuple[object, ...] = ()

    def get(self, plate: Plate, recipe: Recipe, names: tuple[str, ...]) -> Scale | None:
        """The scale of these channels, or None while it is measured."""
        key = (id(plate), recipe.plates.percentiles, recipe.plates.scale_sites, _seed(plate, recipe), names)
        if key in self._known:
            return self._known[key]
        if key != self._measuring:
            self._measure(key, plate, recipe, names)
        return None

    def stop(self) -> None:
        """Stop measuring."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._measuring = ()

    def _measure(self, key: tuple[object, ...], plate: Plate, recipe: Recipe, names: tuple[str, ...]) -> None:
        self.stop()
        self._measuring = key

        def work(report: Report) -> Scale:
            from sslprofiler_core.plates import measure_scale

            found: Scale = {}
            for number, name in enumerate(names):
                report(number, len(names))
                found |= measure_scale(
                    [plate],
                    percentiles=recipe.plates.percentiles,
                    sites=recipe.plates.scale_sites,
                    seed=recipe.train.seed,
                    channels=[name],
                )[plate.name]
            return found

        def done(scale: Scale) -> None:
            self._known[key] = scale
            self._task, self._measuring = None, ()
            self._arrived()

        def failed(message: str) -> None:
            # Not asked for again until something changes, or it would fail over and over.
            self._task = None
            self._failed(message)

        self._task = Task(work, done, failed, label=f"Training's intensities of {plate.name}", parent=self._parent)


def _seed(plate: Plate, recipe: Recipe) -> int:
    """The seed chooses which sites are measured, where not all are."""
    return recipe.train.seed if len({site.sources for site in plate.sites}) > recipe.plates.scale_sites else 0
