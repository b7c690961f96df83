"""Which images belong to a row of a table: the row's site, or its well's sites; or why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sslprofiler_core.plates import well_name, well_position

if TYPE_CHECKING:
    from napari_sslprofiler.state import Screen
    from sslprofiler_core.plates import Plate, Site


@dataclass(frozen=True, slots=True)
class Pictured:
    """The images of a row: a plate and one or more of its sites, in order."""

    plate: Plate
    sites: tuple[Site, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a row has no image: in a few words for a small picture, and in a sentence."""

    short: str
    reason: str


class SiteFinder:
    """Finds the sites of (plate, well, site) in the open plates. A plate is indexed when it is first asked for."""

    def __init__(self, screen: Screen | None) -> None:
        self._plates: dict[str, Plate] = {plate.name: plate for plate in screen.plates} if screen else {}
        self._wells: dict[str, dict[str, tuple[Site, ...]]] = {}

    def find(self, plate: Any, well: Any, site: Any = None) -> Pictured | Missing:
        """The images of a row.

        Parameters
        ----------
        plate, well
            As in ``Metadata_Plate`` and ``Metadata_Well``; the well in any usual spelling.
        site
            As in ``Metadata_Site``; None or NaN for a row that is a whole well.
        """
        name = str(plate)
        if not self._plates:
            return Missing("no plates open", "No plates are open. Open their images in the Plates widget.")
        own = self._plates.get(name)
        if own is None:
            return Missing("plate not open", f"Plate {name} is not open. Open its images in the Plates widget.")
        place = well_position(str(well))
        spelled = well_name(*place) if place else str(well)
        sites = self._index(own).get(spelled, ())
        if not sites:
            return Missing("no images", f"Plate {name} has no complete site in well {spelled}.")
        if site is None or site != site:  # NaN differs from itself
            return Pictured(own, sites)
        number = _number(site)
        one = next((s for s in sites if s.site == number), None)
        if one is None:
            return Missing("no images", f"Well {spelled} of plate {name} has no complete site {site}.")
        return Pictured(own, (one,))

    def _index(self, plate: Plate) -> dict[str, tuple[Site, ...]]:
        if plate.name not in self._wells:
            wells: dict[str, list[Site]] = {}
            for site in plate.sites:
                place = well_position(site.well)
                wells.setdefault(well_name(*place) if place else site.well, []).append(site)
            self._wells[plate.name] = {well: tuple(sites) for well, sites in wells.items()}
        return self._wells[plate.name]


def _number(site: Any) -> Any:
    try:
        return int(site)
    except (TypeError, ValueError):
        return site
