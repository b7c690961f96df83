"""What simulated cells consist of: outlines, nuclei, and each organelle as a picture before any lens.

Every pixel belongs to one cell or to none, and takes that cell's traits; textures are band-passed noise, small things
are lists of soft discs. The order of random draws is part of the simulation: changing it changes every picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from sslprofiler_core.plates.simulated_cells import Cells

Floats = NDArray[np.float32]
Whole = NDArray[np.intp]

# Traits that vary over the picture; the others are spent on lists of discs.
_PIXEL_TRAITS = (
    "cell_radius",
    "height",
    "nucleus_radius",
    "nucleus_aspect",
    "chromatin",
    "dna",
    "rna",
    "er",
    "er_reach",
    "er_grain",
    "mito",
    "mito_reach",
    "mito_puncta",
    "agp",
    "edge",
    "fibres",
)


@dataclass(frozen=True, slots=True)
class _Textures:
    """Independent unit-variance fields (H, W)."""

    warp_x: Floats  # 5 px: bends outlines
    warp_y: Floats
    network: Floats  # band of 6.5 px: mitochondria and reticulum
    network2: Floats
    grain: Floats  # 1 px: chromatin, granularity
    grain2: Floats
    patches: Floats  # 3 px: unevenness
    patches2: Floats


@dataclass(frozen=True, slots=True)
class _Scene:
    """Where everything is: maps (H, W) that the stains share."""

    traits: dict[str, Floats]  # each pixel's owner's
    depth: Floats  # 1 at the owner's centre, 0 at its outline
    edge_px: Floats  # distance to the outline, in pixels, positive inside
    inside_px: Floats  # distance to the nucleus's outline, in pixels, positive inside
    body: Floats
    nucleus: Floats
    cytoplasm: Floats
    along: tuple[Floats, Floats]  # unit vector of the owner's long axis (x, y)
    turn: Floats  # a phase of the owner's own
    nucleoli: Floats
    holes: Floats
    granules: Floats
    golgi: Floats


def paint(rng: np.random.Generator, cells: Cells, debris: float, size: int) -> tuple[Floats, Floats, Floats]:
    """Paint one site's cells.

    Parameters
    ----------
    rng
        The site's generator.
    cells
        Its cells.
    debris
        Expected number of dead cells in 128 x 128 px.
    size
        Side in pixels.

    Returns
    -------
    Stains (5, size, size) of Mito, AGP, RNA, ER and DNA; phase (size, size); and the unevenness (size, size) of
    plate bottom and medium.
    """
    textures = _draw_textures(rng, size)
    scene = _draw_scene(rng, cells, textures, size)
    fibres = _fibres(scene, textures)
    stains = np.stack(
        [
            _mito(scene, textures),
            _agp(scene, textures, fibres),
            _rna(scene, textures),
            _er(scene, textures),
            _dna(scene, textures),
        ]
    ).astype(np.float32)
    phase = _phase(scene, textures, fibres).astype(np.float32)
    _add_debris(rng, debris, stains, phase, size)
    # Shifted, so that it has nothing to do with the cells painted from the same fields.
    uneven = np.roll(0.6 * textures.grain + textures.patches, (size // 2, size // 3), (0, 1))
    return stains, phase, uneven


@lru_cache(maxsize=32)
def _noise_filters(size: int) -> tuple[int, Floats]:
    """The transform's side, and Fourier filters (4, side, side) scaled to unit variance."""
    fast = int(fft.next_fast_len(size))
    axis = np.fft.fftfreq(fast).astype(np.float32)
    f = np.asarray(np.hypot(axis[:, None], axis[None, :]), np.float32)
    shapes = np.stack(
        [
            np.exp(-2.0 * (np.pi * f * 5.0) ** 2),
            np.exp(-(((f - 0.155) / 0.045) ** 2)),
            np.exp(-2.0 * (np.pi * f * 1.15) ** 2) * (f > 0.03),
            np.exp(-2.0 * (np.pi * f * 3.2) ** 2),
        ]
    )
    power = np.sqrt((shapes**2).sum((1, 2), keepdims=True)) / (fast * fast)
    return fast, np.asarray(shapes / power, np.float32)


