"""Microscope noise (paper 6.1): exact Poisson counts from a counter-based generator on the images' own device.

A pixel's noise is a function of (key, pixel index). The Poisson rate splits into a point of a fine grid and a rest
smaller than one step of it; the sum of two independent Poisson counts is Poisson, so drawing the grid's count from an
alias table (Walker 1977; Vose 1991) and the rest's count by inversion is exact at every level. Large rates split more
than once. The 32-bit mixer has the structure and constants of Ellis's public-domain "lowbias32", keyed per sample.
Everything is int32 and float32, which CPU, CUDA and MPS share; large images on a CPU go through ``noise_kernel``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sslprofiler_core.errors import UserError
from sslprofiler_core.keys import Keys, fold
from sslprofiler_core.recipes.schema import LEAST_SHOT

from .parallel import run_parts
from .transfer import send

_FINEST = 64  # grid points a photon on the last grid: the rest's rate is below 1 / 64
_COARSE = 256  # steps of a grid that another one refines
_CHUNK = {"cpu": 1 << 16}  # pixels at a time: a CPU's in cache, a GPU's enough to fill it
_CHUNK_ELSEWHERE = 1 << 22
# Pixels of an image on a CPU: below, the compiled loop would not earn its start. Never of a batch: the two ways differ
# by rounding, and an image's noise must not depend on what else is in its batch.
_COMPILED_FROM = 1 << 19


def _constant(value: int) -> Tensor:
    # A Python number would be wrapped and cast anew by every operation, which costs as much as a chunk's arithmetic.
    return torch.tensor(value, dtype=torch.int32)


_MIX1 = _constant(0x7FEB352D)
_MIX2 = _constant(0x846CA68B - 2**32)
_BY16, _LOW16 = _constant(16), _constant(0xFFFF)
_BY15, _LOW17 = _constant(15), _constant(0x1FFFF)
_BY8, _LOW24 = _constant(8), _constant(0xFFFFFF)
_LOW31 = _constant(0x7FFFFFFF)


@dataclass(frozen=True)
class _Grid:
    """Alias tables of Poisson counts at the rates 0, step, 2 step, ... up to the range."""

    steps: int
    step: float
    column_bits: Tensor  # of a random word that choose the column; the others decide between it and its alias
    column_mask: Tensor
    fraction_bits: Tensor
    fraction_mask: Tensor
    first_G: Tensor | None  # count of a level's first column; None when all are 0
    threshold: Tensor  # (levels * columns,) int32
    jump: Tensor  # (levels * columns,) int32: alias's count minus the column's own


def microscope_noise(
    images_BCHW: Tensor,
    shot: float = 0.1,
    dark: float = 0.05,
    read: float = 0.01,
    keys_B: Keys | Tensor | Sequence[int] | None = None,
) -> Tensor:
    """Add shot noise, a dark level and read noise (paper 6.1).

    clip(Poisson(I / shot) shot + dark + N(0, read^2), 0, 1)

    Parameters
    ----------
    images_BCHW
        Images in [0, 1], any floating type; computed in float32.
    shot, dark, read
        Shot noise scale, dark level and deviation of the read noise, in units of the image.
    keys_B
        One key a sample, int64: equal keys give equal noise, whatever else is in the batch. ``None`` draws new ones
        from torch's generator.

    Returns
    -------
    Tensor like ``images_BCHW``, in [0, 1].

    Raises
    ------
    UserError
        If the images are not in [0, 1], a strength is out of range, or there are not as many keys as images.
    """
    if not (shot >= LEAST_SHOT and read >= 0.0 and math.isfinite(shot + dark + read)):
        raise UserError(
            f"Microscope noise wants shot >= {LEAST_SHOT:g} and read >= 0, not "
            f"shot = {shot}, dark = {dark}, read = {read}."
        )
    if images_BCHW.numel():
        low, high = (float(x) for x in torch.aminmax(images_BCHW))
        if not (low >= 0.0 and high <= 1.0):
            raise UserError(
                f"Microscope noise wants images in [0, 1]; these span {low:g} to {high:g}. Scale or clamp them first."
            )
    if keys_B is None:
        keys_B = torch.randint(-(2**63), 2**63 - 1, (images_BCHW.shape[0],))
    keys = np.asarray(keys_B, np.int64).reshape(-1)
    if len(keys) != len(images_BCHW):
        raise UserError(f"There are {len(images_BCHW)} images, but {len(keys)} keys. Give one an image.")
    noisy_BCHW = images_BCHW.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return noise_(noisy_BCHW, shot, dark, read, keys).to(images_BCHW.dtype)


def noise_(images_BCHW: Tensor, shot: float, dark: float, read: float, keys_B: Keys) -> Tensor:
    """Apply ``microscope_noise`` to contiguous float32 images in [0, 1], in place and unchecked."""
    batch, pixels = images_BCHW.shape[0], images_BCHW[0].numel() if len(images_BCHW) else 0
    if not pixels:
        return images_BCHW
    flat_BN = images_BCHW.view(batch, pixels)
    grids = _grids(float(shot), _ceiling(shot, dark, read), str(images_BCHW.device))
    if images_BCHW.device.type == "cpu" and pixels >= _COMPILED_FROM and (compiled := _compiled()) is not None:
        _run_compiled(compiled, flat_BN, keys_B, shot, dark, read)
        return images_BCHW
    salts = [send(_salts(keys_B, purpose), images_BCHW.device) for purpose in _streams(grids)]
    # Pixels i and i + half share a pair of normals, so they are worked on together; an odd last pixel goes alone.
    half = pixels // 2
    # Elsewhere at most an eighth of the images, so that a dozen intermediate results are not much more than they are.
    elsewhere = min(_CHUNK_ELSEWHERE, max(_CHUNK["cpu"], images_BCHW.numel() // 8))
    chunk = _CHUNK.get(images_BCHW.device.type, elsewhere)
    index_N = torch.arange(pixels, dtype=torch.int32, device=images_BCHW.device)
    parts = [(flat_BN[:, : 2 * half].view(batch, 2, half), index_N[: 2 * half].view(2, half))] if half else []
    if pixels % 2:
        parts.append((flat_BN[:, None, -1:], index_N[None, -1:]))
    for part_BPN, index_PN in parts:
        for rows, columns in _chunks(batch, part_BPN.shape[2], chunk // 2):
            here_BPN, here_index_PN = part_BPN[rows, :, columns], index_PN[:, columns]
            salts_here = [salt[:, rows] for salt in salts]
            photons_BPN = _poisson(here_BPN, here_index_PN, salts_here, grids)
            noise_BPN = _gaussian(here_index_PN, salts_here[-2:], read, dark)
            torch.add(noise_BPN, photons_BPN, alpha=shot, out=here_BPN)
            here_BPN.clamp_(0.0, 1.0)
    return images_BCHW


@functools.lru_cache(maxsize=1)
def _compiled() -> Callable[..., None] | None:
    """Load the compiled loop; None where numba has nowhere to keep what it compiles, or does not run."""
    try:
        from .noise_kernel import add_noise
    except (ImportError, RuntimeError):
        return None
    return cast("Callable[..., None]", add_noise)


def _run_compiled(
    compiled: Callable[..., None], flat_BN: Tensor, keys_B: Keys, shot: float, dark: float, read: float
) -> None:
    """Do the work of the rest of ``noise_`` in one compiled loop a sample."""
    tables = noise_tables(float(shot), float(dark), float(read), "cpu")
    arrays = [table.numpy() for table in tables.arrays]
    images, half = flat_BN.numpy(), flat_BN.shape[1] // 2
    salts_BS3 = stream_salts(keys_B, tables.grids).view(np.uint32)

    def add(rows: slice) -> None:
        for image_N, salts_S3 in zip(images[rows], salts_BS3[rows], strict=True):
            rest = (salts_S3, *arrays, *(np.float32(x) for x in (tables.step, shot, dark, read)))
            compiled(image_N[: 2 * half].reshape(2, half), np.array([0, half], np.uint32), *rest)
            if len(image_N) % 2:
                compiled(image_N[None, -1:], np.array([2 * half], np.uint32), *rest)

    run_parts(add, [slice(row, row + 1) for row in range(len(images))], torch.get_num_threads())


class NoiseTables(NamedTuple):
    """The grids' tables one after another, for compiled loops.

    ``arrays``: each grid's steps (float32); the bits that choose a column; where the grid begins in ``threshold`` and
    ``jump``, and where in ``first`` (int32); then ``first``, ``threshold`` and ``jump`` (int32) themselves.
    """

    arrays: tuple[Tensor, ...]
    step: float
    grids: int


@functools.lru_cache(maxsize=16)
def noise_tables(shot: float, dark: float, read: float, device: str) -> NoiseTables:
    """Build the tables that some strengths need, once for each device."""
    grids = _grids(shot, _ceiling(shot, dark, read), device)
    cells, levels = (np.array([f(grid) for grid in grids]) for f in (lambda g: len(g.threshold), lambda g: g.steps + 1))
    where = torch.device(device)
    numbers = [
        np.array([grid.steps for grid in grids], np.float32),
        np.array([int(grid.column_bits) for grid in grids], np.int32),
        (np.cumsum(cells) - cells).astype(np.int32),
        (np.cumsum(levels) - levels).astype(np.int32),
    ]
    none = [torch.zeros(count, dtype=torch.int32, device=where) for count in levels.tolist()]
    tables = [
        torch.cat([zero if grid.first_G is None else grid.first_G for grid, zero in zip(grids, none, strict=True)]),
        torch.cat([grid.threshold for grid in grids]),
        torch.cat([grid.jump for grid in grids]),
    ]
    return NoiseTables((*(send(x, where) for x in numbers), *tables), grids[-1].step, len(grids))


def stream_salts(keys_B: Keys, grids: int) -> NDArray[np.int32]:
    """Derive all streams' constants: (B, streams, 3) int32."""
    return np.ascontiguousarray(np.stack([_salts(keys_B, p)[..., 0, 0].T for p in _streams(range(grids))], axis=1))


