"""How simulated cells look under the microscope: stains, blur, camera, and brightfield at three heights.

Fluorescence is the product of simple pictures of each structure (nucleus, reticulum, network, fibres, blobs), blurred
by the site's focus. Brightfield is a weak phase object: defocus by ``z`` multiplies the phase's spectrum by
``-2 sin(pi lambda z f^2)`` (the contrast transfer function), so rims turn from bright to dark with the sign of ``z``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, uniform_filter

from sslprofiler_core.plates.simulated_cells import PIXEL_SIZE_UM, Cells

Floats = NDArray[np.float32]

# ch1 to ch8, as CPJUMP1 has them.
CHANNELS = ("Mito", "AGP", "RNA", "ER", "DNA", "Brightfield high", "Brightfield low", "Brightfield")
# Grey levels: what an empty site shows, and what a stain at 1.0 adds (read off the real plates).
BACKGROUND = np.array([760, 470, 420, 330, 430, 20500, 20500, 20500], np.float32)
STAIN = np.array([1500, 3000, 5200, 4300, 10500], np.float32)
_DEFOCUS_UM = (7.0, -4.5, -0.8)
_WAVELENGTH_UM = 0.74


@dataclass(frozen=True, slots=True)
class Optics:
    """What a site's picture owes to plate, well and site instead of its cells.

    ``gain_C`` and ``background_C`` (8,) multiply the stain (for brightfield the lamp) and the empty level;
    ``shading_CHW`` is the illumination; ``focus_px`` the blur's SD; ``defocus_um`` shifts the brightfield heights.
    """

    gain_C: Floats
    background_C: Floats
    shading_CHW: Floats
    focus_px: float
    defocus_um: float
    debris: float


@lru_cache(maxsize=8)
def _frequencies(size: int) -> tuple[int, Floats]:
    fast = int(fft.next_fast_len(size))
    axis = np.fft.fftfreq(fast).astype(np.float32)
    return fast, np.asarray(np.hypot(axis[:, None], axis[None, :]), np.float32)


@lru_cache(maxsize=32)
def _noise_filters(size: int) -> Floats:
    """Fourier filters of the textures, each scaled to unit variance: warp, network, grain, patches."""
    fast, f = _frequencies(size)
    shapes = np.stack(
        [
            np.exp(-2.0 * (np.pi * f * 5.0) ** 2),
            np.exp(-(((f - 0.155) / 0.045) ** 2)),
            np.exp(-2.0 * (np.pi * f * 1.15) ** 2) * (f > 0.03),
            np.exp(-2.0 * (np.pi * f * 3.2) ** 2),
        ]
    )
    power = np.sqrt((shapes**2).sum((1, 2), keepdims=True)) / (fast * fast)
    return np.asarray(shapes / power, np.float32)


def _textures(rng: np.random.Generator, size: int) -> tuple[Floats, Floats]:
    """Two independent unit-variance fields of each of four textures: the real and imaginary parts of one transform."""
    fast, _ = _frequencies(size)
    white = rng.standard_normal((2, 4, fast, fast), np.float32)
    spectrum = np.empty((4, fast, fast), np.complex64)
    spectrum.real, spectrum.imag = white
    fields = fft.ifft2(spectrum * _noise_filters(size), overwrite_x=True)[:, :size, :size]
    return np.ascontiguousarray(fields.real), np.ascontiguousarray(fields.imag)


def _outline(cells: Cells, warp_x: Floats, warp_y: Floats, phases: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Give each pixel to the cell that it is deepest in.

    Returns
    -------
    The owner (H, W), ``len(cells)`` where there is none, and the depth (H, W): 1 at the owner's centre, 0 at its
    outline, negative outside.
    """
    size = warp_x.shape[0]
    grid = np.arange(size, dtype=np.float32)
    x, y = grid[None, :] + 1.8 * warp_x, grid[:, None] + 1.8 * warp_y
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


def _splat(size: int, x: Floats, y: Floats, radius: Floats, amount: Floats) -> Floats:
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


