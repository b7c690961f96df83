"""How a simulated site reaches the camera: blur, haze, illumination, noise, and brightfield at three heights.

Brightfield is a weak phase object: defocus by ``z`` multiplies the phase's spectrum by ``-sin(pi lambda z f^2)`` (the
contrast transfer function), so rims turn from bright to dark with the sign of ``z``, and vanish in focus.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, uniform_filter

from sslprofiler_core.plates.simulated_cells import PIXEL_SIZE_UM

Floats = NDArray[np.float32]

# ch1 to ch8, as CPJUMP1 has them.
CHANNELS = ("Mito", "AGP", "RNA", "ER", "DNA", "Brightfield high", "Brightfield low", "Brightfield")
# Grey levels: what an empty site shows, and what a stain at 1.0 adds (read off the real plates).
BACKGROUND = np.array([760, 470, 420, 330, 430, 20500, 20500, 20500], np.float32)
STAIN = np.array([1500, 3000, 5200, 4300, 10500], np.float32)
# Heights of the three brightfield channels above the focus: CPJUMP1's spacing, the middle one slightly off.
_DEFOCUS_UM = (7.0, -4.5, -0.8)
_WAVELENGTH_UM = 0.74
_PHASE = 0.55  # contrast of phase 1: set so that brightfield varies as on the real plates
_UNEVEN = 0.0028  # relative SD of what the plate's bottom and the medium add
# Grey levels an electron: shot noise of fluorescence, and of brightfield, averaged over more light.
_SHOT = np.array([0.5] * 5 + [0.08] * 3, np.float32)
_READ_VARIANCE = 36.0


@dataclass(frozen=True, slots=True)
class Optics:
    """What a site's picture owes to plate, well and site instead of to its cells.

    Attributes
    ----------
    gain_C
        (8,): multiplies the stain; for brightfield, the lamp.
    background_C
        (8,): multiplies the grey level of an empty site.
    shading_CHW
        (8, H, W): the illumination, about 1.
    focus_px
        SD of the fluorescence's blur, in pixels.
    defocus_um
        Shifts the three brightfield heights together.
    """

    gain_C: Floats
    background_C: Floats
    shading_CHW: Floats
    focus_px: float
    defocus_um: float


def expose(
    rng: np.random.Generator, optics: Optics, stains_CHW: Floats, phase: Floats, uneven: Floats
) -> NDArray[np.uint16]:
    """Blur, add haze, defocus the phase, and read the camera out.

    Parameters
    ----------
    rng
        The site's generator.
    optics
        Gains, backgrounds, shading and focus.
    stains_CHW
        (5, H, W): Mito, AGP, RNA, ER and DNA, about 1 where a structure is well stained.
    phase
        (H, W): what retards light.
    uneven
        (H, W): unit-variance unevenness of plate bottom and medium, the same at each height.

    Returns
    -------
    uint16 (8, H, W).
    """
    size = phase.shape[0]
    sharp = gaussian_filter(stains_CHW, (0, optics.focus_px, optics.focus_px), mode="nearest", truncate=3.0)
    haze = uniform_filter(uniform_filter(stains_CHW, (0, 15, 15), mode="nearest"), (0, 15, 15), mode="nearest")
    levels = np.empty((8, size, size), np.float32)
    levels[:5] = (0.93 * sharp + 0.07 * haze) * (STAIN * optics.gain_C[:5])[:, None, None]
    contrast = _brightfield(phase, optics.defocus_um) + _UNEVEN * uneven
    levels[5:] = contrast * BACKGROUND[5:, None, None]
    levels += (BACKGROUND * optics.background_C)[:, None, None]
    levels *= optics.shading_CHW
    levels[5:] *= optics.gain_C[5:, None, None]
    noise = rng.standard_normal(levels.shape, np.float32)
    levels += noise * np.sqrt(_SHOT[:, None, None] * np.maximum(levels, 0.0) + _READ_VARIANCE)
    return np.clip(np.rint(levels), 0, 65535).astype(np.uint16)


def _brightfield(phase: Floats, defocus_um: float) -> Floats:
    """Relative contrast at three heights (3, H, W) of a weak phase object."""
    pad, size = 16, phase.shape[0]
    padded = np.pad(phase, pad, mode="reflect")
    whole = padded.shape[0]
    transfer = _transfer(whole, round(defocus_um, 1))
    contrast = fft.irfft2(fft.rfft2(padded)[None] * transfer, s=(whole, whole))
    return np.asarray(contrast[:, pad : pad + size, pad : pad + size], np.float32)


@lru_cache(maxsize=64)
def _transfer(whole: int, defocus_um: float) -> Floats:
    f = np.hypot(np.fft.fftfreq(whole)[:, None], np.fft.rfftfreq(whole)[None, :]) / PIXEL_SIZE_UM
    heights = np.array(_DEFOCUS_UM)[:, None, None] + defocus_um
    # The condenser's aperture and the lens damp high frequencies.
    damped = np.exp(-((f / 0.30) ** 2) - (0.5 * heights * 0.25 * f) ** 2)
    return np.asarray(-_PHASE * np.sin(np.pi * _WAVELENGTH_UM * heights * f**2) * damped, np.float32)
