"""Which images belong to a row of a table: the row's site, or its well's sites; or why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sslprofiler_core.exploring import TableView
    from sslprofiler_core.plates import Plate, Site

    from .images import Images


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


def find_images(images: Images, table: TableView, row: int) -> Pictured | Missing:
    """The images of a row. Opens its plate when that is first looked at: call it in a thread."""
    found = images.sites(row)
    if found is not None:
        return Pictured(*found)
    name = table.row_name(row)
    if table.roles.plate is None or table.roles.well is None:
        return Missing("no plate and well", "The table has no columns of plates and wells, so no images can be found.")
    if not images.known:
        return Missing("no images", f"{name}: no images are at hand. Open > Where are the images? finds them.")
    plate = str(table.metadata[table.roles.plate].iloc[row])
    if plate not in images.folders:
        return Missing("plate not found", f"{name}: the images of plate {plate} are not at hand.")
    if images.plate(plate) is None:
        return Missing("plate not readable", f"{name}: {images.folders[plate]} has no images of plate {plate}.")
    return Missing("no images", f"{name}: the plate has no complete site there.")