def _draw_textures(rng: np.random.Generator, size: int) -> _Textures:
    """Draw two fields of each kind: the real and the imaginary part of one transform are independent."""
    fast, filters = _noise_filters(size)
    white = rng.standard_normal((2, 4, fast, fast), np.float32)
    spectrum = np.empty((4, fast, fast), np.complex64)
    spectrum.real, spectrum.imag = white
    fields = fft.ifft2(spectrum * filters, overwrite_x=True)[:, :size, :size]
    pairs = [part for field in fields for part in (field.real, field.imag)]
    return _Textures(*(np.ascontiguousarray(part) for part in pairs))


def _outline(cells: Cells, textures: _Textures, phases: Floats) -> tuple[Whole, Floats]:
    """Give each pixel to the cell that it is deepest in.

    Returns
    -------
    The owner (H, W), ``len(cells)`` where there is none, and the depth (H, W): 1 at the owner's centre, 0 at its
    outline, negative outside.
    """
    size = textures.warp_x.shape[0]
    grid = np.arange(size, dtype=np.float32)
    x, y = grid[None, :] + 1.8 * textures.warp_x, grid[:, None] + 1.8 * textures.warp_y
    owner = np.full((size, size), len(cells), np.intp)
    depth = np.full((size, size), -1.0, np.float32)
    claim = depth.copy()
    t = cells.traits
    stretch = np.sqrt(t["cell_aspect"])
    ruffle = np.minimum(t["protrusion"], 0.45)
    weights = np.array([0.55, 1.0, 0.7, 0.35], np.float32)
    reach = 1.1 * t["cell_radius"] * np.exp(2.4 * ruffle) * stretch + 5.0
    for i in range(len(cells)):
        cx, cy, half = cells.x[i], cells.y[i], reach[i]
        left, right = max(0, int(cx - half)), min(size, int(cx + half) + 2)
        top, bottom = max(0, int(cy - half)), min(size, int(cy + half) + 2)
        if left >= right or top >= bottom:
            continue
        window = np.s_[top:bottom, left:right]
        dx, dy = x[window] - cx, y[window] - cy
        c, s = np.cos(cells.angle[i]), np.sin(cells.angle[i])
        u, v = (dx * c + dy * s) / stretch[i], (dy * c - dx * s) * stretch[i]
        d = np.sqrt(u * u + v * v) + np.float32(1e-3)
        # The log radius is a sum of waves of order 2 to 5 in the angle: powers of the unit vector, no arctangent.
        z = (u + 1j * v) / d
        z2 = z * z
        waves = weights * ruffle[i] * np.exp(1j * phases[i])
        outline = (z2 * (waves[0] + z * waves[1] + z2 * (waves[2] + z * waves[3]))).real
        here = 1.0 - d / (t["cell_radius"][i] * np.exp(outline))
        # A nucleus is never covered by a neighbour's rim.
        bid = here + 0.6 * (dx * dx + dy * dy < (1.35 * t["nucleus_radius"][i]) ** 2)
        wins = bid > claim[window]
        claim[window][wins] = bid[wins]
        depth[window][wins] = here[wins]
        owner[window][wins] = i
    owner[depth <= -0.15] = len(cells)
    return owner, depth


