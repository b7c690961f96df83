"""Simulated Cell Painting plates: files as CPJUMP1's instrument wrote them, cells whose truth is known.

Plates of two cell lines (U2OS-like and A549-like, alternating) share one plate map, as in CPJUMP1: wells in fixed,
scattered places, a quarter of them DMSO, the others twelve compounds in turn. Each compound changes known traits of the
cells (``simulated_cells.COMPOUNDS``), with a strength that varies from well to well and from cell to cell. Around that
stand the nuisances of a screen: gain and background of plate and channel, illumination, staining of the well, the edge
of the plate, and each site's density, focus and debris.

**The phenotypes are fixed.** They were set, and calibrated with intensity means and hand-made image statistics alone,
before any model was trained on them; they must not be adjusted to what a model finds easy or hard.

Every picture is a function of (seed, plate, well, site): more plates, wells or sites leave the others as they were.
(Bit for bit on one machine; libraries and processors differ in the last bits of a transform.)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from sslprofiler_core.errors import UserError
from sslprofiler_core.keys import fold, permutation
from sslprofiler_core.plates.simulated_cells import (
    CELL_LINES,
    COMPOUNDS,
    Compound,
    Population,
    draw_cells,
    draw_population,
    site_traits,
)
from sslprofiler_core.plates.simulated_harmony import harmony_head, harmony_xml
from sslprofiler_core.plates.simulated_optics import CHANNELS, Optics, expose
from sslprofiler_core.plates.simulated_structures import paint
from sslprofiler_core.progress import progress_bar

ROWS, COLUMNS = 16, 24
PLATE_MAP = "simulated_compound_platemap"
# Our choice: one fixed map for all seeds, as one library is plated once.
_MAP_KEY = 20201104
_EXPERIMENT_COLUMNS = (
    "Batch",
    "Plate_Map_Name",
    "Assay_Plate_Barcode",
    "Perturbation",
    "Cell_type",
    "Time",
    "Density",
    "Antibiotics",
    "Cell_line",
    "Time_delay",
    "Times_imaged",
    "Anomaly",
    "Number_of_images",
)
_BLOCK = 16  # 4 wells of DMSO and one of each compound


@dataclass(frozen=True, slots=True)
class _Settings:
    """What decides the pictures; stored beside them in ``simulation.json``."""

    plates: int
    wells: int
    sites: int
    size: int
    seed: int
    # Raise it when the pictures of equal settings change.
    version: int = 1


@dataclass(frozen=True, slots=True)
class MappedWell:
    """A well of the plate map: row and column from 1, and its compound (None: DMSO)."""

    row: int
    column: int
    compound: Compound | None

    @property
    def name(self) -> str:
        """``"D08"``."""
        return f"{chr(64 + self.row)}{self.column:02d}"

    @property
    def at_edge(self) -> bool:
        """Whether the well lies in the plate's outermost ring."""
        return self.row in (1, ROWS) or self.column in (1, COLUMNS)


