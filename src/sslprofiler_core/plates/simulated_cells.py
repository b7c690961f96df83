"""What simulated cells are: two cell lines, twelve compounds, and the traits of every cell of a site.

A trait is a number a cell. It is drawn in a latent space (log for sizes, gains and counts, logit for fractions) as
cell line + compound effect x response + well + cell, so effects multiply and fractions stay within (0, 1). The
response varies from well to well and from cell to cell, so that the wells of two compounds overlap somewhat.

The compounds are fixed: they were set from hand-made image statistics before any model was trained on them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# Lengths are in pixels of 1.196 um: cells are scaled to a fixed pixel, and a larger site shows more of them.
PIXEL_SIZE_UM = 0.0000065 * 4 / (20 * 1.087) * 1e6
CELL_LINES = ("U2OS", "A549")

# trait: (link, U2OS, A549, cell-to-cell SD, well-to-well SD); SDs are in the latent space.
_TRAITS: dict[str, tuple[str, float, float, float, float]] = {
    "cells": ("log", 9.0, 11.0, 0.0, 0.09),  # in 128 x 128 px
    "debris": ("log", 0.25, 0.20, 0.0, 0.30),  # in 128 x 128 px
    "clumping": ("logit", 0.25, 0.60, 0.0, 0.15),  # share of cells that settle beside another
    "cell_radius": ("log", 18.0, 14.8, 0.12, 0.03),
    "cell_aspect": ("log", 1.65, 1.25, 0.20, 0.05),
    "protrusion": ("log", 0.24, 0.13, 0.30, 0.08),  # amplitude of the outline's log radius
    "height": ("log", 1.00, 1.15, 0.12, 0.04),
    "nucleus_radius": ("log", 8.5, 7.5, 0.08, 0.02),
    "nucleus_aspect": ("log", 1.32, 1.20, 0.09, 0.02),
    "chromatin": ("log", 0.12, 0.10, 0.20, 0.06),
    "nucleoli": ("log", 2.6, 2.0, 0.25, 0.05),
    "nucleolus_radius": ("log", 1.35, 1.25, 0.12, 0.03),
    "dna": ("log", 1.0, 1.1, 0.14, 0.0),
    "rna": ("log", 1.0, 1.1, 0.18, 0.0),
    "er": ("log", 1.0, 0.85, 0.18, 0.0),
    "er_reach": ("log", 5.0, 4.2, 0.15, 0.05),  # decay length from the nuclear envelope
    "er_grain": ("log", 0.20, 0.16, 0.20, 0.05),
    "mito": ("log", 1.0, 1.15, 0.22, 0.0),
    "mito_reach": ("log", 9.0, 7.0, 0.15, 0.05),
    "mito_puncta": ("logit", 0.12, 0.20, 0.50, 0.20),  # 0: a network of filaments, 1: puncta
    "agp": ("log", 1.0, 1.0, 0.18, 0.0),
    "edge": ("log", 0.55, 0.90, 0.25, 0.06),
    "fibres": ("log", 0.35, 0.18, 0.35, 0.10),
    "golgi": ("log", 1.0, 0.85, 0.20, 0.05),
    "golgi_scatter": ("logit", 0.12, 0.15, 0.50, 0.20),  # 0: one ribbon beside the nucleus, 1: all around it
    "granules": ("log", 7.0, 5.0, 0.25, 0.08),
    "vacuoles": ("log", 0.25, 0.20, 0.40, 0.15),
}
TRAITS = tuple(_TRAITS)
_LOGIT = np.array([_TRAITS[name][0] == "logit" for name in TRAITS])


@dataclass(frozen=True, slots=True)
class Compound:
    """One simulated compound: its name, its identifier, and its effects on the traits' latent means."""

    name: str
    broad_sample: str
    effects: dict[str, float]


def _compounds() -> tuple[Compound, ...]:
    effects: dict[str, dict[str, float]] = {
        "sim-mito-dimmed": {"mito": -0.22, "mito_reach": -0.50, "granules": -0.40},
        "sim-mito-fragmented": {"mito_puncta": 3.4, "mito_reach": 0.10, "granules": 0.20},
        "sim-er-expanded": {"er": 0.06, "er_reach": 0.55, "er_grain": 0.60, "rna": 0.05, "height": 0.10},
        "sim-nuclei-enlarged": {"nucleus_radius": 0.24, "cell_radius": 0.08, "cells": -0.15, "nucleoli": 0.35},
        "sim-cells-shrunken": {"cell_radius": -0.26, "protrusion": 0.35, "height": 0.25, "granules": 0.15},
        "sim-toxic-rounded": {
            "cells": -0.50,
            "debris": 1.1,
            "cell_aspect": -0.25,
            "protrusion": -0.70,
            "height": 0.30,
            "clumping": -1.0,
            "cell_radius": -0.06,
        },
        "sim-cells-elongated": {"cell_aspect": 0.60, "nucleus_aspect": 0.24, "protrusion": 0.15, "fibres": 0.25},
        "sim-chromatin-condensed": {"chromatin": 1.40, "nucleus_radius": -0.06, "nucleoli": -0.50, "dna": 0.06},
        "sim-actin-fibres": {"fibres": 1.6, "edge": -0.20, "cell_radius": 0.08, "height": -0.15},
        "sim-golgi-dispersed": {"golgi_scatter": 4.2, "golgi": 0.10, "granules": 0.50},
        "sim-vacuoles": {"vacuoles": 2.7, "cell_radius": 0.05, "height": 0.05, "er_grain": 0.15},
        "sim-nucleoli-enlarged": {"nucleolus_radius": 0.75, "nucleoli": -0.45, "rna": -0.06, "nucleus_radius": 0.05},
    }
    return tuple(Compound(name, f"SIM-{n:04d}", traits) for n, (name, traits) in enumerate(effects.items(), 1))