def _draw_scene(rng: np.random.Generator, cells: Cells, textures: _Textures, size: int) -> _Scene:
    """Place outlines, nuclei, and the small things."""
    n, t = len(cells), cells.traits
    phases = rng.uniform(0, 2 * np.pi, (n, 4)).astype(np.float32)
    owner, depth = _outline(cells, textures, phases)

    def spread(values: Floats, outside: float) -> Floats:
        return np.asarray(np.append(values, np.float32(outside))[owner])

    pixel = {name: spread(t[name], 1.0) for name in _PIXEL_TRAITS}
    edge_px = depth * pixel["cell_radius"]
    body = np.clip(edge_px / 2.0 + 0.35, 0.0, 1.0)
    body[owner == n] = 0.0

    shift = rng.normal(0.0, 1.5, (2, n)).astype(np.float32)
    turn = cells.angle + rng.normal(0.0, 0.35, n).astype(np.float32)
    nucleus_x, nucleus_y = cells.x + shift[0], cells.y + shift[1]
    grid = np.arange(size, dtype=np.float32)
    dx = grid[None, :] + 0.5 * textures.warp_x - spread(nucleus_x, -99.0)
    dy = grid[:, None] + 0.5 * textures.warp_y - spread(nucleus_y, -99.0)
    c, s = spread(np.cos(turn), 1.0), spread(np.sin(turn), 0.0)
    stretch = np.sqrt(pixel["nucleus_aspect"])
    u, v = (dx * c + dy * s) / stretch, (dy * c - dx * s) * stretch
    inside_px = pixel["nucleus_radius"] - np.sqrt(u * u + v * v)
    nucleus = np.clip(inside_px + 0.5, 0.0, 1.0) * body
    cytoplasm = body * (1.0 - nucleus)

    which = np.repeat(np.arange(n), 1 + rng.poisson(np.maximum(t["nucleoli"] - 1.0, 0.05)))
    angle = rng.uniform(0, 2 * np.pi, len(which)).astype(np.float32)
    reach = 0.62 * t["nucleus_radius"][which] * np.sqrt(rng.random(len(which), np.float32))
    radius = t["nucleolus_radius"][which] * np.exp(0.18 * rng.standard_normal(len(which), np.float32))
    x, y = nucleus_x[which] + reach * np.cos(angle), nucleus_y[which] + reach * np.sin(angle)
    nucleoli = np.minimum(_discs(size, x, y, radius * 1.25, np.ones_like(radius)), 1.0) * nucleus

    x, y = _around(rng, cells, t["vacuoles"], 0.05, 0.85)
    radius = np.exp(0.22 * rng.standard_normal(len(x), np.float32)) * 2.3
    holes = np.minimum(_discs(size, x, y, radius, np.ones_like(radius)), 1.0) * cytoplasm

    x, y = _around(rng, cells, t["granules"], 0.0, 0.55)
    amount = rng.uniform(0.4, 1.0, len(x)).astype(np.float32)
    granules = _discs(size, x, y, np.ones_like(amount), amount) * body
    return _Scene(
        traits=pixel,
        depth=depth,
        edge_px=edge_px,
        inside_px=inside_px,
        body=body,
        nucleus=nucleus,
        cytoplasm=cytoplasm,
        along=(spread(np.cos(cells.angle), 1.0), spread(np.sin(cells.angle), 0.0)),
        turn=spread(phases[:, 0], 0.0),
        nucleoli=nucleoli,
        holes=holes,
        granules=granules,
        golgi=_golgi(rng, cells, nucleus_x, nucleus_y, size) * cytoplasm,
    )


def _discs(size: int, x: Floats, y: Floats, radius: Floats, amount: Floats) -> Floats:
    """Add soft discs: ``amount * exp(-(d / radius)^4)`` at each (x, y); returns (size, size)."""
    canvas = np.zeros(size * size, np.float64)
    if len(x):
        half = int(np.ceil(1.5 * float(radius.max())))
        steps = np.arange(-half, half + 1)
        column = np.floor(x).astype(np.intp)[:, None] + steps
        row = np.floor(y).astype(np.intp)[:, None] + steps
        d2 = ((row - y[:, None]) ** 2)[:, :, None] + ((column - x[:, None]) ** 2)[:, None, :]
        value = amount[:, None, None] * np.exp(-((d2 / (radius**2)[:, None, None]) ** 2))
        inside = ((row >= 0) & (row < size))[:, :, None] & ((column >= 0) & (column < size))[:, None, :]
        place = row[:, :, None] * size + column[:, None, :]
        canvas += np.bincount(place[inside], weights=value[inside], minlength=size * size)
    return canvas.reshape(size, size).astype(np.float32)