def plate_map(wells: int) -> tuple[MappedWell, ...]:
    """Lay out a plate: the first ``wells`` of one fixed order of 384 places, in blocks of 4 DMSO and 12 compounds."""
    mapped: list[MappedWell] = []
    for k, place in enumerate(permutation(_MAP_KEY, ROWS * COLUMNS)[:wells]):
        block, turn = divmod(k, _BLOCK)
        row, column = divmod(int(place), COLUMNS)
        compound = None
        if turn % 4:
            order = permutation(fold(_MAP_KEY, "compounds", block), len(COMPOUNDS))
            compound = COMPOUNDS[order[turn - turn // 4 - 1]]
        mapped.append(MappedWell(row + 1, column + 1, compound))
    return tuple(mapped)


def plate_name(index: int) -> str:
    """Name a plate by its place (from 0): ``"SIM00001"`` first."""
    return f"SIM{index + 1:05d}"


def cell_line(index: int) -> str:
    """Alternate the cell lines, so that more plates leave the first ones as they are."""
    return CELL_LINES[index % len(CELL_LINES)]


def _generator(seed: int, *parts: int | str) -> np.random.Generator:
    return np.random.default_rng(int(fold(seed, *parts)) & (2**64 - 1))


@dataclass(frozen=True, slots=True)
class _PlateOptics:
    """A plate's nuisances: gain and empty level a channel (8,), and the illumination's tilt and fall-off (8, 3)."""

    gain_C: NDArray[np.float64]
    background_C: NDArray[np.float64]
    shading_C3: NDArray[np.float64]


def _plate_optics(seed: int, plate: int) -> _PlateOptics:
    rng = _generator(seed, "plate", plate)
    gain = np.concatenate([rng.uniform(0.85, 1.15, 5), rng.uniform(0.985, 1.015, 3)])
    background = np.concatenate([rng.uniform(0.90, 1.10, 5), np.ones(3)])
    strength = np.array([0.06] * 5 + [0.006] * 3)[:, None]
    shading = strength * rng.standard_normal((8, 3)) + np.array([0.0, 0.0, 1.0]) * -strength
    return _PlateOptics(gain, background, shading)


def draw_well(seed: int, plate: int, well: MappedWell) -> tuple[Population, NDArray[np.float64]]:
    """Draw what a well's sites share: its cells-in-common, and its gain a channel (8,)."""
    rng = _generator(seed, "well", plate, well.row, well.column)
    shifts = {"cells": -0.22, "cell_radius": 0.02, "debris": 0.2} if well.at_edge else {}
    population = draw_population(rng, cell_line(plate), well.compound, shifts)
    # Staining differs from well to well by 8 % (a pipette is shared by all stains, the rest is each stain's own).
    gain = np.exp(np.concatenate([0.055 * rng.standard_normal(1) + 0.06 * rng.standard_normal(5), np.zeros(3)]))
    if well.at_edge:
        gain[:5] *= 0.93
    return population, gain


def simulate_site(seed: int, plate: int, well: MappedWell, site: int, size: int) -> NDArray[np.uint16]:
    """Simulate one site.

    Parameters
    ----------
    seed, plate, site
        The simulation's seed, the plate's place from 0, the field's number from 1.
    well
        A well of the plate map.
    size
        Side in pixels of 1.196 um.

    Returns
    -------
    uint16 (8, size, size), ch1 to ch8.
    """
    shared = _plate_optics(seed, plate)
    population, well_gain = draw_well(seed, plate, well)
    rng = _generator(seed, "site", plate, well.row, well.column, site)
    density = float(np.exp(0.12 * rng.standard_normal()))
    focus = 0.62 + 0.22 * abs(float(rng.standard_normal()))
    defocus = 0.8 * float(rng.standard_normal())
    cells = draw_cells(rng, population, size, density)
    axis = np.linspace(-1.0, 1.0, size)
    basis = np.stack(
        [
            np.broadcast_to(axis, (size, size)),
            np.broadcast_to(axis[:, None], (size, size)),
            0.5 * (axis**2 + axis[:, None] ** 2) - 1.0 / 3.0,
        ]
    )
    optics = Optics(
        gain_C=(shared.gain_C * well_gain).astype(np.float32),
        background_C=shared.background_C.astype(np.float32),
        shading_CHW=(1.0 + np.tensordot(shared.shading_C3, basis, 1)).astype(np.float32),
        focus_px=focus,
        defocus_um=defocus,
    )
    stains, phase, uneven = paint(rng, cells, site_traits(population)["debris"], size)
    return expose(rng, optics, stains, phase, uneven)


def _file_name(well: MappedWell, site: int, channel: int) -> str:
    return f"r{well.row:02d}c{well.column:02d}f{site:02d}p01-ch{channel}sk1fk1fl1.tiff"


def _write_site(folder: Path, settings: _Settings, head: str, plate: int, well: MappedWell, site: int) -> None:
    planes = simulate_site(settings.seed, plate, well, site, settings.size)
    for channel, plane in enumerate(planes, 1):
        target = folder / _file_name(well, site, channel)
        partial = target.with_suffix(".partial")
        xml = harmony_xml(head, well.row, well.column, site, channel)
        tifffile.imwrite(
            partial,
            plane,
            compression="lzw",
            rowsperstrip=settings.size,
            photometric="minisblack",
            metadata=None,
            software=False,
            extratags=[(65500, 1, len(xml), xml, True)],
        )
        partial.replace(target)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="")
    partial.replace(path)


def _table(rows: list[list[str]], separator: str) -> str:
    return "".join(separator.join(row) + "\n" for row in rows)


def _write_metadata(folder: Path, settings: _Settings) -> None:
    """Write the four files of CPJUMP1's metadata, in its columns."""
    folder.mkdir(parents=True, exist_ok=True)
    wells = sorted(plate_map(settings.wells), key=lambda well: well.name)
    names = [plate_name(index) for index in range(settings.plates)]
    layout = [["well_position", "broad_sample", "solvent"]]
    layout += [[well.name, well.compound.broad_sample if well.compound else "", "DMSO"] for well in wells]
    _write_text(folder / f"{PLATE_MAP}.txt", _table(layout, "\t"))

    columns = ["broad_sample", "InChIKey", "pert_iname", "pubchem_cid", "gene", "pert_type", "control_type", "smiles"]
    compounds = [columns, ["", "", "DMSO", "", "", "control", "negcon", ""]]
    compounds += [[each.broad_sample, "", each.name, "", "", "trt", "", ""] for each in COMPOUNDS]
    _write_text(folder / "simulated_compound_metadata.tsv", _table(compounds, "\t"))

    barcodes = [["Assay_Plate_Barcode", "Plate_Map_Name"]] + [[name, PLATE_MAP] for name in names]
    _write_text(folder / "barcode_platemap.csv", _table(barcodes, ","))

    images = str(settings.wells * settings.sites * len(CHANNELS))
    experiment = [list(_EXPERIMENT_COLUMNS)]
    for index, name in enumerate(names):
        row = [f"simulated_seed{settings.seed}", PLATE_MAP, name, "compound", cell_line(index), "48", "100", "absent"]
        experiment.append([*row, "Parental", "Day0", "1", "none", images])
    _write_text(folder / "experiment-metadata.tsv", _table(experiment, "\t"))


def _check(settings: _Settings) -> None:
    limits = (("plates", 1, 99_999), ("wells", 1, ROWS * COLUMNS), ("sites", 1, 99), ("size", 64, 8192))
    for name, low, high in limits:
        value = getattr(settings, name)
        if not low <= value <= high:
            raise UserError(f"{name} is {value}. Give a whole number from {low} to {high}.")
    if not -(2**63) <= settings.seed < 2**63:
        raise UserError(f"seed is {settings.seed}. Give a whole number of at most 63 bits.")


def _claim(out: Path, settings: _Settings) -> None:
    """Make the folder this simulation's, or refuse when it is another's."""
    note = out / "simulation.json"
    wanted = asdict(settings)
    try:
        if note.is_file():
            found = json.loads(note.read_text(encoding="utf-8"))
            if found != wanted:
                raise UserError(
                    f"{out} holds a simulation with other settings ({note.name}: {found}). Choose an empty folder."
                )
        elif (out / "images").exists():
            raise UserError(f"{out} has images that this simulation did not write. Choose an empty folder.")
        else:
            out.mkdir(parents=True, exist_ok=True)
            _write_text(note, json.dumps(wanted, indent=2) + "\n")
        for index in range(settings.plates):
            (out / "images" / plate_name(index)).mkdir(parents=True, exist_ok=True)
    except ValueError as error:
        raise UserError(f"{note} is not readable. Delete {out}, or choose an empty folder.") from error
    except OSError as error:
        raise UserError(
            f"{out} cannot be written: {error.strerror or error}. Choose a folder that you may write to."
        ) from error


def _missing(out: Path, settings: _Settings) -> Iterator[tuple[Path, int, MappedWell, int]]:
    wells = plate_map(settings.wells)
    for index in range(settings.plates):
        folder = out / "images" / plate_name(index)
        there = {entry.name for entry in os.scandir(folder)}
        for well in wells:
            for site in range(1, settings.sites + 1):
                if any(_file_name(well, site, ch) not in there for ch in range(1, len(CHANNELS) + 1)):
                    yield folder, index, well, site


def simulate_plates(
    out: Path, *, plates: int = 4, wells: int = 48, sites: int = 4, size: int = 128, seed: int = 0
) -> Path:
    """Write simulated Cell Painting plates in CPJUMP1's file formats.

    Parameters
    ----------
    out
        Folder to write: ``images/<plate>/*.tiff`` (uint16, LZW, one channel a file), ``metadata/`` and
        ``simulation.json`` with these settings. A simulation that was interrupted goes on where it stopped.
    plates
        Number of plates: U2OS-like and A549-like in turn.
    wells
        Wells a plate, at most 384: a quarter DMSO, the others twelve compounds in turn.
    sites
        Sites a well, at most 99.
    size
        Side of a site in pixels of 1.196 um (twice CPJUMP1's): a larger site shows more cells, not larger ones.
    seed
        Seed of everything that is random.

    Returns
    -------
    ``out``.

    Raises
    ------
    UserError
        When a number is out of its range, ``out`` cannot be written, or it holds something else.
    """
    out = Path(out)
    settings = _Settings(plates, wells, sites, size, seed)
    _check(settings)
    _claim(out, settings)
    try:
        _write_metadata(out / "metadata", settings)
        _write_images(out, settings)
    except OSError as error:
        raise UserError(
            f"{out} cannot be written: {error.strerror or error}. Free some space, and simulate again."
        ) from error
    return out


def _write_images(out: Path, settings: _Settings) -> None:
    work = list(_missing(out, settings))
    if not work:
        return
    head = harmony_head(CHANNELS, settings.sites, settings.size)
    total = settings.plates * settings.wells * settings.sites
    # Threads, not processes: a script without a main guard could not start processes, and numpy releases the lock.
    with (
        progress_bar(total, "simulate", "site", initial=total - len(work)) as bar,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        for _ in pool.map(lambda item: _write_site(item[0], settings, head, *item[1:]), work):
            bar.update()