COMPOUNDS = _compounds()


@dataclass(frozen=True, slots=True)
class Population:
    """What the cells of one well share: traits' latent means, and how strongly and evenly they respond."""

    means: Floats
    effects: Floats
    response: float


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of one site: traits ``(N,)`` each, places in pixels, and orientations in radians."""

    traits: dict[str, Floats]
    x: Floats
    y: Floats
    angle: Floats

    def __len__(self) -> int:
        return len(self.x)


def draw_population(
    rng: np.random.Generator, cell_line: str, compound: Compound | None, shifts: dict[str, float]
) -> Population:
    """Draw one well's cells-in-common.

    Parameters
    ----------
    rng
        The well's generator.
    cell_line
        ``"U2OS"`` or ``"A549"``.
    compound
        None for DMSO.
    shifts
        Shifts of latent means that are no phenotype: an edge well's density, for example.
    """
    column = 1 + CELL_LINES.index(cell_line)
    base = np.array([float(_TRAITS[name][column]) for name in TRAITS])
    means = np.where(_LOGIT, np.log(base / np.where(_LOGIT, 1.0 - base, 1.0)), np.log(base))
    means += np.array([_TRAITS[name][4] for name in TRAITS]) * rng.standard_normal(len(TRAITS))
    means += np.array([shifts.get(name, 0.0) for name in TRAITS])
    known = compound.effects if compound is not None else {}
    effects = np.array([known.get(name, 0.0) for name in TRAITS])
    response = max(0.35, 1.0 + 0.20 * float(rng.standard_normal()))
    return Population(means.astype(np.float32), effects.astype(np.float32), response)


def _natural(latent: Floats) -> Floats:
    return np.where(_LOGIT, 1.0 / (1.0 + np.exp(-latent)), np.exp(latent)).astype(np.float32)


def site_traits(population: Population) -> dict[str, float]:
    """Return the traits that a site has as a whole (cells, debris, clumping) at the well's mean response."""
    values = _natural(population.means + population.effects * np.float32(population.response))
    return {name: float(values[TRAITS.index(name)]) for name in ("cells", "debris", "clumping")}


def draw_cells(rng: np.random.Generator, population: Population, size: int, density: float) -> Cells:
    """Draw the cells of one site.

    Cells settle one by one, never nearer to each other than about two nuclear radii; some settle beside a cell
    that is there already. They also settle outside the site's border, from where they reach into it.

    Parameters
    ----------
    rng
        The site's generator.
    population
        The well's.
    size
        Side of the site in pixels.
    density
        The site's own factor on the number of cells.
    """
    margin = 20.0
    shared = site_traits(population)
    side = size + 2.0 * margin
    wanted = shared["cells"] * density * (side / 128.0) ** 2
    count = int(wanted + rng.random())
    x, y = _settle(rng, count, side, shared["clumping"], population)
    count = len(x)

    spread = np.array([_TRAITS[name][3] for name in TRAITS], np.float32)
    response = population.response * np.maximum(0.0, 1.0 + 0.40 * rng.standard_normal((count, 1), np.float32))
    noise = rng.standard_normal((count, len(TRAITS)), np.float32)
    values = _natural(population.means + population.effects * response + spread * noise)
    traits = {name: values[:, column] for column, name in enumerate(TRAITS)}
    traits["cell_aspect"] = np.clip(traits["cell_aspect"], 1.0, 4.0)
    traits["nucleus_aspect"] = np.clip(traits["nucleus_aspect"], 1.0, 2.2)
    # A nucleus fits into its cell.
    traits["cell_radius"] = np.maximum(traits["cell_radius"], 1.3 * traits["nucleus_radius"])
    angle = rng.uniform(0.0, np.pi, count).astype(np.float32)
    return Cells(traits, (x - margin).astype(np.float32), (y - margin).astype(np.float32), angle)


def _settle(
    rng: np.random.Generator, count: int, side: float, clumping: float, population: Population
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nucleus = float(
        _natural(population.means + population.effects * population.response)[TRAITS.index("nucleus_radius")]
    )
    nearest = 2.4 * nucleus
    tries = 12
    draws = rng.random((count, tries, 4))
    x, y = np.empty(count), np.empty(count)
    settled = 0
    for attempt in draws:
        for place_x, place_y, beside, far in attempt:
            here_x, here_y = place_x * side, place_y * side
            if settled and beside < clumping:
                other = int(place_x * settled)
                turn, reach = 2.0 * np.pi * place_y, nearest * (1.02 + 0.35 * far)
                here_x = (x[other] + reach * np.cos(turn)) % side
                here_y = (y[other] + reach * np.sin(turn)) % side
            gap = (x[:settled] - here_x) ** 2 + (y[:settled] - here_y) ** 2
            if not settled or gap.min() > nearest**2:
                x[settled], y[settled] = here_x, here_y
                settled += 1
                break
    return x[:settled], y[:settled]