def _around(rng: np.random.Generator, cells: Cells, per_cell: Floats, near: float, far: float) -> tuple[Floats, Floats]:
    """Scatter places (x, y) in the cytoplasm, between ``near`` and ``far`` of the way from nucleus to outline."""
    which = np.repeat(np.arange(len(cells)), rng.poisson(per_cell))
    n, t = len(which), cells.traits
    turn = rng.uniform(0, 2 * np.pi, n).astype(np.float32)
    stretch = np.sqrt(t["cell_aspect"][which])
    inner, outer = 1.15 * t["nucleus_radius"][which], 0.85 * t["cell_radius"][which]
    distance = inner + np.maximum(outer - inner, 0.5) * rng.uniform(near, far, n).astype(np.float32)
    u, v = distance * np.cos(turn) * stretch, distance * np.sin(turn) / stretch
    c, s = np.cos(cells.angle[which]), np.sin(cells.angle[which])
    return cells.x[which] + u * c - v * s, cells.y[which] + u * s + v * c


def _golgi(rng: np.random.Generator, cells: Cells, nucleus_x: Floats, nucleus_y: Floats, size: int) -> Floats:
    """Draw ten pieces a cell: beside the nucleus on one side, or, scattered, smaller and all around it."""
    n, pieces = len(cells), 10
    t = cells.traits
    scatter = t["golgi_scatter"][:, None]
    side = rng.uniform(0, 2 * np.pi, (n, 1)).astype(np.float32)
    bend = rng.standard_normal((n, pieces), np.float32) * 0.30
    anywhere = rng.uniform(-np.pi, np.pi, (n, pieces)).astype(np.float32)
    angle = side + np.where(rng.random((n, pieces), np.float32) < scatter, anywhere, bend)
    distance = t["nucleus_radius"][:, None] * (1.12 + (0.10 + 0.55 * scatter) * rng.random((n, pieces), np.float32))
    radius = (1.55 - 0.35 * scatter) * np.exp(0.15 * rng.standard_normal((n, pieces), np.float32))
    amount = t["golgi"][:, None] * (0.42 + 0.28 * scatter) * np.ones((1, pieces), np.float32)
    x = nucleus_x[:, None] + distance * np.cos(angle)
    y = nucleus_y[:, None] + distance * np.sin(angle)
    return _discs(size, x.ravel(), y.ravel(), radius.ravel(), amount.ravel())


def _filled(scene: _Scene) -> Floats:
    """What vacuoles leave of the cytoplasm's stains."""
    return 1.0 - 0.85 * scene.holes


def _near_nucleus(scene: _Scene, reach: Floats | float) -> Floats:
    """Decay from 1 at the nuclear envelope, with a length of ``reach`` pixels."""
    return np.asarray(np.exp(-np.maximum(-scene.inside_px, 0.0) / reach))


def _fibres(scene: _Scene, textures: _Textures) -> Floats:
    """Draw stress fibres along each cell's long axis, bundled by a slow field."""
    grid = np.arange(len(scene.body), dtype=np.float32)
    along_x, along_y = scene.along
    across = (grid[:, None] * along_x - grid[None, :] * along_y) + 2.2 * textures.warp_x
    fibres = np.clip(np.sin(across * 1.45 + scene.turn), 0.0, 1.0) ** 2
    return np.asarray(fibres * np.clip(0.6 + 0.6 * textures.patches2, 0.0, 2.0))


def _puncta(textures: _Textures) -> Floats:
    return np.asarray(np.clip(textures.network2 - 0.75, 0.0, 1.6))


def _mito(scene: _Scene, textures: _Textures) -> Floats:
    """Filaments lie where a band-passed field crosses zero, puncta on another's peaks; both have mean 0.7."""
    t = scene.traits
    filaments = 2.6 * np.exp(-((textures.network / 0.42) ** 2))
    pattern = filaments + t["mito_puncta"] * (5.2 * _puncta(textures) - filaments)
    around = scene.cytoplasm * _filled(scene) * _near_nucleus(scene, t["mito_reach"]) * (0.35 + 0.65 * pattern)
    return np.asarray(t["mito"] * around + t["mito"] * 0.18 * scene.nucleus)


