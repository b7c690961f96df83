"""From a row of a table to the site that it is about: plates are opened when first looked at. No Qt.

Any thread may ask; opening a plate reads its folder, so ask from a worker.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sslprofiler_core.errors import UserError

if TYPE_CHECKING:
    from sslprofiler_core.exploring import TableView
    from sslprofiler_core.plates import Plate, Site


class Images:
    """Where the images of a table's rows are."""

    def __init__(self, table: TableView, folders: Mapping[str, Path] | None = None) -> None:
        """``folders`` are plates that somebody has pointed to, over what the table says."""
        self._table = table
        self._folders = {**table.plate_roots, **(folders or {})}
        self._plates: dict[str, Plate | None] = {}
        self._by_well: dict[str, dict[str, tuple[Site, ...]]] = {}
        self._lock = threading.RLock()
        self._opening = threading.Lock()  # one thread opens plates; whoever asks where they are need not wait for it
        self._rows: dict[tuple[str, str, str], list[int]] = {}

    @property
    def known(self) -> bool:
        """Whether any plate of the table has a folder or is open."""
        with self._lock:
            return bool(self._folders) or any(self._plates.values())

    @property
    def folders(self) -> dict[str, Path]:
        """Plate -> folder."""
        with self._lock:
            return dict(self._folders)

    def names(self) -> frozenset[str]:
        """Plates of the table."""
        return self._names

    @cached_property
    def _names(self) -> frozenset[str]:
        column = self._table.roles.plate
        if column is None:
            return frozenset()
        return frozenset(map(str, self._table.metadata[column].dropna().unique()))

    def point(self, folders: Mapping[str, Path]) -> None:
        """Say where plates are, plate -> folder; they are opened when looked at."""
        with self._lock:
            for plate, folder in folders.items():
                self._folders[plate] = folder
                if self._plates.get(plate) is None:
                    self._plates.pop(plate, None)

    def adopt(self, plates: Iterable[Plate], elsewhere: bool = True) -> int:
        """Take plates that are open already; returns how many of them the table has.

        Without ``elsewhere``, only those that lie where the table says, or of which it says nothing: plates of another
        experiment may have the same names.
        """
        names = self.names()
        taken = 0
        for plate in plates:
            if plate.name not in names:
                continue
            with self._lock:
                folder = self._folders.get(plate.name)
                if elsewhere or folder is None or _are_same(folder, plate.root):
                    taken += 1
                    self._take(plate)
                    self._folders[plate.name] = plate.root
        return taken

    def plate(self, name: str) -> Plate | None:
        """The plate of this name, opened if need be; None where its folder is not known or not readable."""
        from sslprofiler_core.plates import open_plates

        with self._opening:
            with self._lock:
                if name in self._plates:
                    return self._plates[name]
                folder = self._folders.get(name)
            plate = None
            if folder is not None:
                try:
                    found = open_plates([folder])
                except (UserError, OSError):
                    found = []
                plate = next((one for one in found if one.name == name), found[0] if len(found) == 1 else None)
            with self._lock:
                if name not in self._plates:  # nor adopted meanwhile
                    self._take(plate, name)
                return self._plates[name]

    def sites(self, row: int) -> tuple[Plate, tuple[Site, ...]] | None:
        """The plate and the sites of a row: all of its well, or the one site; None without images."""
        from sslprofiler_core.plates import well_name, well_position

        roles = self._table.roles
        if roles.plate is None or roles.well is None:
            return None
        own = self._table.metadata.iloc[row]
        if pd.isna(own[roles.plate]) or pd.isna(own[roles.well]):
            return None
        name = str(own[roles.plate])
        plate = self.plate(name)
        if plate is None:
            return None
        place = well_position(str(own[roles.well]))
        with self._lock:
            sites = self._by_well[name].get(well_name(*place) if place else str(own[roles.well]), ())
        if roles.site is not None and pd.notna(own[roles.site]):
            number = str(own[roles.site]).removesuffix(".0")
            sites = tuple(site for site in sites if str(site.site) == number)
        return (plate, sites) if sites else None

    def row_of(self, site: Site, prefer: int | None = None) -> int | None:
        """The first row about a site, or about its well; ``prefer`` where that row is. None for none."""
        return self.row_at(site.plate, site.well, site.site, str(site.paths[0]), prefer)

    def row_at(self, plate: str, well: str, site: object, file: str, prefer: int | None = None) -> int | None:
        """As `row_of`, of a site by its names and one of its files: plates elsewhere may have the same names."""
        with self._lock:
            known = self._by_well.get(plate, {}).get(well, ())
        if not any(file == str(path) for own in known for path in own.paths):
            return None
        if not self._rows:
            self._index_rows()
        number = str(site) if self._table.roles.site is not None else ""
        found = self._rows.get((plate, well, number), [])
        return prefer if prefer in found else next(iter(found), None)

    def _index_rows(self) -> None:
        from sslprofiler_core.plates import well_name, well_position

        roles, frame = self._table.roles, self._table.metadata
        if roles.plate is None or roles.well is None:
            return
        plates, wells = frame[roles.plate].astype(str), frame[roles.well].astype(str)
        spelled = {well: well_name(*place) if (place := well_position(well)) else well for well in wells.unique()}
        sites = frame[roles.site].astype(str).str.removesuffix(".0") if roles.site else [""] * len(frame)
        rows: dict[tuple[str, str, str], list[int]] = {}
        for row, (plate, well, number) in enumerate(zip(plates, wells, sites, strict=True)):
            rows.setdefault((plate, spelled[well], number), []).append(row)
        self._rows = rows

    def _take(self, plate: Plate | None, name: str = "") -> None:
        if plate is None:
            self._plates[name] = None
            return
        tile = self._table.info.get("tile")
        if isinstance(tile, int) and tile > 1 and not any(site.tile for site in plate.sites):
            from sslprofiler_core.plates import tile_plate

            plate = tile_plate(plate, tile)
        wells: dict[str, list[Site]] = {}
        for site in plate.sites:
            wells.setdefault(site.well, []).append(site)
        name = name or plate.name
        self._plates[name] = plate
        self._by_well[name] = {well: tuple(sites) for well, sites in wells.items()}


def _are_same(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False