def _around(
    rng: np.random.Generator, cells: Cells, per_cell: Floats, near: float, far: float
) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Scatter places in the cytoplasm: which cell, x, y; between ``near`` and ``far`` of the way to the outline."""
    which = np.repeat(np.arange(len(cells)), rng.poisson(per_cell))
    n = len(which)
    t = cells.traits
    turn = rng.uniform(0, 2 * np.pi, n).astype(np.float32)
    stretch = np.sqrt(t["cell_aspect"][which])
    inner, outer = 1.15 * t["nucleus_radius"][which], 0.85 * t["cell_radius"][which]
    distance = inner + np.maximum(outer - inner, 0.5) * rng.uniform(near, far, n).astype(np.float32)
    u, v = distance * np.cos(turn) * stretch, distance * np.sin(turn) / stretch
    c, s = np.cos(cells.angle[which]), np.sin(cells.angle[which])
    return which, cells.x[which] + u * c - v * s, cells.y[which] + u * s + v * c


def render_site(rng: np.random.Generator, cells: Cells, optics: Optics, size: int) -> NDArray[np.uint16]:
    """Take the picture of one site.

    Parameters
    ----------
    rng
        The site's generator.
    cells
        Its cells.
    optics
        Gains, backgrounds, shading and focus.
    size
        Side in pixels.

    Returns
    -------
    uint16 (8, size, size), ch1 to ch8.
    """
    first, second = _textures(rng, size)
    warp_x, network, grain, patches = first
    warp_y, network2, grain2, patches2 = second
    n = len(cells)
    phases = rng.uniform(0, 2 * np.pi, (n, 4)).astype(np.float32)
    owner, depth = _outline(cells, warp_x, warp_y, phases)
    per_cell = {
        name: np.append(values, np.float32(1.0))[owner]
        for name, values in cells.traits.items()
        if name in _PIXEL_TRAITS
    }
    t = per_cell

    edge_px = depth * t["cell_radius"]
    body = np.clip(edge_px / 2.0 + 0.35, 0.0, 1.0)
    body[owner == n] = 0.0
    thick = np.sqrt(np.clip(depth, 0.0, 1.0))

    # Nucleus: signed distance to its outline, in pixels, positive inside.
    shift = rng.normal(0.0, 1.5, (2, n)).astype(np.float32)
    turn = cells.angle + rng.normal(0.0, 0.35, n).astype(np.float32)
    nucleus_x, nucleus_y = cells.x + shift[0], cells.y + shift[1]
    grid = np.arange(size, dtype=np.float32)
    dx = grid[None, :] + 0.5 * warp_x - np.append(nucleus_x, np.float32(-99.0))[owner]
    dy = grid[:, None] + 0.5 * warp_y - np.append(nucleus_y, np.float32(-99.0))[owner]
    c, s = np.append(np.cos(turn), np.float32(1))[owner], np.append(np.sin(turn), np.float32(0))[owner]
    stretch = np.sqrt(t["nucleus_aspect"])
    u, v = (dx * c + dy * s) / stretch, (dy * c - dx * s) * stretch
    inside_px = t["nucleus_radius"] - np.sqrt(u * u + v * v)
    nucleus = np.clip(inside_px + 0.5, 0.0, 1.0) * body
    away_px = np.maximum(-inside_px, 0.0)
    cytoplasm = body * (1.0 - nucleus)

    # Small things, as lists of soft discs.
    tr = cells.traits
    which = np.repeat(np.arange(n), 1 + rng.poisson(np.maximum(tr["nucleoli"] - 1.0, 0.05)))
    angle = rng.uniform(0, 2 * np.pi, len(which)).astype(np.float32)
    reach = 0.62 * tr["nucleus_radius"][which] * np.sqrt(rng.random(len(which), np.float32))
    bead = tr["nucleolus_radius"][which] * np.exp(0.18 * rng.standard_normal(len(which), np.float32))
    nucleoli = _splat(
        size,
        nucleus_x[which] + reach * np.cos(angle),
        nucleus_y[which] + reach * np.sin(angle),
        bead * 1.25,
        np.ones_like(bead),
    )
    nucleoli = np.minimum(nucleoli, 1.0) * nucleus

    hole_of, hole_x, hole_y = _around(rng, cells, tr["vacuoles"], 0.05, 0.85)
    holes = _splat(
        size,
        hole_x,
        hole_y,
        np.exp(0.22 * rng.standard_normal(len(hole_of), np.float32)) * 2.3,
        np.ones(len(hole_of), np.float32),
    )
    holes = np.minimum(holes, 1.0) * cytoplasm
    grain_of, grain_x, grain_y = _around(rng, cells, tr["granules"], 0.0, 0.55)
    granules = (
        _splat(
            size,
            grain_x,
            grain_y,
            np.full(len(grain_of), 1.0, np.float32),
            rng.uniform(0.4, 1.0, len(grain_of)).astype(np.float32),
        )
        * body
    )

    golgi = _golgi(rng, cells, nucleus_x, nucleus_y, size) * cytoplasm
    filled = 1.0 - 0.85 * holes

    # Mitochondria: filaments lie where a band-passed field crosses zero, puncta on its peaks; both have mean one.
    filaments = 2.6 * np.exp(-((network / 0.42) ** 2))
    puncta = 5.2 * np.clip(network2 - 0.75, 0.0, 1.6)
    pattern = filaments + t["mito_puncta"] * (puncta - filaments)
    mito = t["mito"] * cytoplasm * filled * np.exp(-away_px / t["mito_reach"]) * (0.35 + 0.65 * pattern)
    mito += t["mito"] * 0.18 * nucleus

    reticulum = np.clip(1.0 + t["er_grain"] * (0.8 * grain + 0.9 * network), 0.1, None)
    rim = np.exp(-((inside_px / 1.3) ** 2)) * body
    er = t["er"] * (
        filled * cytoplasm * (0.16 + 0.9 * np.exp(-away_px / t["er_reach"])) * reticulum
        + 0.42 * nucleus * (1.0 + 0.08 * grain)
        + 0.10 * rim
    )

    cytosol = cytoplasm * filled * (0.12 + 0.6 * np.exp(-away_px / 7.0)) * (1.0 + 0.10 * grain2 + 0.12 * patches)
    rna = t["rna"] * (cytosol + 0.42 * nucleus * (1.0 + 0.10 * grain) + 0.75 * nucleoli)

    # Actin: stress fibres run along the cell's long axis, bundled by a slow field.
    ca, sa = np.append(np.cos(cells.angle), np.float32(1))[owner], np.append(np.sin(cells.angle), np.float32(0))[owner]
    across = (grid[:, None] * ca - grid[None, :] * sa) + 2.2 * warp_x
    fibres = np.clip(np.sin(across * 1.45 + _own_phase(phases, owner)), 0.0, 1.0) ** 2
    fibres *= np.clip(0.6 + 0.6 * patches2, 0.0, 2.0)
    cortex = np.exp(-(((edge_px - 1.2) / 1.6) ** 2))
    agp = (
        t["agp"]
        * body
        * filled
        * (
            0.22
            + 0.20 * thick
            + 0.16 * nucleus
            + 0.45 * t["edge"] * cortex
            + 0.42 * t["fibres"] * fibres * (1 - 0.5 * nucleus)
            + 0.05 * grain2
        )
        + 0.95 * golgi * t["agp"]
    )

    chromatin = np.clip(1.0 + t["chromatin"] * (1.2 * grain2 + 0.3 * patches), 0.15, None)
    dna = t["dna"] * (
        nucleus * chromatin * (1.0 - 0.40 * nucleoli) * (0.75 + 0.25 * np.clip(inside_px / 4, 0, 1)) + 0.012 * cytoplasm
    )

    stains = np.stack([mito, agp, rna, er, dna]).astype(np.float32)
    phase = t["height"] * (
        1.0 * np.clip(depth, 0.0, 1.0) ** 0.7 * body
        + 0.55 * np.clip(inside_px / 3.0 + 0.3, 0, 1) * nucleus
        + 0.10 * cytoplasm * grain
        + 0.10 * t["fibres"] * fibres * cytoplasm
    )
    phase = phase + 0.55 * nucleoli + 0.85 * granules - 0.95 * holes
    phase += 0.25 * (t["mito_puncta"] * (np.clip(network2 - 0.75, 0.0, 1.6)) * cytoplasm)
    _add_debris(rng, optics, stains, phase, size)
    uneven = np.roll(0.6 * grain + patches, (size // 2, size // 3), (0, 1))
    return _expose(rng, optics, stains, phase.astype(np.float32), uneven, size)


_PIXEL_TRAITS = frozenset(
    {
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
    }
)


def _own_phase(phases: Floats, owner: NDArray[np.intp]) -> Floats:
    """Give each pixel its owner's own phase, so that fibres of neighbours do not line up."""
    return np.append(phases[:, 0], np.float32(0.0))[owner]


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
    return _splat(size, x.ravel(), y.ravel(), radius.ravel(), amount.ravel())