def _agp(scene: _Scene, textures: _Textures, fibres: Floats) -> Floats:
    """Actin (cortex and fibres) and Golgi, over a faint body."""
    t = scene.traits
    thick = np.sqrt(np.clip(scene.depth, 0.0, 1.0))
    cortex = np.exp(-(((scene.edge_px - 1.2) / 1.6) ** 2))
    actin = 0.22 + 0.20 * thick + 0.16 * scene.nucleus + 0.45 * t["edge"] * cortex
    actin = actin + 0.42 * t["fibres"] * fibres * (1 - 0.5 * scene.nucleus) + 0.05 * textures.grain2
    return np.asarray(t["agp"] * scene.body * _filled(scene) * actin + 0.95 * scene.golgi * t["agp"])


def _rna(scene: _Scene, textures: _Textures) -> Floats:
    """Nucleoli, and ribosomes in the cytoplasm."""
    uneven = 1.0 + 0.10 * textures.grain2 + 0.12 * textures.patches
    cytosol = scene.cytoplasm * _filled(scene) * (0.12 + 0.6 * _near_nucleus(scene, 7.0)) * uneven
    nucleus = 0.42 * scene.nucleus * (1.0 + 0.10 * textures.grain)
    return np.asarray(scene.traits["rna"] * (cytosol + nucleus + 0.75 * scene.nucleoli))


def _er(scene: _Scene, textures: _Textures) -> Floats:
    """A reticulum that thins out from the nuclear envelope."""
    t = scene.traits
    reticulum = np.clip(1.0 + t["er_grain"] * (0.8 * textures.grain + 0.9 * textures.network), 0.1, None)
    rim = np.exp(-((scene.inside_px / 1.3) ** 2)) * scene.body
    around = _filled(scene) * scene.cytoplasm * (0.16 + 0.9 * _near_nucleus(scene, t["er_reach"])) * reticulum
    nucleus = 0.42 * scene.nucleus * (1.0 + 0.08 * textures.grain)
    return np.asarray(t["er"] * (around + nucleus + 0.10 * rim))


def _dna(scene: _Scene, textures: _Textures) -> Floats:
    """Chromatin, with the nucleoli as holes."""
    t = scene.traits
    chromatin = np.clip(1.0 + t["chromatin"] * (1.2 * textures.grain2 + 0.3 * textures.patches), 0.15, None)
    dome = 0.75 + 0.25 * np.clip(scene.inside_px / 4, 0, 1)
    nucleus = scene.nucleus * chromatin * (1.0 - 0.40 * scene.nucleoli) * dome
    return np.asarray(t["dna"] * (nucleus + 0.012 * scene.cytoplasm))


def _phase(scene: _Scene, textures: _Textures, fibres: Floats) -> Floats:
    """What retards light: the body, the nucleus, nucleoli and granules; vacuoles are watery."""
    t = scene.traits
    body = np.clip(scene.depth, 0.0, 1.0) ** 0.7 * scene.body
    nucleus = 0.55 * np.clip(scene.inside_px / 3.0 + 0.3, 0, 1) * scene.nucleus
    grain = 0.10 * scene.cytoplasm * textures.grain + 0.10 * t["fibres"] * fibres * scene.cytoplasm
    phase = t["height"] * (body + nucleus + grain)
    phase = phase + 0.55 * scene.nucleoli + 0.85 * scene.granules - 0.95 * scene.holes
    return np.asarray(phase + 0.25 * (t["mito_puncta"] * _puncta(textures) * scene.cytoplasm))


def _add_debris(rng: np.random.Generator, debris: float, stains: Floats, phase: Floats, size: int) -> None:
    """Add dead cells: clumps of a few round pieces that take every stain."""
    count = int(rng.poisson(debris * (size / 128.0) ** 2))
    if count == 0:
        return
    pieces = 4
    place = np.repeat(rng.uniform(0, size, (2, count)), pieces, axis=1) + rng.normal(0, 2.2, (2, count * pieces))
    radius = rng.uniform(1.6, 3.6, count * pieces).astype(np.float32)
    bright = np.repeat(rng.uniform(0.5, 1.6, count), pieces).astype(np.float32)
    clump = _discs(size, place[0].astype(np.float32), place[1].astype(np.float32), radius, bright)
    stains += clump * np.array([0.8, 1.3, 1.2, 1.2, 0.9], np.float32)[:, None, None]
    phase += 1.6 * clump