def _streams(grids: Sequence[object]) -> list[str]:
    return [*(f"grid {number}" for number in range(len(grids))), "rest", "radius", "angle"]


def _ceiling(shot: float, dark: float, read: float) -> int:
    """Photons beyond which a pixel is clipped to 1 whatever the read noise, 8 deviations of it included."""
    return max(1, math.ceil((1.0 - dark + 8.0 * read) / shot))


def _chunks(rows: int, columns: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Cut rows x columns into pieces of about ``size``: whole rows where several fit, else parts of one row."""
    together = max(1, size // columns)
    for row in range(0, rows, together):
        for column in range(0, columns, size):
            yield slice(row, min(row + together, rows)), slice(column, min(column + size, columns))


def _salts(keys_B: Keys, purpose: str) -> NDArray[np.int32]:
    """Derive a stream's constants: (3, B, 1) int32: odd multiplier, offset, inner key."""
    words = fold(fold(np.asarray(keys_B, np.int64), purpose)[:, None], np.arange(2, dtype=np.int64)).view(np.int32)
    salts = np.ascontiguousarray(words[:, :3].T)[..., None, None]
    salts[0] |= 1
    return salts


def _words(index_PN: Tensor, salts_3B11: Tensor) -> Tensor:
    """Hash pixel indices to 32 random bits: (B, P, N) int32."""
    x = (index_PN * salts_3B11[0]).add_(salts_3B11[1])
    y = torch.bitwise_right_shift(x, _BY16).bitwise_and_(_LOW16)
    x.bitwise_xor_(y).mul_(_MIX1)
    torch.bitwise_right_shift(x, _BY15, out=y).bitwise_and_(_LOW17)
    x.bitwise_xor_(y).bitwise_xor_(salts_3B11[2]).mul_(_MIX2)
    torch.bitwise_right_shift(x, _BY16, out=y).bitwise_and_(_LOW16)
    return x.bitwise_xor_(y)


def _gaussian(index_PN: Tensor, salts: Sequence[Tensor], deviation: float, mean: float) -> Tensor:
    """Draw normals by Box and Muller: (B, P, N) float32, with P the cosine or both waves of a pair."""
    radius_BN, turn_BN = (_words(index_PN[:1], salt)[:, 0] for salt in salts)
    radius_BN = radius_BN.bitwise_right_shift_(_BY8).bitwise_and_(_LOW24).to(torch.float32)
    radius_BN.add_(0.5).mul_(2.0**-24).log_().mul_(-2.0 * deviation * deviation).sqrt_()
    turn_BN = turn_BN.to(torch.float32).mul_(2.0 * math.pi * 2.0**-32)
    waves = [turn_BN.cos(), turn_BN.sin()][: len(index_PN)]
    return torch.stack([wave_BN.mul_(radius_BN) for wave_BN in waves], dim=1).add_(mean)


def _poisson(images_BPN: Tensor, index_PN: Tensor, salts: Sequence[Tensor], grids: Sequence[_Grid]) -> Tensor:
    """Draw Poisson counts for images in [0, 1], whose 1 is the first grid's range: (B, P, N) float32."""
    rest_BPN, counts_BPN = images_BPN, None
    for grid, salt in zip(grids, salts, strict=False):
        scaled_BPN = rest_BPN * grid.steps
        level_BPN = scaled_BPN.to(torch.int32)
        rest_BPN = scaled_BPN.sub_(level_BPN)
        word_BPN = _words(index_PN, salt)
        column_BPN = torch.bitwise_right_shift(word_BPN, grid.fraction_bits).bitwise_and_(grid.column_mask)
        if grid.first_G is not None:
            first_BPN = grid.first_G.index_select(0, level_BPN.view(-1)).view_as(level_BPN)
        cell_BPN = level_BPN.bitwise_left_shift_(grid.column_bits).add_(column_BPN)
        threshold_BPN = grid.threshold.index_select(0, cell_BPN.view(-1)).view_as(level_BPN)
        jump_BPN = grid.jump.index_select(0, cell_BPN.view(-1)).view_as(level_BPN)
        column_BPN.addcmul_(word_BPN.bitwise_and_(grid.fraction_mask).ge_(threshold_BPN), jump_BPN)
        if grid.first_G is not None:
            column_BPN.add_(first_BPN)
        counts_BPN = column_BPN if counts_BPN is None else counts_BPN.add_(column_BPN)

    tails = _tails_(rest_BPN.mul_(grids[-1].step))
    uniform_BPN = _words(index_PN, salts[len(grids)]).bitwise_and_(_LOW31).to(torch.float32).mul_(2.0**-31)
    photons_BPN = tails[0].gt_(uniform_BPN)
    for tail_BPN in tails[1:]:
        photons_BPN.add_(tail_BPN.gt_(uniform_BPN))
    return photons_BPN if counts_BPN is None else photons_BPN.add_(counts_BPN)


def _tails_(rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return P(n > 0), P(n > 1) and P(n > 2) of Poisson counts at rates below 1 / 64 by their series, to 1e-8."""
    square = rate * rate
    cube = square * rate
    rate.sub_(square, alpha=0.5).add_(cube, alpha=1.0 / 6.0)
    square.mul_(0.5).sub_(cube, alpha=1.0 / 3.0)
    return rate, square, cube.mul_(1.0 / 6.0)


@functools.lru_cache(maxsize=16)
def _grids(shot: float, ceiling: int, device: str) -> tuple[_Grid, ...]:
    """Build the grids of rates from 0 to 1 / shot, coarse to fine; counts above the ceiling become the ceiling."""
    grids, reach = [], 1.0 / shot
    while True:
        last = reach <= 16.0
        steps = max(1, math.ceil(reach * _FINEST)) if last else _COARSE
        grids.append(_grid(reach, steps, ceiling, device))
        reach /= steps
        if last:
            return tuple(grids)


def _grid(reach: float, steps: int, ceiling: int, device: str) -> _Grid:
    # Chernoff's bounds: beyond these counts lies less than 1e-12.
    rate_G1 = np.linspace(0.0, reach, steps + 1)[:, None]
    first_G1 = np.floor(np.maximum(rate_G1 - np.sqrt(55.3 * rate_G1), 0.0)).clip(max=ceiling).astype(np.int64)
    last_G1 = np.ceil(rate_G1 + 9.3 + np.sqrt(84.7 + 55.3 * rate_G1)).clip(max=ceiling).astype(np.int64)
    bits = max(2, int(np.max(last_G1 - first_G1)).bit_length())
    count_GK = first_G1 + np.arange(1 << bits)

    beyond = int(np.ceil(rate_G1.max() + 9.3 + np.sqrt(84.7 + 55.3 * rate_G1.max()))) + 1
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, max(beyond, int(count_GK.max())) + 1)))])
    with np.errstate(divide="ignore", invalid="ignore"):
        log_GK = np.where(count_GK == 0, 0.0, count_GK * np.log(rate_G1)) - rate_G1 - log_factorial[count_GK]
    weight_GK = np.where(count_GK <= last_G1, np.exp(log_GK), 0.0)
    # The last column stands for all counts from it on (the ceiling's are all clipped alike).
    np.put_along_axis(weight_GK, last_G1 - first_G1, 0.0, axis=1)
    np.put_along_axis(weight_GK, last_G1 - first_G1, np.maximum(1.0 - weight_GK.sum(1, keepdims=True), 0.0), axis=1)

    where = torch.device(device)
    keep_GK, alias_GK = _alias(weight_GK / weight_GK.sum(1, keepdims=True))
    threshold_GK = np.rint(keep_GK * 2.0 ** (32 - bits)).astype(np.int32)
    jump_GK = (alias_GK - np.arange(1 << bits)).astype(np.int32)
    return _Grid(
        steps=steps,
        step=reach / steps,
        column_bits=_constant(bits),
        column_mask=_constant((1 << bits) - 1),
        fraction_bits=_constant(32 - bits),
        fraction_mask=_constant((1 << (32 - bits)) - 1),
        first_G=send(first_G1[:, 0].astype(np.int32), where) if first_G1.any() else None,
        threshold=send(threshold_GK.reshape(-1), where),
        jump=send(jump_GK.reshape(-1), where),
    )


def _alias(weight_GK: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Build alias tables, a row each: the probability to keep a column, and the column taken instead."""
    rows, columns = weight_GK.shape
    order_GK = np.argsort(weight_GK, axis=1, kind="stable")
    share_GK = np.take_along_axis(weight_GK, order_GK, 1) * columns
    keep_GK, alias_GK = np.ones_like(share_GK), np.tile(np.arange(columns), (rows, 1))
    every = np.arange(rows)
    current, low, high = np.zeros(rows, np.int64), np.ones(rows, np.int64), np.full(rows, columns - 1)
    for _ in range(columns - 1):
        share = share_GK[every, current]
        column = order_GK[every, current]
        keep_GK[every, column] = share.clip(0.0, 1.0)
        alias_GK[every, column] = order_GK[every, high]
        share_GK[every, high] -= 1.0 - share
        # A donor left with less than its share is the next to be filled up.
        spent = share_GK[every, high] < 1.0
        current, low, high = np.where(spent, high, low), low + ~spent, high - spent
    return keep_GK, alias_GK