def _add_debris(rng: np.random.Generator, optics: Optics, stains: Floats, phase: Floats, size: int) -> None:
    count = int(rng.poisson(optics.debris * (size / 128.0) ** 2))
    if count == 0:
        return
    # A dead cell is a clump of a few round pieces that take every stain.
    pieces = 4
    place = np.repeat(rng.uniform(0, size, (2, count)), pieces, axis=1) + rng.normal(0, 2.2, (2, count * pieces))
    radius = rng.uniform(1.6, 3.6, count * pieces).astype(np.float32)
    bright = np.repeat(rng.uniform(0.5, 1.6, count), pieces).astype(np.float32)
    clump = _splat(size, place[0].astype(np.float32), place[1].astype(np.float32), radius, bright)
    stains += clump * np.array([0.8, 1.3, 1.2, 1.2, 0.9], np.float32)[:, None, None]
    phase += 1.6 * clump


def _expose(
    rng: np.random.Generator, optics: Optics, stains: Floats, phase: Floats, uneven: Floats, size: int
) -> NDArray[np.uint16]:
    """Blur, add haze, defocus the phase, and read the camera out."""
    sharp = gaussian_filter(stains, (0, optics.focus_px, optics.focus_px), mode="nearest", truncate=3.0)
    haze = uniform_filter(uniform_filter(stains, (0, 15, 15), mode="nearest"), (0, 15, 15), mode="nearest")
    levels = np.empty((8, size, size), np.float32)
    levels[:5] = (0.93 * sharp + 0.07 * haze) * (STAIN * optics.gain_C[:5])[:, None, None]
    # The empty plate's bottom and the medium are not even: the same at the three heights.
    contrast = _brightfield(phase, optics.defocus_um, size) + 0.0028 * uneven
    levels[5:] = contrast * BACKGROUND[5:, None, None]
    levels += (BACKGROUND * optics.background_C)[:, None, None]
    levels *= optics.shading_CHW
    levels[5:] *= optics.gain_C[5:, None, None]
    noise = rng.standard_normal(levels.shape, np.float32)
    # Shot noise of a camera with 0.5 (fluorescence) and 0.08 (brightfield) grey levels an electron, and its read noise.
    share = np.array([0.5] * 5 + [0.08] * 3, np.float32)[:, None, None]
    levels += noise * np.sqrt(share * np.maximum(levels, 0.0) + 36.0)
    return np.clip(np.rint(levels), 0, 65535).astype(np.uint16)


def _brightfield(phase: Floats, defocus_um: float, size: int) -> Floats:
    """Relative contrast at three heights (3, H, W) of a weak phase object."""
    pad = 16
    padded = np.pad(phase, pad, mode="reflect")
    whole = padded.shape[0]
    transfer = _transfer(whole, round(defocus_um, 1))
    spectrum = fft.rfft2(padded)
    contrast = fft.irfft2(spectrum[None] * transfer, s=(whole, whole))
    return np.asarray(contrast[:, pad : pad + size, pad : pad + size], np.float32)


@lru_cache(maxsize=64)
def _transfer(whole: int, defocus_um: float) -> Floats:
    f = np.hypot(np.fft.fftfreq(whole)[:, None], np.fft.rfftfreq(whole)[None, :]) / PIXEL_SIZE_UM
    heights = np.array(_DEFOCUS_UM)[:, None, None] + defocus_um
    # The condenser's aperture and the lens damp high frequencies.
    damped = np.exp(-((f / 0.30) ** 2) - (0.5 * heights * 0.25 * f) ** 2)
    return np.asarray(-0.55 * np.sin(np.pi * _WAVELENGTH_UM * heights * f**2) * damped, np.float32)
